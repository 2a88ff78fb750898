//! Every bound, with its reason.

use std::time::Duration;

/// Bodies that wait for the floor's one writer; as many webhooks as the daemon has in flight.
pub const WAITING_MAX: usize = 1024;

/// Bodies that one commit of the floor's writer takes: the daemon's bound.
pub const BATCH_MESSAGES_MAX: usize = 1024;

/// Bytes that one commit of the floor's writer takes: the daemon's bound.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Channels of the floor's RabbitMQ pool: the daemon's default.
pub const RABBITMQ_CHANNELS: u16 = 64;

/// Connections of the load. The daemon takes 10,000.
pub const CONNECTIONS_MAX: i64 = 10_000;

/// Files that the load has open besides its connections.
pub const OTHER_FILES: u64 = 64;

/// Different bodies of a run: several, so that nothing is measured that depends on one signature, and few, so that
/// they stay in the cache.
pub const BODIES: usize = 8;

/// The longest answer's head and body: a problem document has some 300 bytes.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Events that the load takes from the kernel at a time.
pub const EVENTS_MAX: usize = 256;

/// How late the load may wake up, in ns; the kernel's default of 50 µs would show in the latencies at low rates.
pub const TIMER_SLACK_NS: &str = "1000";

/// How long the load waits in the end for answers that are still out.
pub const STRAGGLERS: Duration = Duration::from_secs(2);

/// Longest run of the load.
pub const SECONDS_MAX: u64 = 600;

/// How long a server has to listen.
pub const START_DEADLINE: Duration = Duration::from_secs(30);

/// How long a server has to end after SIGTERM: the daemon's own drain time-out and some.
pub const STOP_DEADLINE: Duration = Duration::from_secs(40);

/// Between two looks for something that is waited for.
pub const POLL: Duration = Duration::from_millis(2);

/// After a server has begun to listen: its connection to the broker is up then.
pub const SETTLE: Duration = Duration::from_millis(500);

/// One question to a broker.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// After a queue was declared: the daemon spools for a second then, because a new quorum queue needs that.
pub const NEW_QUEUE: Duration = Duration::from_millis(1_500);

/// Connections that send as fast as they are answered.
pub const CONNECTIONS_CLOSED: u16 = 64;

/// Connections of a fixed rate: 20,000 a second need that many when an answer takes 12 ms.
pub const CONNECTIONS_OPEN: u16 = 256;
