//! Dead letters in our hands. Azure shows the first 32 of a queue and gives nothing by its id, so whoever wants
//! another one must take them all, one page after the other, and give them back.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sluiced_queue::DeadLetter;
use tokio::time::timeout;

use crate::bounds;
use crate::fault::{Fault, Kind};
use crate::notes::{Death, Notes};
use crate::retry::repeat;
use crate::service::{Queue, Taken};
use crate::text::Text;

/// What is said of a letter that Azure Functions, or somebody else, put there.
const NO_REASON: &str = "not recorded in the poison queue";

/// Sends a message; creates the queue if it is missing and that is wanted.
pub(crate) async fn send(queue: &Queue, body: Bytes, declare: bool) -> Result<(), Fault> {
    repeat(async |within, _| {
        let sending = async {
            match queue.send(body.clone(), within).await {
                Err(fault) if declare && fault.kind == Kind::NoQueue => {
                    queue.create(within).await?;
                    queue.send(body.clone(), within).await
                }
                outcome => outcome,
            }
        };
        // All three calls together, not each.
        timeout(within, sending).await.unwrap_or_else(|_| Err(Fault::late(within)))
    })
    .await
}

/// What a letter holds: the message as it was, and why it died.
pub(crate) struct Letter {
    pub(crate) text: Text,
    pub(crate) death: Option<Death>,
    inserted: Timestamp,
}

impl Letter {
    pub(crate) fn read(text: String, inserted: Timestamp) -> Self {
        let Text { message, plain } = Text::read(text);
        let (message, notes) = if plain { (message, Notes::default()) } else { Notes::take_off(message) };
        Self { text: Text { message, plain }, death: notes.death, inserted }
    }

    pub(crate) fn died_at(&self) -> Timestamp {
        self.death.as_ref().map_or(self.inserted, |death| death.died_at)
    }

    pub(crate) fn into_dead_letter(self, id: String) -> DeadLetter {
        let died_at = self.died_at();
        let (reason, attempts) =
            self.death.map_or_else(|| (NO_REASON.to_owned(), 0), |death| (death.reason, death.attempts));
        DeadLetter {
            id,
            message_id: None,
            message: self.text.message,
            headers: Vec::new(),
            attempts,
            reason,
            died_at,
        }
    }
}

/// A letter in our hands.
pub(crate) struct Held {
    pub(crate) id: String,
    pub(crate) receipt: String,
}

/// Letters taken one page after the other, all of them in hand until they are given back.
pub(crate) struct Sweep {
    poison: Arc<Queue>,
    seen: HashSet<String>,
    held: VecDeque<Held>,
}

impl Sweep {
    pub(crate) fn new(poison: Arc<Queue>) -> Self {
        Self { poison, seen: HashSet::new(), held: VecDeque::new() }
    }

    /// The next page; empty at the end. A letter that comes again, because its time in our hands ended, isn't told
    /// again.
    pub(crate) async fn next(&mut self) -> Result<Vec<(String, Letter)>, Fault> {
        if self.seen.len() >= bounds::SEARCH_MAX {
            return Ok(Vec::new());
        }
        let page =
            repeat(async |within, _| self.poison.take(bounds::PAGE_MAX, bounds::HOLD_SECONDS, within).await);
        let mut new = Vec::new();
        for Taken { id, receipt, text, inserted, .. } in page.await? {
            let is_new = self.seen.insert(id.clone());
            self.held.retain(|held| is_new || held.id != id);
            self.held.push_back(Held { id: id.clone(), receipt });
            if is_new {
                new.push((id, Letter::read(text, inserted)));
            }
        }
        Ok(new)
    }

    /// How many letters have come by.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Takes a letter out of the sweep, in hand as it is.
    pub(crate) fn pick(&mut self, id: &str) -> Option<Held> {
        let at = self.held.iter().position(|held| held.id == id)?;
        self.held.remove(at)
    }

    /// Gives everything back, in order, so that the order stays about what it was. One that can't be given back
    /// comes back by itself.
    pub(crate) async fn give_back(mut self) {
        while let Some(Held { id, receipt }) = self.held.pop_front() {
            let key = (&*id, &*receipt);
            match self.poison.update(key, 0, None, bounds::CALL_DEADLINE).await {
                Ok(_) => {}
                Err(fault) if fault.kind == Kind::LeaseLost => {}
                // Nobody is there; the rest would only wait as long.
                Err(_) => return,
            }
        }
    }
}
