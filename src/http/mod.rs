//! The front end: sockets, connections, and the bounds on what a client may hold.
//!
//! * [`listener`]: binds, accepts, and closes when stopping.
//! * [`connection`]: one connection from its first byte to its last, HTTP/1.1 or HTTP/2.
//! * [`door`]: what a connection passes before it may speak HTTP.
//! * [`entrances`]: all listeners, each with its door.
//! * [`socket`]: what comes in, and whether it is HTTP/2.
//! * [`wire`], [`tls`], [`certificates`]: TCP, or TLS over it.
//! * [`client`]: who is at the other end, and still there.
//! * [`admission`]: from where a receiver's deliveries come, and how many.
//! * [`activity`]: what a connection is doing, and until when it may.
//! * [`body`]: reads a body within its bounds.
//! * [`budget`]: the memory that all bodies share.
//! * [`forwarded`] and [`proxy_protocol`]: who a connection comes from when trusted proxies say so.
//! * [`per_address`] and [`rate`]: what one address may have.
//! * [`raw_head`] and [`framing`]: what hyper doesn't tell of a head, against request smuggling.
//! * [`own_words`] and [`sent_frames`]: what hyper and h2 say by themselves.
//! * [`reply`]: answers, problem bodies among them.

pub mod activity;
pub mod admission;
pub mod body;
pub mod budget;
pub mod certificates;
pub mod client;
pub mod connection;
pub mod door;
pub mod entrances;
pub mod forwarded;
pub mod framing;
pub mod listener;
pub mod own_words;
pub mod per_address;
pub mod proxy_protocol;
pub mod rate;
pub mod raw_head;
pub mod reply;
pub mod sent_frames;
pub mod socket;
pub mod tls;
pub mod wire;
