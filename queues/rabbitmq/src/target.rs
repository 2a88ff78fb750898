//! A destination: looked for on each new connection and whenever a message came back, created when missing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sluiced_queue::EnqueueError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::bounds;
use crate::fault::Fault;
use crate::link::{self, State};
use crate::options::Place;
use crate::session::Session;
use crate::topology::{self, Found};

/// One destination of this process.
pub(crate) struct Target {
    pub(crate) place: Place,
    handler: String,
    declare: bool,
    delivery_limit: u32,
    known: Mutex<Known>,
    /// How often we have begun to create the queue.
    births: AtomicU64,
    look_again: Notify,
}

#[derive(Default)]
struct Known {
    status: Status,
    /// The connection on which it was found. What was there before a broker went needn't be there after it.
    on: Weak<Session>,
    /// What the log was last told is wrong, and differs.
    told: Option<Fault>,
    differences: Vec<String>,
}

#[derive(Clone, Default)]
enum Status {
    /// Not looked for yet.
    #[default]
    Unknown,
    Ready,
    /// Created just now; see [`bounds::SETTLE`].
    Settling(Instant),
    Out(Fault),
}

impl Target {
    pub(crate) fn new(place: Place, handler: &str, declare: bool, delivery_limit: u32) -> Arc<Self> {
        Arc::new(Self {
            place,
            handler: handler.to_owned(),
            declare,
            delivery_limit,
            known: Mutex::default(),
            births: AtomicU64::new(0),
            look_again: Notify::new(),
        })
    }

    /// Why no message can be sent there now, on this connection.
    pub(crate) fn obstacle(&self, session: &Arc<Session>) -> Option<EnqueueError> {
        let unavailable = |why: &str| Some(EnqueueError::Unavailable(why.into()));
        let known = self.lock();
        let found_here = Weak::as_ptr(&known.on) == Arc::as_ptr(session);
        match &known.status {
            Status::Out(Fault::Missing(why)) => Some(EnqueueError::Unroutable(why.clone())),
            Status::Out(Fault::Refused(why)) => Some(EnqueueError::Misconfigured(why.clone())),
            Status::Out(fault) => unavailable(&fault.text()),
            Status::Unknown => unavailable(LOOKING),
            Status::Ready | Status::Settling(_) if !found_here => unavailable(LOOKING),
            Status::Settling(until) if Instant::now() < *until => {
                unavailable("the queue was created a moment ago")
            }
            Status::Ready | Status::Settling(_) => None,
        }
    }

    /// Changes before the queue is created. A message whose confirmation comes after a change may be in a queue
    /// too young to be trusted, however long before it was sent.
    pub(crate) fn births(&self) -> u64 {
        self.births.load(Ordering::SeqCst)
    }

    /// A message couldn't be sent there: the destination isn't what it was. At an exchange other routing keys
    /// may well have a queue behind them.
    pub(crate) fn failed(&self, fault: &Fault) {
        let out = match fault {
            Fault::Refused(_) => true,
            Fault::Missing(_) => matches!(self.place, Place::Queue(_)),
            _ => return,
        };
        if out {
            let mut known = self.lock();
            self.tell(&mut known, fault);
            known.status = Status::Out(fault.clone());
        }
        self.look_again.notify_one();
    }

    /// Keeps looking, for as long as there is a link.
    pub(crate) async fn keep(self: Arc<Self>, mut states: watch::Receiver<State>) {
        let mut pauses = link::pauses();
        loop {
            let state = states.borrow_and_update().clone();
            let State::Up(session) = state else {
                if states.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let looked = Instant::now();
            let birth = || self.is_born();
            let found =
                topology::ensure(&session, &self.place, self.declare, self.delivery_limit, &birth).await;
            let on = Arc::downgrade(&session);
            drop(session);
            let pause = match found {
                Ok(_) => {
                    pauses = link::pauses();
                    None
                }
                Err(_) => Some(link::next(&mut pauses)),
            };
            self.conclude(found, on);
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = self.until_due(looked, pause) => {}
            }
        }
    }

    async fn until_due(&self, looked: Instant, pause: Option<Duration>) {
        match pause {
            Some(pause) => sleep(pause).await,
            None => {
                self.look_again.notified().await;
                let refused = matches!(self.lock().status, Status::Out(Fault::Refused(_)));
                sleep_until(looked + if refused { bounds::RETRY_MAX } else { bounds::LOOK_AGAIN }).await;
            }
        }
    }

    fn is_born(&self) {
        self.births.fetch_add(1, Ordering::SeqCst);
        self.lock().status = Status::Out(Fault::Missing("the queue is being created".into()));
    }

    fn conclude(&self, found: Result<Found, Fault>, on: Weak<Session>) {
        let mut known = self.lock();
        let was_missing = matches!(known.status, Status::Out(Fault::Missing(_)));
        known.status = match found {
            Ok(found) => {
                self.tell_found(&mut known, &found);
                // Whoever creates what was missing does so within the pause between two looks.
                match matches!(self.place, Place::Queue(_)) && (found.created || was_missing) {
                    true => Status::Settling(Instant::now() + bounds::SETTLE),
                    false => Status::Ready,
                }
            }
            Err(fault) => {
                self.tell(&mut known, &fault);
                Status::Out(fault)
            }
        };
        known.on = on;
    }

    fn tell_found(&self, known: &mut Known, found: &Found) {
        let (handler, destination) = (&self.handler, self.place.describe());
        if found.created {
            info!(backend = "rabbitmq", handler, destination, "destination created");
        }
        if known.differences != found.differences {
            for why in &found.differences {
                let todo = "it is used as it is; see the README for what that may cost";
                warn!(backend = "rabbitmq", handler, destination, why, todo, "destination differs");
            }
            known.differences.clone_from(&found.differences);
        }
        // A permission to write shows only when something is written.
        known.told.take_if(|told| !matches!(told, Fault::Refused(_)));
    }

    /// A line when something else is wrong than before.
    fn tell(&self, known: &mut Known, fault: &Fault) {
        if known.told.as_ref() == Some(fault) {
            return;
        }
        known.told = Some(fault.clone());
        let (handler, destination, why) = (&self.handler, self.place.describe(), fault.text());
        match fault {
            Fault::Missing(_) => {
                let todo = match self.declare {
                    true => "it is created; messages are kept back meanwhile",
                    false => "create it, or set declare = true; messages are kept back meanwhile",
                };
                warn!(backend = "rabbitmq", handler, destination, why, todo, "destination missing");
            }
            Fault::Refused(_) => {
                let todo = "give the user the permissions to configure, write and read";
                error!(backend = "rabbitmq", handler, destination, why, todo, "credentials refused");
            }
            // The link tells of its end itself.
            Fault::Lost(_) => {}
            _ => {
                let retry = true;
                warn!(backend = "rabbitmq", handler, destination, why, retry, "destination unavailable");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LOOKING: &str = "the destination is being looked for";
