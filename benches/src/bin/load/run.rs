//! A run: warm-up, the measured part, and a moment for the answers that are still out.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::error::Error;
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use sluiced_benches::bounds;
use sluiced_benches::report::Report;

use crate::Flags;
use crate::connection::{Connection, Progress};
use crate::histogram::Histogram;
use crate::process::{self, Cpu};
use crate::webhook::{self, Kind, Webhook};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs to the end.
pub(crate) fn run(flags: &Flags) -> Result<Report> {
    std::fs::write("/proc/self/timerslack_ns", bounds::TIMER_SLACK_NS)?;
    let mut load = Load::open(flags)?;
    load.begin()?;
    let mut events = Vec::with_capacity(bounds::EVENTS_MAX);
    while !load.is_over() {
        load.turn()?;
        events.clear();
        epoll::wait(&load.epoll, spare_capacity(&mut events), Some(&load.pause()))?;
        for event in &events {
            let at = event.data.u64() as usize;
            let progress = load.lines[at].connection.look();
            load.note(at, progress)?;
        }
    }
    Ok(load.report())
}

/// All times are nanoseconds since the beginning.
struct Load<'a> {
    flags: &'a Flags,
    epoll: OwnedFd,
    lines: Vec<Line>,
    /// The one that has been idle longest comes first, so that all of them are used.
    idle: VecDeque<usize>,
    began: Instant,
    measured_from: u64,
    measured_to: u64,
    gives_up: u64,
    /// Webhooks begun.
    number: u64,
    under_way: usize,
    tally: Tally,
    /// The server's and our own processor time at the beginning of the measured part.
    before: Option<(Option<Cpu>, Cpu)>,
    after: Option<(Option<Cpu>, Cpu)>,
}

struct Line {
    connection: Connection,
    /// When its webhook was to be sent.
    intended: u64,
}

#[derive(Default)]
struct Tally {
    latencies: Histogram,
    statuses: BTreeMap<u16, u64>,
    answered: u64,
    answered_in_all: u64,
    acknowledged_in_all: u64,
    broken: u64,
}

impl<'a> Load<'a> {
    fn open(flags: &'a Flags) -> Result<Self> {
        let secret = if flags.forge { format!("not {}", flags.secret) } else { flags.secret.clone() };
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64;
        let kind = Kind { to: flags.to, path: &flags.path, secret: &secret, run };
        let bodies: Vec<_> = (0..bounds::BODIES).map(|salt| webhook::body(flags.size, salt)).collect();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut lines = Vec::new();
        for at in 0..usize::from(flags.connections) {
            let webhook = Webhook::new(&kind, bodies[at % bodies.len()].clone());
            let connection = Connection::open(flags.to, webhook)
                .map_err(|error| format!("{} can't be reached: {error}", flags.to))?;
            lines.push(Line { connection, intended: 0 });
        }
        let measured_from = Duration::from_secs_f64(flags.warm_up).as_nanos() as u64;
        let measured_to = measured_from + Duration::from_secs_f64(flags.seconds).as_nanos() as u64;
        Ok(Self {
            flags,
            epoll,
            idle: (0..lines.len()).collect(),
            lines,
            began: Instant::now(),
            measured_from,
            measured_to,
            gives_up: measured_to + bounds::STRAGGLERS.as_nanos() as u64,
            number: 0,
            under_way: 0,
            tally: Tally::default(),
            before: None,
            after: None,
        })
    }

    fn begin(&mut self) -> Result<()> {
        for at in 0..self.lines.len() {
            self.listen(at)?;
        }
        self.began = Instant::now();
        Ok(())
    }

    fn listen(&self, at: usize) -> Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(at as u64);
        Ok(epoll::add(&self.epoll, &self.lines[at].connection.stream, data, flags)?)
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// When the next webhook is to be sent.
    fn due(&self) -> u64 {
        match self.flags.rate {
            Some(rate) => (u128::from(self.number) * 1_000_000_000 / u128::from(rate)) as u64,
            None => 0,
        }
    }

    /// All that were due within the measured part are sent, however late: one that is left out would be a latency
    /// left out.
    fn has_more(&self, now: u64) -> bool {
        if self.flags.rate.is_some() { self.due() < self.measured_to } else { now < self.measured_to }
    }

    fn is_over(&self) -> bool {
        let now = self.now();
        self.after.is_some() && (now >= self.gives_up || (self.under_way == 0 && !self.has_more(now)))
    }

    /// What is to be done now.
    fn turn(&mut self) -> Result<()> {
        let now = self.now();
        if self.before.is_none() && now >= self.measured_from {
            self.before = Some(self.used()?);
        }
        if self.after.is_none() && now >= self.measured_to {
            self.after = Some(self.used()?);
        }
        while self.has_more(now) && self.due() <= now {
            let Some(at) = self.idle.pop_front() else { break };
            self.send(at)?;
        }
        Ok(())
    }

    fn send(&mut self, at: usize) -> Result<()> {
        self.lines[at].intended = if self.flags.rate.is_some() { self.due() } else { self.now() };
        self.number += 1;
        self.under_way += 1;
        let progress = self.lines[at].connection.send(self.number);
        self.note(at, progress)
    }

    fn note(&mut self, at: usize, progress: Progress) -> Result<()> {
        match progress {
            Progress::None => Ok(()),
            Progress::Answered(status) => {
                self.under_way -= 1;
                let now = self.now();
                self.count(status, self.lines[at].intended, now);
                if self.flags.rate.is_none() && self.has_more(now) {
                    return self.send(at);
                }
                self.idle.push_back(at);
                Ok(())
            }
            Progress::Closed { under_way } => {
                if under_way {
                    self.under_way -= 1;
                    self.tally.broken += 1;
                    self.idle.push_back(at);
                }
                let line = &mut self.lines[at];
                line.connection
                    .reopen(self.flags.to)
                    .map_err(|error| format!("the server is gone: {error}"))?;
                self.listen(at)
            }
        }
    }

    fn count(&mut self, status: u16, intended: u64, now: u64) {
        let measured = self.measured_from..self.measured_to;
        if measured.contains(&intended) {
            self.tally.latencies.record(now.saturating_sub(intended));
        }
        if self.before.is_some() && self.after.is_none() {
            self.tally.answered += 1;
            *self.tally.statuses.entry(status).or_default() += 1;
        }
        self.tally.answered_in_all += 1;
        if (200..300).contains(&status) {
            self.tally.acknowledged_in_all += 1;
        }
    }

    /// How long nothing needs to be done unless the server answers.
    fn pause(&self) -> Timespec {
        let now = self.now();
        let marks = [self.measured_from, self.measured_to, self.gives_up];
        let mark = marks.into_iter().find(|mark| *mark > now).unwrap_or(now);
        let next = if self.has_more(now) && !self.idle.is_empty() { mark.min(self.due()) } else { mark };
        Timespec::try_from(Duration::from_nanos(next.saturating_sub(now))).expect("it is less than minutes")
    }

    fn used(&self) -> Result<(Option<Cpu>, Cpu)> {
        Ok((self.flags.pid.map(Cpu::of).transpose()?, Cpu::of(std::process::id())?))
    }

    fn report(mut self) -> Report {
        let unanswered = self.settle();
        let Tally { latencies, statuses, answered, answered_in_all, acknowledged_in_all, broken } =
            self.tally;
        let each = |ns: u64| ns as f64 / 1_000.0 / answered.max(1) as f64;
        let (before, after) = (self.before.expect("it has begun"), self.after.expect("it has ended"));
        let resident = self.flags.pid.map(process::resident);
        let us = |share| latencies.quantile(share) as f64 / 1_000.0;
        Report {
            seconds: self.flags.seconds,
            answered,
            per_second: answered as f64 / self.flags.seconds,
            statuses,
            acknowledged_in_all,
            answered_in_all,
            broken,
            unanswered,
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: latencies.max() as f64 / 1_000.0,
            cpu_us: after.0.zip(before.0).map(|(after, before)| each(after.ns_since(&before))),
            resident_bytes: resident.map(|(now, _)| now),
            resident_peak_bytes: resident.map(|(_, peak)| peak),
            own_cpu_us: each(after.1.ns_since(&before.1)),
        }
    }

    /// How many have had no answer, sent or not. Each has taken so long at least, and counts as that.
    fn settle(&mut self) -> u64 {
        let now = self.now();
        let idle: HashSet<usize> = self.idle.iter().copied().collect();
        let mut out: Vec<u64> =
            (0..self.lines.len()).filter(|at| !idle.contains(at)).map(|at| self.lines[at].intended).collect();
        while self.flags.rate.is_some() && self.has_more(now) {
            out.push(self.due());
            self.number += 1;
        }
        for intended in &out {
            self.tally.latencies.record(now.saturating_sub(*intended));
        }
        out.len() as u64
    }
}
