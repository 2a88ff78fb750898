//! The dead letters as the contract has them: asynchronous, and a page at a time.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use sluiced_queue::{DeadLetter, DeadLetterError, DeadLetterStore};

use crate::bounds;
use crate::dead::{self, DeadError, DeadLetters};
use crate::open_error::OpenError;

/// The dead letters of one queue of a store. A clone shares the connection.
#[derive(Clone, Debug)]
pub struct EmbeddedDeadLetters {
    letters: Arc<Mutex<DeadLetters>>,
}

impl EmbeddedDeadLetters {
    /// Opens the store in `dir`. Blocks.
    ///
    /// # Errors
    /// As for a worker: [`OpenError::NotThereYet`] while there is no store.
    pub fn open(dir: &Path, queue_name: &str) -> Result<Self, OpenError> {
        let letters = DeadLetters::open(dir, queue_name)?;
        Ok(Self { letters: Arc::new(Mutex::new(letters)) })
    }

    /// Opens the store in `dir`, for the dead letters of all queues in it.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_all(dir: &Path) -> Result<Self, OpenError> {
        let letters = DeadLetters::open_all(dir)?;
        Ok(Self { letters: Arc::new(Mutex::new(letters)) })
    }

    /// SQLite's waits are no waits of the runtime's.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut DeadLetters) -> Result<T, DeadError> + Send + 'static,
    ) -> Result<T, DeadLetterError> {
        let letters = self.letters.clone();
        // The connection is as good as before after a panic: an open transaction is rolled back.
        let run = move || work(&mut letters.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(run).await {
            Ok(done) => done.map_err(DeadLetterError::from),
            Err(panicked) => Err(DeadLetterError::Unavailable(panicked.to_string())),
        }
    }
}

#[async_trait]
impl DeadLetterStore for EmbeddedDeadLetters {
    async fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let after = after.map_or(Ok(0), number)?;
        self.blocking(move |letters| page(letters, after, max)).await
    }

    async fn show(&self, id: &str) -> Result<DeadLetter, DeadLetterError> {
        let id = number(id)?;
        self.blocking(move |letters| read(letters, id)).await
    }

    async fn retry(&self, id: &str) -> Result<(), DeadLetterError> {
        let id = number(id)?;
        self.blocking(move |letters| letters.retry(id)).await
    }

    async fn purge(&self, id: &str) -> Result<(), DeadLetterError> {
        let id = number(id)?;
        self.blocking(move |letters| letters.purge(id)).await
    }
}

/// Ends at `max` letters or at so many bytes, but has one letter at least while there is one.
fn page(letters: &DeadLetters, mut after: u64, max: usize) -> Result<Vec<DeadLetter>, DeadError> {
    let mut page = Vec::new();
    loop {
        let mut rows = letters.list(after)?;
        rows.truncate(max);
        let Some(last) = rows.last() else { return Ok(page) };
        after = last.id;
        read_page(letters, rows, &mut page)?;
        if !page.is_empty() {
            return Ok(page);
        }
    }
}

/// Adds what is still there of them, as far as the bound on bytes allows.
fn read_page(
    letters: &DeadLetters,
    rows: Vec<dead::DeadLetter>,
    page: &mut Vec<DeadLetter>,
) -> Result<(), DeadError> {
    let mut bytes = 0;
    for row in rows {
        bytes += row.bytes;
        if bytes > bounds::DEAD_PAGE_BYTES_MAX && !page.is_empty() {
            break;
        }
        match read(letters, row.id) {
            Ok(letter) => page.push(letter),
            // Somebody retried or purged it since the rows were read.
            Err(DeadError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read(letters: &DeadLetters, id: u64) -> Result<DeadLetter, DeadError> {
    let (letter, message) = letters.show(id)?;
    let headers = match letters.headers(id) {
        // A damaged letter is shown all the same; it is retrying that is refused.
        Err(DeadError::Damaged(_)) => Vec::new(),
        read => read?,
    };
    Ok(DeadLetter {
        id: letter.id.to_string(),
        message_id: Some(letter.message_id),
        message,
        headers,
        attempts: letter.attempts,
        reason: letter.reason,
        // Out of range only if the file was tampered with.
        died_at: Timestamp::from_millisecond(letter.died_ms).unwrap_or_default(),
    })
}

/// Whatever isn't a number can't be one of ours.
fn number(id: &str) -> Result<u64, DeadLetterError> {
    id.parse().map_err(|_| DeadLetterError::NotFound(id.to_owned()))
}

impl From<DeadError> for DeadLetterError {
    fn from(error: DeadError) -> Self {
        match error {
            DeadError::NotFound(id) => Self::NotFound(id.to_string()),
            DeadError::Damaged(id) => Self::Damaged(id.to_string()),
            DeadError::Store(why) => Self::Unavailable(why),
        }
    }
}
