//! A destination: looked for on each new connection and whenever a message came back, created when missing.

use std::sync::{Arc, Mutex, PoisonError};

use sluiced_queue::EnqueueError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::bounds;
use crate::fault::Fault;
use crate::link::{self, State};
use crate::options::Place;
use crate::topology::{self, Found};

/// One destination of this process.
pub(crate) struct Target {
    pub(crate) place: Place,
    handler: String,
    declare: bool,
    delivery_limit: u32,
    status: Mutex<Status>,
    look_again: Notify,
}

#[derive(Clone)]
enum Status {
    /// Not looked for yet.
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
            status: Mutex::new(Status::Unknown),
            look_again: Notify::new(),
        })
    }

    /// Why no message can be sent there now.
    pub(crate) fn obstacle(&self) -> Option<EnqueueError> {
        let unavailable = |why: &str| Some(EnqueueError::Unavailable(why.into()));
        match self.status() {
            Status::Ready => None,
            Status::Unknown => unavailable("the destination is being looked for"),
            Status::Settling(until) if Instant::now() < until => {
                unavailable("the queue was created a moment ago")
            }
            Status::Settling(_) => None,
            Status::Out(Fault::Missing(why)) => Some(EnqueueError::Unroutable(why)),
            Status::Out(Fault::Refused(why)) => Some(EnqueueError::Misconfigured(why)),
            Status::Out(fault) => unavailable(&fault.text()),
        }
    }

    /// A message came back: the destination isn't what it was.
    pub(crate) fn look_again(&self) {
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
            let found = topology::ensure(&session, &self.place, self.declare, self.delivery_limit).await;
            drop(session);
            let pause = match found {
                Ok(_) => {
                    pauses = link::pauses();
                    None
                }
                Err(_) => Some(link::next(&mut pauses)),
            };
            self.conclude(found);
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = self.look_again.notified() => sleep_until(looked + bounds::LOOK_AGAIN).await,
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    fn conclude(&self, found: Result<Found, Fault>) {
        let destination = self.place.describe();
        let handler = &self.handler;
        let before = self.status();
        let status = match found {
            Ok(found) => {
                if found.created {
                    info!(backend = "rabbitmq", handler, destination, "destination created");
                }
                for why in found.differences {
                    if !matches!(before, Status::Ready | Status::Settling(_)) {
                        warn!(
                            backend = "rabbitmq",
                            handler,
                            destination,
                            why,
                            todo = "it is used as it is; see the README for what that may cost",
                            "destination differs"
                        );
                    }
                }
                match found.created {
                    true => Status::Settling(Instant::now() + bounds::SETTLE),
                    false => Status::Ready,
                }
            }
            Err(fault) => {
                self.tell(&before, &fault, &destination);
                Status::Out(fault)
            }
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// A line when something else is wrong than before.
    fn tell(&self, before: &Status, fault: &Fault, destination: &str) {
        if matches!(before, Status::Out(known) if known == fault) {
            return;
        }
        let (handler, why) = (&self.handler, fault.text());
        match fault {
            Fault::Missing(_) => {
                let todo = "create it, or set declare = true; messages are kept back meanwhile";
                warn!(backend = "rabbitmq", handler, destination, why, todo, "destination missing");
            }
            Fault::Refused(_) => {
                let todo = "give the user the permissions to configure, write and read";
                error!(backend = "rabbitmq", handler, destination, why, todo, "credentials refused");
            }
            // The link tells of its end itself.
            Fault::Lost(_) => {}
            _ => warn!(
                backend = "rabbitmq",
                handler,
                destination,
                why,
                retry = true,
                "destination unavailable"
            ),
        }
    }

    fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
