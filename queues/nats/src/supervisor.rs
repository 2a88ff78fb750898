//! Keeps one connection up, for as long as anybody wants one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::address::{self, Address};
use crate::bounds;
use crate::link::{Down, Link};
use crate::settings::Settings;
use crate::target::Targets;

/// The connection as others see it.
#[derive(Clone, Debug)]
pub(crate) enum Status {
    Up(Arc<Link>),
    Down(Down),
    Closed,
}

/// Handle of the supervisor's task, which ends with it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) status: watch::Receiver<Status>,
    closed: CancellationToken,
    tasks: TaskTracker,
    _end: DropGuard,
}

impl Connection {
    /// Begins to connect. Needs a tokio runtime.
    pub(crate) fn start(settings: Settings, targets: Arc<Targets>) -> Self {
        Self::begin(settings, targets, Told::Nothing)
    }

    /// The same for a caller of [`Self::first`], who says what it answers.
    pub(crate) fn start_for_first(settings: Settings, targets: Arc<Targets>) -> Self {
        Self::begin(settings, targets, Told::First)
    }

    fn begin(settings: Settings, targets: Arc<Targets>, told: Told) -> Self {
        let down = Down { why: "not connected yet".into(), refused: false };
        let (sender, status) = watch::channel(Status::Down(down));
        let closed = CancellationToken::new();
        let supervisor = Supervisor {
            settings,
            targets,
            status: sender,
            discovered: Vec::new(),
            told,
            began: Instant::now(),
        };
        let ended = closed.clone();
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let status = supervisor.status.clone();
            tokio::select! {
                () = ended.cancelled() => {}
                () = supervisor.run() => {}
            }
            if let Status::Up(link) = status.send_replace(Status::Closed) {
                link.lost.cancel();
            }
        });
        tasks.close();
        Self { status, _end: closed.clone().drop_guard(), closed, tasks }
    }

    /// The connection, if there is one.
    pub(crate) fn link(&self) -> Result<Arc<Link>, Down> {
        if self.closed.is_cancelled() {
            return Status::Closed.link();
        }
        self.status.borrow().link()
    }

    /// The connection, once there is one, or the last reason why there is none at `deadline`.
    pub(crate) async fn wait(&self, deadline: tokio::time::Instant) -> Result<Arc<Link>, Down> {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| !matches!(status, Status::Down(_)));
        match tokio::time::timeout_at(deadline, settled).await {
            Ok(Ok(status)) => status.link(),
            _ => self.link(),
        }
    }

    /// What the first round of attempts came to.
    pub(crate) async fn first(&self, deadline: tokio::time::Instant) -> Result<Arc<Link>, Down> {
        let mut status = self.status.clone();
        let _ = tokio::time::timeout_at(deadline, status.changed()).await;
        self.link()
    }

    /// Lets go of the connection; what still waits for an answer gets none.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.tasks.wait().await;
    }
}

impl Status {
    pub(crate) fn link(&self) -> Result<Arc<Link>, Down> {
        match self {
            Self::Up(link) => Ok(link.clone()),
            Self::Down(down) => Err(down.clone()),
            Self::Closed => Err(Down { why: "the connection is closed".into(), refused: false }),
        }
    }
}

struct Supervisor {
    settings: Settings,
    targets: Arc<Targets>,
    status: watch::Sender<Status>,
    /// Servers that others have told about.
    discovered: Vec<Address>,
    told: Told,
    /// When the last connection was lost, or the first one begun.
    began: Instant,
}

/// What the log says already: each line only on a change.
#[derive(PartialEq, Eq)]
enum Told {
    Nothing,
    /// Whoever connects is given the first failure, and says it; trying again is theirs too.
    First,
    Up,
    Lost,
    Refused,
}

impl Supervisor {
    async fn run(mut self) {
        let mut next = None;
        let mut avoid = None;
        loop {
            let link = match next.take() {
                Some(link) => link,
                None => self.connect(avoid.take()).await,
            };
            next = self.serve(&Arc::new(link), &mut avoid).await;
        }
    }

    /// One connection, until it is over. Gives the next one if there is one already.
    async fn serve(&mut self, link: &Arc<Link>, avoid: &mut Option<String>) -> Option<Link> {
        self.discover(link);
        // Publishes wait for this, so it is short; what it doesn't get done is done below.
        if tokio::time::timeout(bounds::FIRST_LOOK, self.targets.look(link)).await.is_err() {
            self.targets.doubt();
        }
        self.up(link);
        *avoid = Some(link.address.clone());
        let targets = self.targets.clone();
        let leave = async {
            link.lame().await;
            if self.others(&link.address).is_empty() {
                return std::future::pending().await;
            }
            tracing::info!(backend = "nats", address = %link.address, "broker is about to stop; going elsewhere");
            Box::pin(self.elsewhere(Some(&link.address))).await
        };
        let renew = async {
            link.worn().await;
            Box::pin(self.elsewhere(None)).await
        };
        let (next, why) = tokio::select! {
            why = link.end() => (None, why),
            // What is in flight over the old connection is answered over it.
            next = leave => (Some(next), String::new()),
            next = renew => (Some(next), String::new()),
            () = targets.keep(link) => (None, "nobody looks after the streams".into()),
        };
        self.began = Instant::now();
        if next.is_none() {
            self.down(Down { why, refused: false });
            link.lost.cancel();
        }
        next
    }

    /// Tries all servers, round after round.
    async fn connect(&mut self, avoid: Option<String>) -> Link {
        // The server that was just lost comes last.
        let mut addresses: Vec<_> = self.settings.addresses.iter().chain(&self.discovered).cloned().collect();
        addresses.sort_by_key(|address| avoid.as_ref() == Some(&address.shown));
        let mut pauses = pauses();
        loop {
            match self.round(&addresses).await {
                Ok(link) => return link,
                Err(down) => self.down(down),
            }
            tokio::time::sleep(pauses.next().unwrap_or(bounds::RECONNECT_MAX)).await;
        }
    }

    /// Tries all servers but one that is about to stop, while the connection still serves.
    async fn elsewhere(&self, leaving: Option<&str>) -> Link {
        let addresses = self.others(leaving.unwrap_or_default());
        let mut pauses = pauses();
        loop {
            if let Ok(link) = self.round(&addresses).await {
                return link;
            }
            tokio::time::sleep(pauses.next().unwrap_or(bounds::RECONNECT_MAX)).await;
        }
    }

    fn others(&self, leaving: &str) -> Vec<Address> {
        let all = self.settings.addresses.iter().chain(&self.discovered);
        all.filter(|address| address.shown != leaving).cloned().collect()
    }

    async fn round(&self, addresses: &[Address]) -> Result<Link, Down> {
        let mut worst = Down { why: "there is no server to connect to".into(), refused: false };
        for address in addresses {
            match Link::connect(&self.settings, address).await {
                Ok(link) => return Ok(link),
                Err(down) if down.refused || !worst.refused => worst = down,
                Err(_) => {}
            }
        }
        Err(worst)
    }

    fn discover(&mut self, link: &Link) {
        let Some(like) = self.settings.addresses.first() else { return };
        let told = link.client.server_info().connect_urls;
        if !told.is_empty() {
            // Each that is gone would cost a time-out in every round.
            self.discovered.clear();
        }
        for text in told {
            let Some(address) = address::discovered(&text, like) else { continue };
            let known = self.settings.addresses.iter().chain(&self.discovered);
            if known.map(|known| &known.shown).all(|shown| *shown != address.shown)
                && self.discovered.len() < bounds::DISCOVERED_MAX
            {
                self.discovered.push(address);
            }
        }
    }

    fn up(&mut self, link: &Arc<Link>) {
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let version = link.client.server_info().version;
        tracing::info!(backend = "nats", address = %link.address, server = %version, took_ms, "broker connected");
        self.told = Told::Up;
        self.status.send_replace(Status::Up(link.clone()));
    }

    fn down(&mut self, down: Down) {
        if self.told == Told::First {
            self.status.send_replace(Status::Down(down));
            return;
        }
        let address = self.settings.addresses.first().map_or("", |address| address.shown.as_str());
        if down.refused && self.told != Told::Refused {
            tracing::error!(
                backend = "nats", address, why = %down.why, retry = true,
                "credentials refused; correct them, here or at the server"
            );
            self.told = Told::Refused;
        } else if !down.refused && !matches!(self.told, Told::Lost) {
            tracing::warn!(backend = "nats", address, why = %down.why, retry = true, "broker lost");
            self.told = Told::Lost;
        }
        self.status.send_replace(Status::Down(down));
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(bounds::RECONNECT_FIRST)
        .with_max_delay(bounds::RECONNECT_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}
