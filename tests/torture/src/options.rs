//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::bounds::{DUPLICATES_PERCENT_MAX, SENDERS};
use crate::fault::Fault;

/// Where the daemon queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// On its own disk.
    Embedded,
    /// In front of a RabbitMQ node.
    #[value(name = "rabbitmq")]
    RabbitMq,
    /// In front of a NATS server with JetStream.
    Nats,
    /// In front of Azurite.
    Azure,
}

impl Queue {
    /// As its own people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::RabbitMq => "RabbitMQ",
            Self::Nats => "NATS",
            Self::Azure => "Azurite",
        }
    }
}

/// What the daemon waits for before it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// The queue; the spool when that takes too long.
    Queue,
    /// The spool.
    Spool,
    /// By turns: even seeds the queue, odd ones the spool.
    Both,
}

/// Floods the daemon with signed webhooks, breaks it, its broker, its disk and its clock, and counts what was
/// acknowledged and isn't there afterwards. Exit status 1 says that something was lost or altered, or that one in a
/// hundred came twice.
#[derive(Clone, Debug, Parser)]
#[command(name = "torture", after_help = crate::options::EXAMPLES)]
pub struct Options {
    /// Where the daemon queues
    #[arg(long, default_value = "embedded")]
    pub queue: Queue,

    /// What the daemon waits for before it acknowledges; the embedded queue knows no difference
    #[arg(long, default_value = "queue")]
    pub ack: Ack,

    /// How many rounds
    #[arg(long, default_value_t = 1)]
    pub rounds: u64,

    /// The first round's seed; the next has the next. A seed decides a round's schedule [default: the time]
    #[arg(long)]
    pub seed: Option<u64>,

    /// How long faults begin in a round; one that has begun is waited for
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub seconds: u64,

    /// Nothing but these, with commas between them [default: all that the queue can have]
    #[arg(long, value_delimiter = ',', value_parser = Fault::parse)]
    pub faults: Vec<Fault>,

    /// Webhooks a second [default: 300, and 60 for azure]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: Option<u32>,

    /// Senders at once, each with a connection of its own that waits for its answers
    #[arg(long, default_value_t = SENDERS, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub senders: u32,

    /// How many of a hundred may come twice before the run counts as broken. Azure knows no message ids, so what was
    /// stored and not answered is stored again
    #[arg(long, default_value_t = DUPLICATES_PERCENT_MAX)]
    pub duplicates: f64,

    /// The daemon's program [default: the one beside this program]
    #[arg(long, env = "SLUICED_TEST_BINARY")]
    pub binary: Option<PathBuf>,

    /// Where a round's files go that broke a promise [default: a directory for temporary files]
    #[arg(long)]
    pub keep: Option<PathBuf>,

    /// A file to which a line of JSON is added for each round
    #[arg(long)]
    pub record: Option<PathBuf>,

    /// Count the rounds of these files, with commas between them, and do nothing else
    #[arg(long, value_delimiter = ',')]
    pub count: Vec<PathBuf>,

    /// Show the schedules and do nothing
    #[arg(long)]
    pub plan: bool,
}

/// What is mostly wanted.
pub const EXAMPLES: &str = "Examples:
  torture --rounds 20
  torture --queue nats --ack both --rounds 50 --seed 1
  torture --queue rabbitmq --faults broker-kill,cut --seconds 10
  torture --queue azure --seed 4711 --plan
  torture --rounds 20 --record rounds.jsonl; torture --count rounds.jsonl";
