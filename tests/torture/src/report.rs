//! What is printed: a line for each round, and a summary with a table of faults.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::bounds::AFTERMATH;
use crate::fault::Fault;
use crate::ledger::{Sent, Verdict};

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

/// How long acknowledgements took under one fault, in all rounds.
#[derive(Clone, Debug, Default)]
struct UnderFault {
    times: usize,
    lasted: Duration,
    latencies: Vec<Duration>,
    refused: usize,
    duplicates: usize,
}

/// All rounds so far.
#[derive(Debug, Default)]
pub struct Summary {
    rounds: usize,
    total: Verdict,
    exits: usize,
    slowest: Duration,
    faults: BTreeMap<Fault, UnderFault>,
    /// Rounds in which something was wrong, each with its seed.
    wrong: Vec<String>,
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

    /// The line, with the schedule.
    pub fn line(&self, plan: &str) -> String {
        let verdict = figures(&self.verdict);
        let mut line = format!(
            "seed {}: {verdict}; slowest ack {}, {} exits, {:.0} s; {plan}",
            self.seed,
            millis(self.slowest()),
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

impl Summary {
    /// Adds a round.
    pub fn add(&mut self, round: Round) {
        self.rounds += 1;
        self.exits += round.exits;
        self.slowest = self.slowest.max(round.slowest());
        if round.is_wrong() {
            self.wrong.push(round.seed.to_string());
        }
        let duplicates: HashSet<&str> = round.verdict.duplicates.iter().map(String::as_str).collect();
        for happened in &round.happened {
            let under = self.faults.entry(happened.fault).or_default();
            under.times += 1;
            under.lasted += happened.to - happened.from;
            for sent in round.sent.iter().filter(|sent| happened.met(sent)) {
                under.duplicates += usize::from(duplicates.contains(sent.id.as_str()));
                // A daemon that stands still says nothing about what it does in a broker's trouble.
                if happened.fault.is_daemons() || !round.happened.iter().any(|other| other.stills(sent)) {
                    under.latencies.extend(sent.acknowledged);
                    under.refused += sent.refusals.len();
                }
            }
        }
        self.total.add(round.verdict);
    }

    /// Whether every promise was kept in all of them, and fewer than so many of a hundred came twice.
    pub fn is_good(&self, duplicates_percent_max: f64) -> bool {
        !self.total.is_broken() && self.duplicates_percent() < duplicates_percent_max
    }

    fn duplicates_percent(&self) -> f64 {
        100.0 * self.total.duplicates.len() as f64 / (self.total.delivered.max(1)) as f64
    }

    /// Prints it.
    pub fn print(&self, duplicates_percent_max: f64) {
        println!(
            "\n{} rounds: {}; {:.2} % duplicates, slowest ack {}, {} exits of the daemon",
            self.rounds,
            figures(&self.total),
            self.duplicates_percent(),
            millis(self.slowest),
            self.exits
        );
        println!("\n| fault | times | seconds | acks | p50 | p99 | p99.9 | slowest | not 2xx | duplicates |");
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for (fault, under) in &self.faults {
            let mut latencies = under.latencies.clone();
            latencies.sort_unstable();
            let at = |part: f64| match latencies.len() {
                0 => "–".to_owned(),
                count => millis(latencies[((count - 1) as f64 * part).ceil() as usize]),
            };
            println!(
                "| {} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {} |",
                fault.name(),
                under.times,
                under.lasted.as_secs_f64(),
                latencies.len(),
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0),
                under.refused,
                under.duplicates
            );
        }
        if !self.wrong.is_empty() {
            println!("\nto look at: seeds {}", self.wrong.join(", "));
        }
        println!("\n{}", if self.is_good(duplicates_percent_max) { "kept" } else { "BROKEN" });
    }
}

fn millis(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}
