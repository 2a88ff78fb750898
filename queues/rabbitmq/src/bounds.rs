//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Channels on which one message each is in flight. More only cost CPU: 64 carry 18,000 messages a second
/// into a quorum queue on two cores.
pub const CHANNELS: usize = 64;

/// What `channels` may be set to. RabbitMQ allows 2,047 on a connection; workers and checks need some too.
pub const CHANNELS_MAX: usize = 1_024;

/// Channels of a connection for questions about queues, besides those that publish.
pub const SPARE_CHANNELS: usize = 8;

/// Channels that the broker closed with an error, after which a connection is replaced. lapin can't use their
/// numbers again, and there are 2,047. Questions about queues that aren't there cost one each.
pub const CHANNELS_SPENT_MAX: usize = 500;

/// Publishes that are under way or wait for a channel. Each holds its message, so there is an end to it; the
/// daemon has at most 1,024 webhooks in flight, and 64 more come from the spool.
pub const PUBLISHES_MAX: usize = 4_096;

/// A message's encoded length unless configured: what RabbitMQ 4 takes by default.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a publish may take unless configured.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// A broker that froze is noticed after twice this long.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// AMQP counts heartbeats in seconds, in 16 bits.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(u16::MAX as u64);

/// TCP, TLS and AMQP's handshake together; a healthy broker takes milliseconds, one under load seconds.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// One question to the broker besides publishing. Declaring a quorum queue in a cluster takes the longest.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How long `check --connect` may take in all.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(10);

/// The broker's answer to a close. It is waited for so that what was acknowledged before has arrived.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// First pause after every address was tried in vain.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Longest such pause: so soon after its return a broker is in use again.
pub const RETRY_MAX: Duration = Duration::from_secs(5);

/// A connection that lived so long was a good one, and the pauses begin anew. One that ends at once, again and
/// again, is tried ever more rarely.
pub const GOOD_CONNECTION: Duration = Duration::from_millis(100);

/// How often a connection's state is looked at besides its events, should one of them be missed.
pub const STATE_POLL: Duration = Duration::from_millis(500);

/// Shortest time between two looks for a destination, however many messages come back from it.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A quorum queue that is killed sooner after its declaration can come back dead, its messages gone.
pub const SETTLE: Duration = Duration::from_secs(1);

/// AMQP's short strings: names, routing keys, some properties.
pub const SHORT_STRING_BYTES_MAX: usize = 255;

/// What the broker's frame limit is taken for until it was said: RabbitMQ's default.
pub const FRAME_BYTES: u32 = 131_072;

/// What a header frame holds besides the application's headers: its own frame, the other properties, each a
/// short string at most, and the headers that come to a dead letter.
pub const HEADER_FRAME_RESERVE: usize = 8_192;

/// How often a message may be given out and lost with its worker before it is dead: RabbitMQ 4's default,
/// made explicit. A worker's own failures don't count, since a retry is a new message.
pub const DELIVERY_LIMIT: u32 = 20;

/// The same for dead letters, where every look counts: never reached. RabbitMQ before 4 has no word for none.
pub const DEAD_DELIVERY_LIMIT: i32 = 1_000_000_000;

/// Files with certificates and keys: more than any chain needs, less than a mistaken path may cost.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Messages that one call of a worker takes at most; they share a channel, which is closed after the last
/// acknowledgement. A channel holds acknowledgements for a quorum queue back while more than 32 are on their way
/// (`quorum_commands_soft_limit`), and forgets those when it is closed: the broker would give out again what was
/// acknowledged. With fewer on a channel none is ever held back.
pub const PREFETCH_MAX: usize = 24;

/// A worker's reason for giving up, in a header; the rest of a longer one is cut off.
pub const REASON_BYTES_MAX: usize = 2_048;

/// How often a queue must be found empty to be so. Its places are asked one after the other, and a message that
/// goes round quickly can be in another one each time.
pub const EMPTY_LOOKS: usize = 3;

/// Between two of those looks.
pub const EMPTY_PAUSE: Duration = Duration::from_millis(150);

/// Dead letters that are fetched first. Each may be as long as a message can be.
pub const SCAN_CHUNK_FIRST: usize = 16;

/// Those that are fetched at a time later on: in 32 times nearly 2,000, whose order is kept.
pub const SCAN_CHUNK_MAX: usize = 64;

/// A list that nobody reads on is given up after this long, and its letters go back to where others see them.
pub const SCAN_IDLE: Duration = Duration::from_secs(5);
