//! Every limit, with its reason.

use std::time::Duration;

/// A broker is up by then. RabbitMQ needs 4 to 8 s on two idle cores, and tests keep them busy.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// A process is gone by then after SIGTERM. RabbitMQ takes a few seconds to close its queues.
pub const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// How long a condition may take to come true, unless a test says otherwise.
pub const WAIT_DEADLINE: Duration = Duration::from_secs(30);

/// How long one question to a broker that is starting may take: a frozen or dying one never answers.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// Between two looks at a condition: short beside what is waited for, and no load.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// `rabbitmqctl` starts an Erlang VM of its own, 3 s on idle cores.
pub const CTL_DEADLINE: Duration = Duration::from_secs(60);

/// Ports are taken from here on. Below 32768, above which the kernel takes ports for outgoing connections.
pub const PORT_FIRST: u16 = 20_000;

/// Ports are taken up to here.
pub const PORT_LAST: u16 = 29_999;

/// The longest answer that is read of a broker that is asked whether it is up; NATS' INFO has about 500 bytes.
pub const ANSWER_BYTES_MAX: usize = 8 << 10;

/// What a proxy reads at once. Small, so that throttled and cut connections stop where they are told to.
pub const CHUNK_BYTES: usize = 16 << 10;

/// Chunks on their way through a proxy in one direction of one connection; then the sender has to wait.
pub const CHUNKS_MAX: usize = 64;

/// How much of a broker's own log goes into a panic.
pub const LOG_TAIL_BYTES: usize = 4 << 10;
