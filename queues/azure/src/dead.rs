//! The dead letters of one queue, in the queue `{queue}-poison`: the name that Azure Functions gives it, and the
//! text that it expects there.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sluiced_queue::{ConsumeError, DeadLetter, DeadLetterError, DeadLetterStore};
use tokio::sync::Mutex;

use crate::fault::{Fault, Kind};
use crate::letters::{self, Held, Letter, Sweep};
use crate::options::Options;
use crate::retry::repeat;
use crate::service::{Queue, Service};
use crate::{bounds, name};

/// The dead letters of one queue. A letter's id is Azure's.
///
/// Up to 31 letters are looked at without anybody noticing. More than that must be taken out for the time of the
/// listing, and are invisible to others meanwhile; they are given back when the list comes to its end, or come back
/// by themselves after two minutes.
#[derive(Clone)]
pub struct AzureDeadLetters {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Queue,
    poison: Arc<Queue>,
    declare: bool,
    /// One operation at a time.
    desk: Mutex<Desk>,
}

/// Where a listing is.
#[derive(Default)]
struct Desk {
    /// The places of letters that were listed, so that a page can begin behind one that is gone since.
    listed: HashMap<String, Place>,
    /// A listing of more than Azure shows at once, and what of it hasn't been given to the caller yet.
    sweep: Option<(Sweep, Vec<(String, Letter)>)>,
}

/// The order in which letters died.
type Place = (Timestamp, String);

impl AzureDeadLetters {
    /// Looks for the poison queue. There are no dead letters while there is none.
    ///
    /// # Errors
    /// As for [`crate::AzureConsumer::connect`].
    pub async fn connect(options: Options) -> Result<Self, ConsumeError> {
        let failed = |error: crate::OptionsError| ConsumeError::Failed(error.to_string());
        options.check().map_err(failed)?;
        let poison = name::poison(&options.queue_name).map_err(ConsumeError::Failed)?;
        let service = Service::new(&options).map_err(failed)?;
        let queue = service.queue(&options.queue_name).map_err(failed)?;
        let poison = Arc::new(service.queue(&poison).map_err(failed)?);
        match poison.count(bounds::CALL_DEADLINE).await {
            Ok(_) => {}
            Err(fault) if matches!(fault.kind, Kind::NoQueue | Kind::NotPermitted) => {}
            Err(fault) => return Err(fault.consume_error()),
        }
        let inner = Inner { queue, poison, declare: options.declare, desk: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    /// What Azure shows, in the order in which it died.
    async fn look(&self) -> Result<Vec<(String, Letter)>, Fault> {
        let shown = match repeat(async |within, _| self.poison.peek(within).await).await {
            Err(fault) if fault.kind == Kind::NoQueue => Vec::new(),
            shown => shown?,
        };
        let letters = shown.into_iter().map(|shown| (shown.id, Letter::read(shown.text, shown.inserted)));
        let mut letters: Vec<_> = letters.collect();
        letters.sort_by(in_order_of_death);
        Ok(letters)
    }

    /// Takes one letter out of the queue, into our hands; the others are given back.
    async fn find(&self, desk: &mut Desk, id: &str) -> Result<(Held, Option<Letter>), DeadLetterError> {
        if let Some(held) = desk.sweep.as_mut().and_then(|(sweep, _)| sweep.pick(id)) {
            return Ok((held, None));
        }
        let mut sweep = Sweep::new(self.poison.clone());
        let found = self.search(&mut sweep, id).await;
        let seen = sweep.seen();
        sweep.give_back().await;
        match found {
            Ok(Some((held, letter))) => Ok((held, Some(letter))),
            Ok(None) => Err(self.nowhere(id, seen).await),
            Err(fault) if fault.kind == Kind::NoQueue => Err(DeadLetterError::NotFound(id.to_owned())),
            Err(fault) => Err(unavailable(fault)),
        }
    }

    async fn search(&self, sweep: &mut Sweep, id: &str) -> Result<Option<(Held, Letter)>, Fault> {
        loop {
            let page = sweep.next().await?;
            if page.is_empty() {
                return Ok(None);
            }
            if let Some((_, letter)) = page.into_iter().find(|(other, _)| other == id) {
                return Ok(sweep.pick(id).map(|held| (held, letter)));
            }
        }
    }

    /// Azure tells what is invisible only by their number.
    async fn nowhere(&self, id: &str, seen: u64) -> DeadLetterError {
        match self.poison.count(bounds::CALL_DEADLINE).await {
            Ok(count) if count > seen => DeadLetterError::Unavailable(format!(
                "{id} isn't among the {seen} dead letters that can be seen; {} more are in somebody's hands and come \
                 back within minutes",
                count - seen
            )),
            _ => DeadLetterError::NotFound(id.to_owned()),
        }
    }

    /// Finds it, and its text, which a listing doesn't keep.
    async fn find_text(&self, desk: &mut Desk, id: &str) -> Result<(Held, Letter), DeadLetterError> {
        loop {
            match self.find(desk, id).await? {
                (held, Some(letter)) => return Ok((held, letter)),
                (held, None) => {
                    let given = self.poison.update((&held.id, &held.receipt), 0, None, bounds::CALL_DEADLINE);
                    given.await.map_err(|fault| gone(fault, id))?;
                }
            }
        }
    }
}

impl Desk {
    /// Ends a listing: everything goes back.
    async fn end(&mut self) {
        if let Some((sweep, _)) = self.sweep.take() {
            sweep.give_back().await;
        }
    }

    fn note(&mut self, page: &[DeadLetter]) {
        if self.listed.len() > bounds::SEARCH_MAX {
            self.listed.clear();
        }
        self.listed
            .extend(page.iter().map(|letter| (letter.id.clone(), (letter.died_at, letter.id.clone()))));
    }

    /// The next page of a listing of many. At the end all is given back.
    async fn more(&mut self, max: usize) -> Result<Vec<DeadLetter>, Fault> {
        let Some((sweep, waiting)) = &mut self.sweep else { return Ok(Vec::new()) };
        if waiting.is_empty() {
            *waiting = sweep.next().await?;
            waiting.sort_by(in_order_of_death);
        }
        if waiting.is_empty() {
            self.end().await;
            return Ok(Vec::new());
        }
        let taken = waiting.len().min(max);
        Ok(waiting.drain(..taken).map(|(id, letter)| letter.into_dead_letter(id)).collect())
    }
}

#[async_trait]
impl DeadLetterStore for AzureDeadLetters {
    async fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let mut desk = self.inner.desk.lock().await;
        let place = match after {
            None => {
                desk.end().await;
                desk.listed.clear();
                None
            }
            Some(id) => {
                let place = desk.listed.get(id).cloned();
                Some(place.ok_or_else(|| DeadLetterError::NotFound(id.to_owned()))?)
            }
        };
        if desk.sweep.is_none() {
            let shown = self.inner.look().await.map_err(unavailable)?;
            if shown.len() < bounds::PAGE_MAX || place.is_some() {
                let rest = shown.into_iter().filter(|(id, letter)| {
                    place.as_ref().is_none_or(|place| (letter.died_at(), id) > (place.0, &place.1))
                });
                let page: Vec<_> = rest.take(max).map(|(id, letter)| letter.into_dead_letter(id)).collect();
                desk.note(&page);
                return Ok(page);
            }
            desk.sweep = Some((Sweep::new(self.inner.poison.clone()), Vec::new()));
        }
        let page = desk.more(max).await.map_err(unavailable)?;
        desk.note(&page);
        Ok(page)
    }

    async fn show(&self, id: &str) -> Result<DeadLetter, DeadLetterError> {
        let mut desk = self.inner.desk.lock().await;
        desk.end().await;
        let shown = self.inner.look().await.map_err(unavailable)?;
        if let Some((_, letter)) = shown.into_iter().find(|(other, _)| other == id) {
            return Ok(letter.into_dead_letter(id.to_owned()));
        }
        let (held, letter) = self.inner.find_text(&mut desk, id).await?;
        let given = self.inner.poison.update((&held.id, &held.receipt), 0, None, bounds::CALL_DEADLINE);
        // If that fails it comes back by itself.
        let _ = given.await;
        Ok(letter.into_dead_letter(id.to_owned()))
    }

    /// Killed in between, it is in both queues.
    async fn retry(&self, id: &str) -> Result<(), DeadLetterError> {
        let mut desk = self.inner.desk.lock().await;
        let (held, letter) = self.inner.find_text(&mut desk, id).await?;
        // Searching may have taken long; is it still ours?
        let poison = &self.inner.poison;
        let kept =
            poison.update((&held.id, &held.receipt), bounds::MOVE_SECONDS, None, bounds::CALL_DEADLINE);
        let receipt = kept.await.map_err(|fault| gone(fault, id))?;
        let sent = letters::send(&self.inner.queue, letter.text.request_body(), self.inner.declare).await;
        if let Err(fault) = sent {
            // If that fails too it comes back by itself.
            let _ = poison.update((&held.id, &receipt), 0, None, bounds::CALL_DEADLINE).await;
            return Err(unavailable(fault));
        }
        match delete(poison, id, &receipt).await {
            // It has been put back, and somebody else took the letter in the same moment.
            Err(fault) if fault.kind == Kind::LeaseLost => Ok(()),
            deleted => deleted.map_err(unavailable),
        }
    }

    async fn purge(&self, id: &str) -> Result<(), DeadLetterError> {
        let mut desk = self.inner.desk.lock().await;
        let (held, _) = self.inner.find(&mut desk, id).await?;
        delete(&self.inner.poison, id, &held.receipt).await.map_err(|fault| gone(fault, id))
    }
}

impl fmt::Debug for AzureDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureDeadLetters").field("queue", &self.inner.poison.name).finish_non_exhaustive()
    }
}

async fn delete(queue: &Queue, id: &str, receipt: &str) -> Result<(), Fault> {
    repeat(async |within, uncertain| match queue.delete((id, receipt), within).await {
        Err(fault) if uncertain && fault.kind == Kind::LeaseLost => Ok(()),
        outcome => outcome,
    })
    .await
}

fn in_order_of_death(a: &(String, Letter), b: &(String, Letter)) -> Ordering {
    (a.1.died_at(), &a.0).cmp(&(b.1.died_at(), &b.0))
}

fn unavailable(fault: Fault) -> DeadLetterError {
    DeadLetterError::Unavailable(fault.text)
}

/// Somebody else has it, or had it.
fn gone(fault: Fault, id: &str) -> DeadLetterError {
    match fault.kind {
        Kind::LeaseLost => DeadLetterError::NotFound(id.to_owned()),
        _ => unavailable(fault),
    }
}
