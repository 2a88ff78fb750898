//! The connection that comes back for ever: all of a cluster's addresses in turn, with growing pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use lapin::tcp::OwnedTLSConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::address::Address;
use crate::bounds;
use crate::fault::Fault;
use crate::options::{Options, OptionsError};
use crate::session::{Session, Standing};
use crate::tls;

/// Where the broker is, and how it is spoken to. Read once.
#[derive(Clone)]
pub(crate) struct Broker {
    addresses: Arc<[Address]>,
    tls: OwnedTLSConfig,
    channels: usize,
}

impl Broker {
    pub(crate) fn read(options: &Options) -> Result<Self, OptionsError> {
        options.validate()?;
        Ok(Self {
            addresses: Address::read_all(options)?.into(),
            tls: tls::read(options)?,
            channels: options.channels,
        })
    }

    /// Connects to the first address that answers. The error is the last one's.
    pub(crate) async fn open(&self, name: &str) -> Result<Arc<Session>, (String, Fault)> {
        let mut last = (String::new(), Fault::Late);
        for address in self.addresses.iter() {
            match Session::open(address, &self.tls, name, self.channels).await {
                Ok(session) => return Ok(session),
                Err(fault) => last = (address.host_port(), fault),
            }
        }
        Err(last)
    }
}

/// Pauses between attempts. The jitter adds up to as much again, at the longest pause too: daemons that lost one
/// broker together don't come back together.
pub(crate) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(bounds::RETRY_FIRST)
        .with_max_delay(bounds::RETRY_MAX / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

pub(crate) fn next(pauses: &mut ExponentialBackoff) -> Duration {
    pauses.next().unwrap_or(bounds::RETRY_MAX).min(bounds::RETRY_MAX)
}

/// What a link is at.
#[derive(Clone)]
pub(crate) enum State {
    Up(Arc<Session>),
    Down(Fault),
}

/// A connection to a broker, for as long as anybody needs one.
pub(crate) struct Link {
    state: watch::Receiver<State>,
    frame_bytes: Arc<AtomicU32>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Link {
    /// Begins to connect in the background.
    pub(crate) fn start(broker: Broker) -> Arc<Self> {
        let (sender, state) = watch::channel(State::Down(Fault::Lost("not connected yet".into())));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let frame_bytes = Arc::new(AtomicU32::new(bounds::FRAME_BYTES));
        let keeper = Keeper { broker, state: sender, frame_bytes: frame_bytes.clone(), told: None };
        let token = stop.clone();
        tasks.spawn(async move { token.run_until_cancelled_owned(keeper.run()).await });
        Arc::new(Self { state, frame_bytes, stop, tasks })
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// To wait for changes.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What the broker cuts frames at, as far as is known.
    pub(crate) fn frame_bytes(&self) -> u32 {
        self.frame_bytes.load(Ordering::Relaxed)
    }

    /// Lets what is in flight finish within the publish deadline, and says goodbye.
    pub(crate) async fn close(&self, patience: Duration) {
        if let State::Up(session) = self.state() {
            let _ = timeout(patience, session.pool.all_idle()).await;
            self.stop.cancel();
            session.close().await;
        }
        self.stop.cancel();
        self.tasks.close();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Keeper {
    broker: Broker,
    state: watch::Sender<State>,
    frame_bytes: Arc<AtomicU32>,
    /// What the log has last been told of a broker that can't be reached.
    told: Option<Fault>,
}

impl Keeper {
    async fn run(mut self) {
        let mut pauses = pauses();
        loop {
            let began = Instant::now();
            match self.broker.open("sluiced").await {
                Ok(session) => {
                    let took = began.elapsed();
                    let ended = self.stand(session, took).await;
                    if began.elapsed() - took > bounds::GOOD_CONNECTION {
                        pauses = self::pauses();
                    }
                    self.state.send_replace(State::Down(Fault::Lost(ended)));
                }
                Err((address, fault)) => {
                    self.tell(&address, &fault);
                    self.state.send_replace(State::Down(fault));
                }
            }
            sleep(next(&mut pauses)).await;
        }
    }

    /// Holds the connection until it ends, and says why it did.
    async fn stand(&mut self, session: Arc<Session>, took: Duration) -> String {
        let address = session.address().to_owned();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        info!(backend = "rabbitmq", address, took_ms, "broker connected");
        self.told = None;
        self.frame_bytes.store(session.frame_bytes(), Ordering::Relaxed);
        let mut standing = session.watch();
        self.state.send_replace(State::Up(session));
        let mut blocked = false;
        let ended = loop {
            let now = standing.borrow_and_update().clone();
            match now {
                Standing::Ended(why) => break why,
                // What is in flight on it ends well; it closes itself with the last of that.
                Standing::WornOut => return "the connection is being replaced".into(),
                Standing::Blocked(why) => {
                    blocked = true;
                    warn!(backend = "rabbitmq", address, why, "broker blocked");
                }
                Standing::Open if blocked => {
                    blocked = false;
                    info!(backend = "rabbitmq", address, "broker unblocked");
                }
                Standing::Open => {}
            }
            if standing.changed().await.is_err() {
                break "the connection has ended".into();
            }
        };
        warn!(backend = "rabbitmq", address, why = ended, retry = true, "broker lost");
        self.told = Some(Fault::Lost(String::new()));
        ended
    }

    /// A line when something else is wrong than before, not one an attempt.
    fn tell(&mut self, address: &str, fault: &Fault) {
        let same_kind = |told: &Fault| {
            matches!((told, fault), (Fault::Refused(_), Fault::Refused(_)))
                || !matches!(told, Fault::Refused(_)) && !matches!(fault, Fault::Refused(_))
        };
        if self.told.as_ref().is_some_and(same_kind) {
            return;
        }
        self.told = Some(fault.clone());
        let why = fault.text();
        match fault {
            Fault::Refused(_) => error!(
                backend = "rabbitmq",
                address,
                why,
                retry = true,
                todo = "check user, password and virtual host in the URL, and the user's permissions",
                "credentials refused"
            ),
            _ => warn!(backend = "rabbitmq", address, why, retry = true, "broker lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_are_never_in_step() {
        let mut some = pauses();
        let all: Vec<Duration> = (0..40).map(|_| next(&mut some)).collect();
        assert!(all[0] >= bounds::RETRY_FIRST && all[0] <= 2 * bounds::RETRY_FIRST, "{:?}", all[0]);
        assert!(all.iter().all(|pause| *pause <= bounds::RETRY_MAX), "{all:?}");
        let longest = &all[20..];
        assert!(longest.iter().all(|pause| *pause >= bounds::RETRY_MAX / 2), "{longest:?}");
        assert!(longest.iter().max() > longest.iter().min(), "{longest:?}");
    }
}
