//! Integration tests: the daemon's own binary, real sockets, real processes.
//!
//! What the tests have in common:
//!
//! * [`attack`]: rows of attacks, and how each must end.
//! * [`broker_common`]: what a daemon in front of a broker must do, whichever it is.
//! * [`broker_foreign`]: what other programs make of the messages.
//! * [`client`]: signs webhooks and speaks HTTP, well and badly.
//! * [`command`]: runs a command to its end.
//! * [`daemon`]: starts and stops it, reads its log.
//! * [`flood`]: many senders at once.
//! * [`frames`]: HTTP/2 by hand.
//! * [`namespace`]: small disks and disks that can't be written.
//! * [`signing`]: signs as Stripe, Slack and Standard Webhooks do.
//! * [`spool_common`]: a broker of one's own, and a daemon in front of it.
//! * [`tls_client`]: certificates made for a test, and a client that speaks TLS.
//! * [`trace`]: judges a trace of system calls.
//! * [`work_common`]: starts other workers.
//! * [`work_server`]: what they post to.
//! * [`worker`]: reads the queue through `sluiced work --print`.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]
#![allow(unreachable_pub, reason = "a test binary has no outside; pub marks what other modules use")]

mod attack;
mod broker_common;
mod broker_foreign;
mod client;
mod command;
mod daemon;
mod flood;
mod frames;
mod namespace;
mod signing;
mod tls_client;
mod trace;
mod work_common;
mod work_server;
mod worker;

mod basics;
mod bombs;
mod broker_azure;
mod broker_nats;
mod broker_rabbitmq;
mod cli;
mod configuration;
mod cut_off;
mod dead;
mod dedupe;
mod disk_full;
mod forgeries;
mod formats;
mod front_attacks;
mod front_door;
mod front_idle;
mod front_tls;
mod handlers;
mod http;
mod http2;
mod kill;
mod limits;
mod load;
mod log_format;
mod logs;
mod metrics;
mod mutations;
mod odd_bytes;
mod own_daemon;
mod own_rows;
mod paths;
mod providers_command;
mod providers_over_http;
mod real_input;
mod reload;
mod replays;
mod salesforce;
mod sbom;
mod scarce;
mod security_page;
mod send;
mod service_manager;
mod smuggling;
mod smuggling_http2;
mod spool_common;
mod spool_config;
mod spool_disk;
mod spool_limits;
mod spool_memory;
mod spool_outage;
mod spool_stop;
mod ssrf;
mod stopping;
mod stopping_under_load;
mod store;
mod sync_order;
mod tokens;
mod traps;
mod verify_command;
mod work;
mod work_example;
mod work_exec;
mod work_forward;
mod work_kill;
mod work_lease;
mod work_many;
mod work_outage;
mod work_retry;
mod work_stop;
mod work_tls;
mod workers;
