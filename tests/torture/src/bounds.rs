//! Every limit, with its reason.

use std::time::Duration;

/// Senders at once, each with a connection of its own: enough that several are always in the middle of something.
pub const SENDERS: u32 = 24;

/// What a sender waits for an answer: GitHub's own patience.
pub const SENDER_PATIENCE: Duration = Duration::from_secs(10);

/// How often a sender sends one webhook, when it gets no 2xx.
pub const ATTEMPTS_MAX: u32 = 3;

/// Before it sends it again, times the attempt.
pub const RESEND_AFTER: Duration = Duration::from_millis(200);

/// Before it tries again to connect where nobody listens.
pub const RECONNECT_AFTER: Duration = Duration::from_millis(30);

/// The longest answer that is read; the daemon's have a few hundred bytes.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Load in one round, whatever a fault takes: what has to be read back stays within seconds.
pub const MESSAGES_MAX: u32 = 40_000;

/// The longest body. NATS takes 1 MiB, and the message holds it once, with its headers.
pub const BODY_BYTES_MAX: usize = 300 << 10;

/// A daemon listens by then, on a machine that others use too.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// Before a daemon that ended by itself is started again, as a service manager does.
pub const RESTART_AFTER: Duration = Duration::from_millis(200);

/// What a worker has in hand at once: what comes twice after its end.
pub const WORKER_CONCURRENCY: &str = "4";

/// A worker listens to signals by then, on a machine that others use too.
pub const WORKER_YOUNG: Duration = Duration::from_secs(2);

/// A daemon has ended by then after SIGTERM: its own grace is 25 s.
pub const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One question to the ops listener.
pub const OPS_DEADLINE: Duration = Duration::from_secs(5);

/// The spool is empty by then, once every fault is over. Backoff and late confirms end within half a minute.
pub const QUIET_DEADLINE: Duration = Duration::from_secs(120);

/// Under load after the last fault, so that its end is seen as well.
pub const CALM: Duration = Duration::from_millis(700);

/// An acknowledgement belongs to a fault when it was waited for until so long after the fault's end.
pub const AFTERMATH: Duration = Duration::from_millis(500);

/// A reader has read everything by then; Azurite gives a few hundred a second.
pub const READ_DEADLINE: Duration = Duration::from_secs(180);

/// How long a reader waits for more before it believes that there is no more. Too short looks like a loss, which is
/// why what is missing is looked for once more.
pub const READER_QUIET_S: &str = "1.5";

/// How often everything is read, while something acknowledged is missing.
pub const READS_MAX: u32 = 3;

/// A command that changes a broker, or a directory.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// What may come twice, of everything that was delivered, in percent. At least once is what is promised.
pub const DUPLICATES_PERCENT_MAX: f64 = 1.0;

/// How many ids are named where something is wrong.
pub const NAMED_MAX: usize = 5;

/// The small disk: the store starts with less than a megabyte, and a filler takes the rest.
pub const SMALL_DISK: &str = "96m";

/// How often a round is begun that something else than the daemon ends: a broker that doesn't come up again.
pub const JUDGEMENTS_MAX: u32 = 2;

/// How often a broker is started that doesn't come up, on a machine that others use too.
pub const BROKER_STARTS_MAX: u32 = 3;
