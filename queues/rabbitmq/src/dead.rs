//! Dead letters, for an operator's commands: the queue behind the exchange for dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sluiced_queue::{ConsumeError, DeadLetter, DeadLetterError, DeadLetterStore};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::bounds;
use crate::fault::Fault;
use crate::headers::{ATTEMPTS, DIED_AT, REASON, integer};
use crate::link::Broker;
use crate::options::Options;
use crate::publish::{self, Route};
use crate::scan::{self, Scan, Seen};
use crate::session::Session;
use crate::topology::dead_name;

/// The dead letters of one queue. A clone shares the connection.
///
/// Looking holds letters back from others until the last page was read, or for [`bounds::SCAN_IDLE`] after
/// a page. An operator who looks meanwhile sees only the others.
#[derive(Clone)]
pub struct RabbitMqDeadLetters {
    inner: Arc<Inner>,
}

struct Inner {
    broker: Broker,
    queue: String,
    publish_deadline: std::time::Duration,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    session: Option<Arc<Session>>,
    scan: Option<Scan>,
    /// Of the last use, to tell whether a scan has been idle since.
    used: u64,
}

impl RabbitMqDeadLetters {
    /// Connects.
    ///
    /// # Errors
    /// As for a worker.
    pub async fn connect(options: Options) -> Result<Self, ConsumeError> {
        let broker = Broker::read(&options).map_err(|error| ConsumeError::Failed(error.to_string()))?;
        let inner = Arc::new(Inner {
            broker,
            queue: options.queue_name,
            publish_deadline: options.publish_deadline,
            desk: Mutex::default(),
        });
        let desk = inner.desk().await.map(drop);
        match desk {
            Ok(()) => Ok(Self { inner }),
            Err(Fault::Refused(why)) => Err(ConsumeError::Failed(why)),
            Err(fault) => Err(fault.into_consume_error()),
        }
    }
}

impl Inner {
    /// One command at a time, on a connection that stands.
    async fn desk(self: &Arc<Self>) -> Result<MutexGuard<'_, Desk>, Fault> {
        let mut desk = self.desk.lock().await;
        desk.used += 1;
        if desk.session.as_ref().is_none_or(|session| !session.is_of_use()) {
            desk.scan = None;
            desk.session = Some(self.broker.open("sluiced dead").await.map_err(|(_, fault)| fault)?);
        }
        self.end_when_idle(&desk);
        Ok(desk)
    }

    /// Whoever stops in the middle of a list must not keep it from others.
    fn end_when_idle(self: &Arc<Self>, desk: &Desk) {
        let (Some(session), used, inner) = (&desk.session, desk.used, Arc::downgrade(self)) else { return };
        session.spawn(async move {
            sleep(bounds::SCAN_IDLE).await;
            let Some(inner) = inner.upgrade() else { return };
            let mut desk = inner.desk.lock().await;
            if desk.used == used {
                desk.end().await;
            }
        });
    }

    async fn list(self: &Arc<Self>, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>, Fault> {
        let mut desk = self.desk().await?;
        if after.is_none_or(|id| desk.scan.as_ref().is_none_or(|scan| !scan.is_at(id))) {
            desk.rewind(&self.queue).await?;
            if let Some(id) = after {
                return self.list_behind(&mut desk, id, max).await;
            }
        }
        self.page(&mut desk, max, |_| true).await
    }

    /// Behind a letter that may be gone by now: our ids rise with time, so those with a higher one come after it.
    async fn list_behind(&self, desk: &mut Desk, id: &str, max: usize) -> Result<Vec<DeadLetter>, Fault> {
        if desk.scan()?.find(id).await? {
            return self.page(desk, max, |_| true).await;
        }
        desk.rewind(&self.queue).await?;
        self.page(desk, max, |seen| seen.id.as_str() > id).await
    }

    /// The next letters of the scan. It ends with the queue.
    async fn page(
        &self,
        desk: &mut Desk,
        max: usize,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Vec<DeadLetter>, Fault> {
        loop {
            let step = desk.scan()?.next(max).await?;
            if step.is_empty() {
                desk.end().await;
                return Ok(Vec::new());
            }
            let page: Vec<DeadLetter> = step.iter().filter(|seen| wanted(seen)).map(shown).collect();
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    /// Does something with one letter, and puts the others back.
    async fn with<T>(
        self: &Arc<Self>,
        id: &str,
        work: impl AsyncFnOnce(&Arc<Session>, &mut Scan) -> Result<T, Fault>,
    ) -> Result<T, DeadLetterError> {
        let mut desk = self.desk().await.map_err(unavailable)?;
        let held = desk.scan.as_ref().is_some_and(|scan| scan.held(id).is_some());
        if !held {
            desk.rewind(&self.queue).await.map_err(unavailable)?;
        }
        let session = desk.session.clone().ok_or_else(|| unavailable(Fault::Late))?;
        let scan = desk.scan().map_err(unavailable)?;
        let done = match scan.find(id).await {
            Ok(true) => work(&session, scan).await.map_err(unavailable),
            Ok(false) => Err(DeadLetterError::NotFound(id.to_owned())),
            Err(fault) => Err(unavailable(fault)),
        };
        if !held {
            desk.end().await;
        }
        done
    }

    async fn retry(&self, session: &Arc<Session>, scan: &mut Scan, id: &str) -> Result<(), Fault> {
        let Some(seen) = scan.held(id) else { return Ok(()) };
        let deadline = Instant::now() + self.publish_deadline;
        let (route, afresh) = (Route::queue(&self.queue), seen.letter.afresh());
        publish::publish(session, &route, afresh, seen.letter.data.clone(), deadline).await?;
        scan.remove(id).await
    }
}

impl Desk {
    fn scan(&mut self) -> Result<&mut Scan, Fault> {
        self.scan.as_mut().ok_or_else(|| Fault::Lost("the look at the queue has ended".into()))
    }

    /// Begins at the first letter.
    async fn rewind(&mut self, queue: &str) -> Result<(), Fault> {
        self.end().await;
        let session = self.session.as_ref().ok_or(Fault::Late)?;
        self.scan = Some(Scan::begin(session, &dead_name(queue)).await?);
        Ok(())
    }

    async fn end(&mut self) {
        if let Some(scan) = self.scan.take() {
            scan.end().await;
        }
    }
}

#[async_trait]
impl DeadLetterStore for RabbitMqDeadLetters {
    async fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        self.inner.list(after, max).await.map_err(unavailable)
    }

    async fn show(&self, id: &str) -> Result<DeadLetter, DeadLetterError> {
        let found = async |_: &Arc<Session>, scan: &mut Scan| Ok(scan.held(id).map(shown));
        self.inner.with(id, found).await?.ok_or_else(|| DeadLetterError::NotFound(id.to_owned()))
    }

    async fn retry(&self, id: &str) -> Result<(), DeadLetterError> {
        let inner = &self.inner;
        inner.with(id, async |session, scan| inner.retry(session, scan, id).await).await
    }

    async fn purge(&self, id: &str) -> Result<(), DeadLetterError> {
        self.inner.with(id, async |_, scan| scan.remove(id).await).await
    }
}

fn shown(seen: &Seen) -> DeadLetter {
    let letter = &seen.letter;
    let death = scan::death(letter);
    let by_broker = death.as_ref().map(|(reason, _)| format!("given up by RabbitMQ: {reason}"));
    let reason = letter.text(REASON).or(by_broker).unwrap_or_else(|| "unknown".into());
    let told = letter.text(DIED_AT).and_then(|text| text.parse().ok());
    let by_broker = death.and_then(|(_, seconds)| Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    let message_id = letter.properties.message_id().as_ref().and_then(|id| Uuid::parse_str(id.as_str()).ok());
    let attempts = letter.header(ATTEMPTS).and_then(integer).unwrap_or(0);
    DeadLetter {
        id: seen.id.clone(),
        message_id,
        message: letter.data.clone(),
        headers: letter.application_headers(),
        attempts: u32::try_from(attempts).unwrap_or(0),
        reason,
        died_at: told.or(by_broker).unwrap_or_default(),
    }
}

fn unavailable(fault: Fault) -> DeadLetterError {
    DeadLetterError::Unavailable(fault.text())
}
