//! The count over many rounds: a row for each queue, and a table of its faults.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::Fault;
use crate::options::{Ack, Queue};
use crate::record::{Record, millis};

/// Rounds, of one run or of many.
#[derive(Debug, Default)]
pub struct Summary {
    rounds: Vec<Record>,
}

/// Figures of several rounds.
#[derive(Debug, Default)]
struct Total {
    rounds: usize,
    spooling: usize,
    sent: usize,
    acknowledged: usize,
    delivered: usize,
    lost: usize,
    altered: usize,
    twice: usize,
    slowest: Duration,
    exits: usize,
    seeds: Vec<u64>,
}

/// What was met under one fault, in several rounds.
#[derive(Debug, Default)]
struct UnderFault {
    times: usize,
    lasted_ms: u64,
    acks_us: Vec<u64>,
    refused: usize,
    twice: usize,
}

const QUEUES: [Queue; 4] = [Queue::Embedded, Queue::Nats, Queue::RabbitMq, Queue::Azure];

impl Summary {
    /// Adds a round.
    pub fn add(&mut self, round: Record) {
        self.rounds.push(round);
    }

    /// Whether every promise was kept in all of them, and fewer than so many of a hundred came twice.
    pub fn is_good(&self, twice_percent_max: f64) -> bool {
        let total = Total::of(self.rounds.iter());
        !self.rounds.iter().any(Record::is_broken) && total.twice_percent() < twice_percent_max
    }

    /// Prints it.
    pub fn print(&self, twice_percent_max: f64) {
        let of = |queue: Queue| self.rounds.iter().filter(move |round| round.queue == queue);
        println!(
            "\n| queue | seeds | rounds | `--ack spool` | sent | acknowledged | lost | altered | twice | slowest 2xx \
             | exits |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        let queues = QUEUES.into_iter().filter(|queue| of(*queue).next().is_some());
        for queue in queues.clone() {
            println!("{}", Total::of(of(queue)).row(queue.name()));
        }
        let total = Total::of(self.rounds.iter());
        println!("{}", Total { seeds: Vec::new(), ..Total::of(self.rounds.iter()) }.row("all"));
        for queue in queues {
            table(queue, of(queue));
        }
        let wrong: Vec<&Record> = self.rounds.iter().filter(|round| round.is_wrong()).collect();
        for round in wrong {
            println!("\nto look at: {}, seed {} {:?}", round.queue.name(), round.seed, round.notes);
        }
        println!(
            "\n{} rounds: {} acknowledged, {} lost, {} altered, {:.2} % twice",
            total.rounds,
            total.acknowledged,
            total.lost,
            total.altered,
            total.twice_percent()
        );
        println!("{}", if self.is_good(twice_percent_max) { "kept" } else { "BROKEN" });
    }
}

impl Total {
    fn of<'a>(rounds: impl Iterator<Item = &'a Record>) -> Self {
        let mut total = Self::default();
        for round in rounds {
            total.rounds += 1;
            total.spooling += usize::from(round.ack == Ack::Spool);
            total.sent += round.sent;
            total.acknowledged += round.acknowledged;
            total.delivered += round.delivered;
            total.lost += round.lost;
            total.altered += round.altered;
            total.twice += round.twice;
            total.slowest = total.slowest.max(Duration::from_micros(round.slowest_us));
            total.exits += round.exits;
            total.seeds.push(round.seed);
        }
        total
    }

    fn twice_percent(&self) -> f64 {
        100.0 * self.twice as f64 / self.delivered.max(1) as f64
    }

    fn row(&self, name: &str) -> String {
        format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} ({:.2} %) | {} | {} |",
            ranges(&self.seeds),
            self.rounds,
            self.spooling,
            self.sent,
            self.acknowledged,
            self.lost,
            self.altered,
            self.twice,
            self.twice_percent(),
            millis(self.slowest),
            self.exits
        )
    }
}

/// Numbers, with those in a row together: `1–3, 7`.
fn ranges(numbers: &[u64]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let rows = sorted.chunk_by(|one, next| one + 1 == *next);
    let text = rows.map(|row| match row {
        [first, .., last] => format!("{first}–{last}"),
        [only] => only.to_string(),
        [] => String::new(),
    });
    text.collect::<Vec<_>>().join(", ")
}

fn table<'a>(queue: Queue, rounds: impl Iterator<Item = &'a Record>) {
    let mut faults: BTreeMap<Fault, UnderFault> = BTreeMap::new();
    for met in rounds.flat_map(|round| &round.faults) {
        let Ok(fault) = Fault::parse(&met.fault) else { continue };
        let under = faults.entry(fault).or_default();
        under.times += 1;
        under.lasted_ms += met.lasted_ms;
        under.acks_us.extend(&met.acks_us);
        under.refused += met.refused;
        under.twice += met.twice;
    }
    println!("\n{}:\n", queue.name());
    println!("| fault | times | seconds | acknowledged | p50 | p99 | p99.9 | slowest | not 2xx | twice |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (fault, mut under) in faults {
        under.acks_us.sort_unstable();
        let at = |part: f64| match under.acks_us.len() {
            0 => "–".to_owned(),
            count => {
                millis(Duration::from_micros(under.acks_us[((count - 1) as f64 * part).ceil() as usize]))
            }
        };
        println!(
            "| {} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {} |",
            fault.name(),
            under.times,
            under.lasted_ms as f64 / 1e3,
            under.acks_us.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            under.refused,
            under.twice
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_in_a_row_are_said_as_one() {
        assert_eq!(ranges(&[7, 1, 3, 2, 9, 10]), "1–3, 7, 9–10");
        assert_eq!(ranges(&[]), "");
    }
}
