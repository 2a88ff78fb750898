//! What became of one round: the line that is printed, and the record of it.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bounds::AFTERMATH;
use crate::fault::Fault;
use crate::ledger::{Sent, Verdict};
use crate::options::Queue;
use crate::plan::Plan;
use crate::record::{self, Met, Record};

/// When a fault was there.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    /// Which.
    pub fault: Fault,
    /// From here.
    pub from: Instant,
    /// To here.
    pub to: Instant,
}

impl Happened {
    /// Whether a webhook was on its way meanwhile.
    fn met(&self, sent: &Sent) -> bool {
        let end = sent.began + sent.acknowledged.unwrap_or_default();
        sent.began <= self.to + AFTERMATH && end >= self.from
    }

    /// Whether the daemon didn't run, or its disk didn't work, when a webhook was on its way.
    fn stills(&self, sent: &Sent) -> bool {
        self.fault.is_daemons() && self.fault != Fault::Clock && self.met(sent)
    }
}

/// One round's result.
#[derive(Debug)]
pub struct Round {
    /// Its seed.
    pub seed: u64,
    /// The counts.
    pub verdict: Verdict,
    /// What was sent.
    pub sent: Vec<Sent>,
    /// What happened.
    pub happened: Vec<Happened>,
    /// How often the daemon ended by itself.
    pub exits: usize,
    /// Whatever else isn't as it should be.
    pub notes: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Round {
    /// The slowest acknowledgement.
    pub fn slowest(&self) -> Duration {
        self.sent.iter().filter_map(|sent| sent.acknowledged).max().unwrap_or_default()
    }

    /// Whether somebody should look.
    pub fn is_wrong(&self) -> bool {
        self.verdict.is_broken() || !self.notes.is_empty()
    }

    /// What is kept of it, of a daemon of this version.
    pub fn record(&self, queue: Queue, plan: &Plan, version: &str) -> Record {
        let began =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.took);
        Record {
            version: version.to_owned(),
            began_unix_s: began.as_secs(),
            queue,
            ack: plan.ack,
            seed: self.seed,
            plan: plan.to_string(),
            took_ms: self.took.as_millis() as u64,
            sent: self.verdict.sent,
            acknowledged: self.verdict.acknowledged,
            delivered: self.verdict.delivered,
            lost: self.verdict.lost.len(),
            altered: self.verdict.altered.len(),
            twice: self.verdict.duplicates.len(),
            resent: self.verdict.resent,
            refused: self.verdict.refusals.clone(),
            slowest_us: self.slowest().as_micros() as u64,
            exits: self.exits,
            notes: self.notes.clone(),
            faults: self.happened.iter().map(|happened| self.met(happened)).collect(),
        }
    }

    /// What the webhooks met that were on their way under one fault.
    fn met(&self, happened: &Happened) -> Met {
        let twice: HashSet<&str> = self.verdict.duplicates.iter().map(String::as_str).collect();
        let mut met = Met { fault: happened.fault.name().to_owned(), ..Met::default() };
        met.lasted_ms = (happened.to - happened.from).as_millis() as u64;
        for sent in self.sent.iter().filter(|sent| happened.met(sent)) {
            met.twice += usize::from(twice.contains(sent.id.as_str()));
            // A daemon that stands still says nothing about what it does in a broker's trouble.
            if happened.fault.is_daemons() || !self.happened.iter().any(|other| other.stills(sent)) {
                met.acks_us.extend(sent.acknowledged.map(|time| time.as_micros() as u64));
                met.refused += sent.refusals.len();
            }
        }
        met
    }

    /// The line, with the schedule.
    pub fn line(&self, plan: &str) -> String {
        let verdict = figures(&self.verdict);
        let mut line = format!(
            "seed {}: {verdict}; slowest ack {}, {} exits, {:.0} s; {plan}",
            self.seed,
            record::millis(self.slowest()),
            self.exits,
            self.took.as_secs_f64()
        );
        if self.verdict.is_broken() {
            line += &format!("\n  BROKEN {}", self.verdict.named());
        }
        for note in &self.notes {
            line += &format!("\n  NOTE {note}");
        }
        line
    }
}

fn figures(verdict: &Verdict) -> String {
    let mut line = format!(
        "{} sent, {} acknowledged, {} delivered, {} lost, {} duplicates, {} altered, {} resent",
        verdict.sent,
        verdict.acknowledged,
        verdict.delivered,
        verdict.lost.len(),
        verdict.duplicates.len(),
        verdict.altered.len(),
        verdict.resent
    );
    if verdict.strays > 0 {
        line += &format!(", {} strays", verdict.strays);
    }
    let refusals: Vec<String> = verdict
        .refusals
        .iter()
        .map(|(status, count)| match status {
            0 => format!("{count} unanswered"),
            status => format!("{count} × {status}"),
        })
        .collect();
    if refusals.is_empty() { line } else { line + " (" + &refusals.join(", ") + ")" }
}
