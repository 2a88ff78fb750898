//! What is kept of a round, as a line of JSON in a file, so that rounds of many runs can be counted together.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::{Ack, Queue};

/// One round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What the daemon says of itself with `--version`.
    pub version: String,
    /// When it began, in seconds of Unix time.
    pub began_unix_s: u64,
    /// Where the daemon queued.
    pub queue: Queue,
    /// What it waited for.
    pub ack: Ack,
    /// What decided the schedule.
    pub seed: u64,
    /// The schedule.
    pub plan: String,
    /// How long all of it took, the reading included.
    pub took_ms: u64,
    /// Different webhooks that were sent.
    pub sent: usize,
    /// Those that got a 2xx.
    pub acknowledged: usize,
    /// Different webhooks that came out of the queue.
    pub delivered: usize,
    /// Acknowledged and not delivered.
    pub lost: usize,
    /// Not byte for byte what was sent.
    pub altered: usize,
    /// Copies beyond as many as the sender had sent.
    pub twice: usize,
    /// Copies that the sender had sent as well.
    pub resent: usize,
    /// Answers other than 2xx, and how often; 0 is none.
    pub refused: Vec<(u16, usize)>,
    /// The slowest acknowledgement.
    pub slowest_us: u64,
    /// How often the daemon ended by itself.
    pub exits: usize,
    /// Whatever else wasn't as it should be.
    pub notes: Vec<String>,
    /// Its faults, one entry each time.
    pub faults: Vec<Met>,
}

/// What webhooks met that were on their way under one fault.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Met {
    /// Its name.
    pub fault: String,
    /// How long it was there.
    pub lasted_ms: u64,
    /// How long each acknowledgement took.
    pub acks_us: Vec<u64>,
    /// Answers other than 2xx.
    pub refused: usize,
    /// How many of them came twice.
    pub twice: usize,
}

impl Record {
    /// Adds it to a file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn append(&self, file: &Path) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", file.display());
        let mut line = serde_json::to_string(self).map_err(|error| error.to_string())?;
        line.push('\n');
        let mut file = OpenOptions::new().create(true).append(true).open(file).map_err(failed)?;
        file.write_all(line.as_bytes()).map_err(failed)
    }

    /// All of a file.
    ///
    /// # Errors
    /// When it can't be read, or a line isn't a record.
    pub fn read(file: &Path) -> Result<Vec<Self>, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let parse = |(number, line)| {
            serde_json::from_str(line)
                .map_err(|error| format!("{}, line {}: {error}", file.display(), number + 1))
        };
        text.lines().enumerate().map(parse).collect()
    }

    /// Whether a promise was broken.
    pub fn is_broken(&self) -> bool {
        self.lost > 0 || self.altered > 0
    }

    /// Whether somebody should look.
    pub fn is_wrong(&self) -> bool {
        self.is_broken() || !self.notes.is_empty()
    }
}

pub(crate) fn millis(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}
