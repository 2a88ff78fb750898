//! A stream and a subject that messages go to, and whether they can.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use tokio::sync::{Notify, watch};

use crate::bounds;
use crate::link::Link;
use crate::options::{Destination, Options, OptionsError};
use crate::stream::{self, Found, Seen};
use crate::subject::{self, Subject};

/// One destination.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) stream: String,
    pub(crate) subject: Subject,
    options: Options,
    wanted: Config,
    state: Mutex<State>,
    /// Somebody has looked.
    looked: watch::Sender<bool>,
    /// The stream's `max_msg_size`; 0 without one.
    message_max: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    readiness: Readiness,
    /// The warnings that the log has already.
    told: Vec<String>,
    /// Its consumers come and go, and without one nothing must be published.
    fickle: bool,
}

/// Whether messages can go there, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Nobody has looked yet.
    #[default]
    Unseen,
    /// Messages can go there, or nobody may look: publishing will tell.
    Ready,
    /// There is no such stream, or it doesn't take these messages.
    Missing(String),
    /// The stream would acknowledge messages and drop them.
    Unsafe(String),
}

impl Target {
    /// Where a handler's messages go: `destination` over `options`.
    pub(crate) fn of(options: &Options, destination: &Destination) -> Result<Self, OptionsError> {
        let same_queue = destination.queue_name.is_none();
        let queue_name = destination.queue_name.as_ref().unwrap_or(&options.queue_name);
        if queue_name.is_empty() {
            return Err(OptionsError("the queue's name is empty".into()));
        }
        let stream = destination.stream.clone().or(options.stream.clone().filter(|_| same_queue));
        let stream = stream.unwrap_or_else(|| subject::stream_name(queue_name));
        if !subject::is_name(&stream) {
            return Err(OptionsError(format!(
                "`{stream}` can't be a stream's name: no white space, dots, slashes or wildcards, {} bytes at most",
                bounds::NAME_BYTES
            )));
        }
        let template = destination.subject.as_ref().or(options.subject.as_ref().filter(|_| same_queue));
        let subject = match template {
            Some(text) => Subject::parse(text)?,
            None => Subject::of_queue(queue_name)?,
        };
        let wanted = stream::desired(options, &stream, &subject.filter);
        Ok(Self {
            stream,
            subject,
            options: options.clone(),
            wanted,
            state: Mutex::default(),
            looked: watch::Sender::new(false),
            message_max: AtomicUsize::new(0),
        })
    }

    /// The stream as we would create it.
    pub(crate) fn wanted(&self) -> &Config {
        &self.wanted
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.state().readiness.clone()
    }

    /// As soon as somebody has looked, or it takes too long.
    pub(crate) async fn readiness_known(&self, patience: Duration) -> Readiness {
        let mut looked = self.looked.subscribe();
        let _ = tokio::time::timeout(patience, looked.wait_for(|looked| *looked)).await;
        self.readiness()
    }

    /// The longest message that can be published, headers included.
    pub(crate) fn bytes_max(&self, link: &Link) -> usize {
        let own = Some(self.message_max.load(Ordering::Relaxed)).filter(|max| *max > 0);
        link.max_payload().saturating_sub(bounds::DEAD_RESERVE).min(own.unwrap_or(usize::MAX))
    }

    /// Looks at the stream, and creates it when it is missing and that is wanted.
    async fn look(&self, link: &Link) {
        let found = match stream::find(link, &self.stream).await {
            Found::Missing if self.options.declare => match stream::create(link, &self.wanted).await {
                Ok(seen) => {
                    tracing::info!(backend = "nats", stream = %self.stream, subjects = %self.subject.filter, "destination created");
                    Found::Stream(Box::new(seen))
                }
                Err(why) => Found::Trouble(format!("stream {} can't be created: {why}", self.stream)),
            },
            found => found,
        };
        match found {
            Found::Stream(seen) => self.found(&seen),
            Found::Missing => self.set(Readiness::Missing(format!(
                "stream {} doesn't exist; create it, or set declare = true",
                self.stream
            ))),
            Found::Forbidden(text) | Found::Trouble(text) if self.is_fickle() => {
                self.set(Readiness::Unsafe(text));
            }
            Found::Forbidden(text) => {
                self.set(Readiness::Ready);
                self.tell(vec![format!("it can't be looked at: {text}")]);
            }
            Found::Trouble(why) => self.set(Readiness::Missing(why)),
        }
    }

    fn found(&self, seen: &Seen) {
        let info = &seen.info;
        self.message_max.store(usize::try_from(info.config.max_message_size).unwrap_or(0), Ordering::Relaxed);
        self.state().fickle = info.config.retention == RetentionPolicy::Interest;
        self.set(match stream::unfit(seen, &self.subject.filter) {
            Some(unfit) if unfit.is_unsafe => Readiness::Unsafe(unfit.why),
            Some(unfit) => Readiness::Missing(unfit.why),
            None => Readiness::Ready,
        });
        self.tell(stream::warnings(info, &self.wanted, &self.options));
    }

    fn set(&self, readiness: Readiness) {
        let before = std::mem::replace(&mut self.state().readiness, readiness.clone());
        self.looked.send_replace(true);
        if before == readiness {
            return;
        }
        match readiness {
            Readiness::Missing(why) | Readiness::Unsafe(why) => {
                tracing::warn!(backend = "nats", stream = %self.stream, %why, retry = true, "destination missing");
            }
            Readiness::Ready if before != Readiness::Unseen => {
                tracing::info!(backend = "nats", stream = %self.stream, "destination found");
            }
            _ => {}
        }
    }

    /// Each warning once, until it no longer holds.
    fn tell(&self, warnings: Vec<String>) {
        let before = std::mem::replace(&mut self.state().told, warnings.clone());
        for warning in warnings.iter().filter(|warning| !before.contains(warning)) {
            tracing::warn!(backend = "nats", stream = %self.stream, difference = %warning, "destination differs");
        }
    }

    /// Whether it has to be looked at often.
    fn is_urgent(&self) -> bool {
        let state = self.state();
        state.fickle || matches!(state.readiness, Readiness::Missing(_) | Readiness::Unsafe(_))
    }

    fn is_fickle(&self) -> bool {
        self.state().fickle
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All destinations of a connection.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    list: Mutex<Vec<Weak<Target>>>,
    wanted: Notify,
}

impl Targets {
    pub(crate) fn add(&self, target: &Arc<Target>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|target| target.strong_count() > 0);
        list.push(Arc::downgrade(target));
        self.look_now();
    }

    /// Something went wrong at a destination: it is to be looked at without delay.
    pub(crate) fn look_now(&self) {
        self.wanted.notify_one();
    }

    /// Looks at all of them once.
    pub(crate) async fn look(&self, link: &Link) {
        for target in self.all() {
            target.look(link).await;
        }
    }

    /// They couldn't be looked at on a new connection: nothing goes where it might not be kept.
    pub(crate) fn doubt(&self) {
        for target in self.all().iter().filter(|target| target.is_fickle()) {
            target.set(Readiness::Unsafe(format!("stream {} isn't known yet", target.stream)));
        }
    }

    /// Looks at them for as long as the connection lasts.
    pub(crate) async fn keep(&self, link: &Link) {
        loop {
            let urgent = self.all().iter().any(|target| target.is_urgent());
            let pause = if urgent { bounds::LOOK_AGAIN_SOON } else { bounds::LOOK_AGAIN };
            let _ = tokio::time::timeout(pause, self.wanted.notified()).await;
            self.look(link).await;
            tokio::time::sleep(bounds::LOOK_PAUSE).await;
        }
    }

    fn all(&self) -> Vec<Arc<Target>> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter_map(Weak::upgrade).collect()
    }
}
