//! A round's schedule, which its seed decides: what is broken when, and for how long.

use std::fmt;
use std::time::Duration;

use crate::fault::{Disk, Fault, OF_WORKER, of_broker, of_daemon};
use crate::options::{Ack, Options, Queue};
use crate::random::Random;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it begins, from the beginning of the load; later, if what was before it isn't over.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// How long, where that can be chosen.
    pub lasts: Duration,
    /// Whatever else the fault lets one choose.
    pub dice: u64,
}

/// What happens in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What decides it.
    pub seed: u64,
    /// What the daemon waits for.
    pub ack: Ack,
    /// The daemon's disk.
    pub disk: Disk,
    /// Whether the listening socket is handed over to the daemon, and outlives it.
    pub handed_over: bool,
    /// Whether the daemon publishes to an exchange of the operator's.
    pub exchange: bool,
    /// What happens to the daemon, one after the other.
    pub daemon: Vec<Step>,
    /// What happens to the broker meanwhile, one after the other.
    pub broker: Vec<Step>,
    /// What happens to a worker meanwhile, if there is one beside the daemon.
    pub worker: Option<Vec<Step>>,
}

impl Plan {
    /// The plan that a seed stands for.
    pub fn new(options: &Options, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ack = match options.ack {
            Ack::Both if seed.is_multiple_of(2) => Ack::Queue,
            Ack::Both => Ack::Spool,
            ack => ack,
        };
        let allowed = |fault: &Fault| options.faults.is_empty() || options.faults.contains(fault);
        let disk = choose_disk(&mut random, allowed);
        let of_daemon: Vec<Fault> = of_daemon(disk).into_iter().filter(allowed).collect();
        let exchange = options.queue == Queue::RabbitMq && choose_exchange(seed, allowed);
        let of_broker: Vec<Fault> = of_broker(options.queue, exchange).into_iter().filter(allowed).collect();
        let end = Duration::from_secs(options.seconds);
        // With a broker, half of the time it is alone in its trouble.
        let alone = options.queue != Queue::Embedded && !of_broker.is_empty() && random.percent(40);
        let first = (disk != Disk::Plain).then(|| of_daemon.first().copied()).flatten();
        let mut daemon = match first {
            _ if alone && disk == Disk::Plain => Vec::new(),
            first => steps(&mut random, &of_daemon, first, end),
        };
        let mut broker = steps(&mut random, &of_broker, None, end);
        let kills: Vec<Step> = broker.iter().filter(|step| step.fault == Fault::BothKill).cloned().collect();
        daemon.extend(kills.into_iter().map(|step| Step { fault: Fault::Kill, ..step }));
        daemon.sort_by_key(|step| step.at);
        broker.sort_by_key(|step| step.at);
        let rolls = daemon.iter().any(|step| step.fault == Fault::Roll);
        let handed_over = rolls || random.percent(25);
        let has_worker = options.queue == Queue::Embedded && disk == Disk::Plain;
        let worker = has_worker.then(|| worker(seed, allowed, end)).flatten();
        Self { seed, ack, disk, exchange, handed_over, daemon, broker, worker }
    }

    /// All faults of it.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.daemon.iter().chain(&self.broker).chain(self.worker.iter().flatten())
    }
}

/// Most have one. It has numbers of its own, so that the rest of the schedule is the same with and without it.
fn worker(seed: u64, allowed: impl Fn(&Fault) -> bool, end: Duration) -> Option<Vec<Step>> {
    let mut random = Random::new(seed ^ 0x303b);
    let of: Vec<Fault> = OF_WORKER.into_iter().filter(allowed).collect();
    (!of.is_empty() && random.percent(75)).then(|| steps(&mut random, &of, None, end))
}

/// A third of the rounds have one, and those that ask for what only an exchange can have.
fn choose_exchange(seed: u64, allowed: impl Fn(&Fault) -> bool) -> bool {
    match (allowed(&Fault::Unroutable), allowed(&Fault::Deleted)) {
        (true, true) => seed.is_multiple_of(3),
        (unroutable, _) => unroutable,
    }
}

/// Half of the rounds have the machine's own disk, if that leaves anything to do.
fn choose_disk(random: &mut Random, allowed: impl Fn(&Fault) -> bool) -> Disk {
    let own =
        |disk: Disk| of_daemon(disk).into_iter().filter(|fault| !of_daemon(Disk::Plain).contains(fault));
    let special = [Disk::Small, Disk::Failing, Disk::Power];
    let possible: Vec<Disk> = special.into_iter().filter(|disk| own(*disk).any(|f| allowed(&f))).collect();
    let plain = possible.is_empty() || random.percent(45);
    let disk = if possible.is_empty() { Disk::Plain } else { *random.choose(&possible) };
    let nothing_else = !of_daemon(Disk::Plain).iter().any(allowed);
    if plain && !nothing_else { Disk::Plain } else { disk }
}

/// One after the other with some calm between them, until the time is over. At least one, if there is any; `first`
/// says that the disk's own kind must be among them.
fn steps(random: &mut Random, of: &[Fault], first: Option<Fault>, end: Duration) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut at = Duration::from_millis(random.between(100, 900));
    let own: Vec<Fault> = of.iter().copied().filter(|fault| is_own(*fault)).collect();
    while !of.is_empty() && (at < end || steps.is_empty()) {
        let fault = match first {
            Some(_) if steps.is_empty() && !own.is_empty() => *random.choose(&own),
            _ => *random.choose(of),
        };
        let lasts = Duration::from_millis(length(random, fault));
        steps.push(Step { at, fault, lasts, dice: random.number() });
        at += lasts + Duration::from_millis(random.between(200, 1200));
    }
    steps
}

/// Whether it needs a disk of its own.
fn is_own(fault: Fault) -> bool {
    fault.is_daemons() && !of_daemon(Disk::Plain).contains(&fault)
}

fn length(random: &mut Random, fault: Fault) -> u64 {
    match fault {
        // The daemon is started again after that.
        Fault::Kill | Fault::Term | Fault::Roll | Fault::BothKill => random.between(0, 400),
        Fault::WorkerKill | Fault::WorkerTerm => random.between(0, 800),
        Fault::Cut | Fault::CutAnswers => random.between(50, 600),
        Fault::BrokerKill | Fault::BrokerStop => random.between(0, 1500),
        Fault::Power => random.between(300, 1500),
        _ => random.between(300, 2500),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = format!("{:?}", self.disk).to_lowercase();
        let exchange = if self.exchange { ", exchange" } else { "" };
        write!(f, "{disk} disk{exchange}{}", if self.handed_over { ", socket handed over" } else { "" })?;
        write!(f, "{}", if self.worker.is_some() { ", worker" } else { "" })?;
        let mut steps: Vec<&Step> = self.steps().collect();
        steps.sort_by_key(|step| step.at);
        for step in steps {
            write!(f, ", {}@{:.1}s", step.fault.name(), step.at.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Options::try_parse_from([&["torture"], arguments].concat()).unwrap()
    }

    #[test]
    fn a_seed_decides_the_schedule() {
        for queue in ["embedded", "rabbitmq", "nats", "azure"] {
            let options = options(&["--queue", queue]);
            let plans: Vec<Plan> = (0..50).map(|seed| Plan::new(&options, seed)).collect();
            assert_eq!(plans, (0..50).map(|seed| Plan::new(&options, seed)).collect::<Vec<_>>());
            assert!(plans.iter().all(|plan| plan.steps().next().is_some()), "{queue}");
            assert!(plans.iter().any(|plan| plan.steps().count() > 2), "{queue}");
            assert_ne!(plans[0].to_string(), plans[1].to_string());
        }
    }

    #[test]
    fn a_worker_changes_nothing_else_of_the_schedule() {
        let (all, some) = (options(&[]), options(&["--faults", "kill,freeze,term,roll,clock,disk-full"]));
        let workers = (0..100).filter(|seed| Plan::new(&all, *seed).worker.is_some()).count();
        assert!((20..60).contains(&workers), "{workers}");
        assert!((0..100).all(|seed| Plan::new(&some, seed).worker.is_none()));
    }

    #[test]
    fn every_fault_of_a_queue_comes_up() {
        for (name, queue) in [("rabbitmq", Queue::RabbitMq), ("nats", Queue::Nats), ("azure", Queue::Azure)] {
            let options = options(&["--queue", name]);
            let plans: Vec<Plan> = (0..400).map(|seed| Plan::new(&options, seed)).collect();
            let comes_up = |fault: &Fault| plans.iter().any(|plan| plan.steps().any(|s| s.fault == *fault));
            let disks = [Disk::Plain, Disk::Small, Disk::Failing, Disk::Power];
            for fault in disks
                .iter()
                .flat_map(|disk| of_daemon(*disk))
                .chain(of_broker(queue, false))
                .chain(of_broker(queue, true))
            {
                assert!(comes_up(&fault), "{name}: {}", fault.name());
            }
        }
    }

    #[test]
    fn nothing_but_what_was_asked_for_happens() {
        for fault in ["kill", "power", "eio-sync", "disk-full"] {
            let options = options(&["--faults", fault]);
            for seed in 0..50 {
                let plan = Plan::new(&options, seed);
                assert!(plan.steps().next().is_some(), "{fault}, seed {seed}");
                assert!(plan.steps().all(|step| step.fault.name() == fault), "{plan}");
            }
        }
    }

    #[test]
    fn a_second_daemon_needs_the_socket() {
        let options = options(&[]);
        for plan in (0..100).map(|seed| Plan::new(&options, seed)) {
            let rolls = plan.daemon.iter().any(|step| step.fault == Fault::Roll);
            assert!(plan.handed_over || !rolls);
        }
    }
}
