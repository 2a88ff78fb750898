//! The faults, by name, and where each can be had.

use crate::options::Queue;

/// What is broken. Those of the daemon and its machine come first, then those of the broker and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of the daemon.
    Kill,
    /// SIGSTOP of the daemon for a while.
    Freeze,
    /// SIGTERM in the middle of everything, and a new start.
    Term,
    /// A second daemon on the same listening socket, both for a while, then SIGTERM to the first.
    Roll,
    /// The wall clock jumps, hours or a year, either way.
    Clock,
    /// The disk is full.
    DiskFull,
    /// The disk can be read only, under a daemon that is started on it.
    DiskReadonly,
    /// Writes to the store fail with EIO.
    EioWrite,
    /// Syncs of the store fail with EIO.
    EioSync,
    /// Each sync takes a tenth of a second.
    SlowSync,
    /// The power goes: what isn't synced is lost, whole or in part.
    Power,
    /// `kill -9` of the broker, and a new start.
    BrokerKill,
    /// SIGSTOP of the broker for a while.
    BrokerFreeze,
    /// `kill -9` of both.
    BothKill,
    /// The connection is reset in the middle of what the daemon sends.
    Cut,
    /// The connection is reset in the middle of what the broker answers.
    CutAnswers,
    /// Everything comes later, both ways.
    Delay,
    /// A few kilobytes a second.
    Throttle,
    /// What the daemon sends is held back, and nobody is told.
    PartitionUp,
    /// What the broker answers is held back, and nobody is told.
    PartitionDown,
    /// RabbitMQ's memory alarm.
    MemoryAlarm,
    /// RabbitMQ's disk alarm.
    DiskAlarm,
    /// The queue or stream is deleted, read empty before that: what comes then can't be routed.
    Deleted,
    /// The exchange has no queue any more that it could route to.
    Unroutable,
    /// The queue or stream is full: what comes then is refused (`basic.nack`; error 10077).
    Full,
    /// The service is stopped in order, and started again.
    BrokerStop,
    /// The service answers 500.
    Answer500,
    /// The service answers 503.
    Answer503,
    /// The service answers 403.
    Answer403,
    /// The service does what it is asked to, and answers 500 all the same.
    AnswerLost,
    /// `kill -9` of the worker, and a new start.
    WorkerKill,
    /// SIGTERM to the worker, and a new start.
    WorkerTerm,
    /// SIGSTOP of the worker for a while.
    WorkerFreeze,
}

use Fault::*;

/// Which disk the daemon has in a round; some faults need a certain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The machine's own.
    Plain,
    /// A tmpfs in a mount namespace.
    Small,
    /// The machine's own, behind a library that makes calls fail.
    Failing,
    /// The machine's own, behind a library that loses what isn't synced.
    Power,
}

/// What happens to a worker beside the daemon.
pub const OF_WORKER: [Fault; 3] = [WorkerKill, WorkerTerm, WorkerFreeze];

const EVERYWHERE: [Fault; 5] = [Kill, Freeze, Term, Roll, Clock];
const LINE: [Fault; 8] =
    [BrokerFreeze, Cut, CutAnswers, Delay, Throttle, PartitionUp, PartitionDown, BrokerKill];

/// Each fault by its name.
pub const NAMES: [(&str, Fault); 33] = [
    ("kill", Kill),
    ("freeze", Freeze),
    ("term", Term),
    ("roll", Roll),
    ("clock", Clock),
    ("disk-full", DiskFull),
    ("disk-readonly", DiskReadonly),
    ("eio-write", EioWrite),
    ("eio-sync", EioSync),
    ("slow-sync", SlowSync),
    ("power", Power),
    ("broker-kill", BrokerKill),
    ("broker-freeze", BrokerFreeze),
    ("both-kill", BothKill),
    ("cut", Cut),
    ("cut-answers", CutAnswers),
    ("delay", Delay),
    ("throttle", Throttle),
    ("partition-up", PartitionUp),
    ("partition-down", PartitionDown),
    ("memory-alarm", MemoryAlarm),
    ("disk-alarm", DiskAlarm),
    ("deleted", Deleted),
    ("unroutable", Unroutable),
    ("full", Full),
    ("broker-stop", BrokerStop),
    ("answer-500", Answer500),
    ("answer-503", Answer503),
    ("answer-403", Answer403),
    ("answer-lost", AnswerLost),
    ("worker-kill", WorkerKill),
    ("worker-term", WorkerTerm),
    ("worker-freeze", WorkerFreeze),
];

impl Fault {
    /// Its name on the command line and in the report.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, fault)| *fault == self).map_or("?", |(name, _)| name)
    }

    /// The one with this name.
    ///
    /// # Errors
    /// Lists the names.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault);
        let names = || NAMES.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("no fault is called {name}; there are {}", names()))
    }

    /// Whether it happens to the daemon or its machine; else to the broker, the way to it, or a worker.
    pub fn is_daemons(self) -> bool {
        self <= Power
    }
}

/// What can happen to a daemon that has this disk.
pub fn of_daemon(disk: Disk) -> Vec<Fault> {
    let own: &[Fault] = match disk {
        Disk::Plain => &[],
        Disk::Small => &[DiskFull, DiskReadonly],
        Disk::Failing => &[EioWrite, EioSync, SlowSync],
        // It is lost again and again, until it is replaced by a plain one.
        Disk::Power => &[Power],
    };
    [own, &EVERYWHERE].concat()
}

/// What can happen to this broker. `exchange` says that the daemon publishes to an exchange of the operator's,
/// instead of a queue that it makes itself.
pub fn of_broker(queue: Queue, exchange: bool) -> Vec<Fault> {
    let own: &[Fault] = match queue {
        Queue::Embedded => return Vec::new(),
        Queue::RabbitMq if exchange => &[BothKill, MemoryAlarm, DiskAlarm, Unroutable, Full],
        Queue::RabbitMq => &[BothKill, MemoryAlarm, DiskAlarm, Deleted, Full],
        Queue::Nats => &[BothKill, Deleted, Full],
        Queue::Azure => &[BrokerStop, Answer500, Answer503, Answer403, AnswerLost],
    };
    let line = LINE.iter().copied().filter(|fault| queue != Queue::Azure || *fault != BrokerKill);
    line.chain(own.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_one_name_and_a_place() {
        for (name, fault) in NAMES {
            assert_eq!(Fault::parse(name), Ok(fault));
            assert_eq!(fault.name(), name);
            let disks = [Disk::Plain, Disk::Small, Disk::Failing, Disk::Power];
            let queues = [Queue::RabbitMq, Queue::Nats, Queue::Azure];
            let daemons = disks.iter().any(|disk| of_daemon(*disk).contains(&fault));
            let brokers = queues
                .iter()
                .any(|queue| [false, true].iter().any(|kind| of_broker(*queue, *kind).contains(&fault)));
            let worker = OF_WORKER.contains(&fault);
            assert_eq!(daemons, fault.is_daemons(), "{name}");
            assert_eq!(brokers, !daemons && !worker, "{name}");
        }
        assert!(Fault::parse("fire").unwrap_err().contains("broker-kill"));
    }

    #[test]
    fn azurite_is_never_killed() {
        assert!(!of_broker(Queue::Azure, false).iter().any(|fault| matches!(fault, BrokerKill | BothKill)));
    }
}
