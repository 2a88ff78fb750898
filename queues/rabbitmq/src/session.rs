//! A connection that stands, and what it says of itself.

use std::future::poll_fn;
use std::net::{Shutdown, TcpStream};
use std::pin::pin;
use std::sync::Arc;

use futures_core::Stream;
use lapin::options::ConfirmSelectOptions;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Channel, Connection, ConnectionStatus, Event};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::address::Address;
use crate::bounds;
use crate::connect::{self, Connected};
use crate::fault::Fault;
use crate::pool::Pool;

/// One connection to one broker, until it ends. Nothing of it is used again after that.
pub(crate) struct Session {
    connection: Connection,
    socket: TcpStream,
    address: String,
    standing: watch::Receiver<Standing>,
    pub(crate) pool: Pool,
    tasks: TaskTracker,
    runtime: Handle,
    _stop: DropGuard,
}

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// The broker takes no messages: an alarm about memory or disk, in its own words.
    Blocked(String),
    /// What is under way goes on, but nothing new should begin: see [`bounds::CHANNELS_SPENT_MAX`].
    WornOut,
    Ended(String),
}

impl Session {
    /// Connects to this address.
    pub(crate) async fn open(
        address: &Address,
        tls: &OwnedTLSConfig,
        name: &str,
        channels: usize,
    ) -> Result<Arc<Self>, Fault> {
        let Connected { connection, socket } = connect::connect(address, tls, name).await?;
        let (sender, standing) = watch::channel(Standing::Open);
        // The broker may allow fewer, and questions about queues need some.
        let allowed = usize::from(connection.configuration().channel_max());
        let channels = channels.min(allowed.saturating_sub(bounds::SPARE_CHANNELS)).max(1);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(watch_over(
            connection.events_listener(),
            connection.status().clone(),
            sender,
            stop.clone(),
            // Of few that the broker allows not all may be spent either.
            bounds::CHANNELS_SPENT_MAX.min(allowed / 4).max(1),
        ));
        Ok(Arc::new(Self {
            connection,
            socket,
            address: address.host_port(),
            standing,
            pool: Pool::new(channels),
            tasks,
            runtime: Handle::current(),
            _stop: stop.drop_guard(),
        }))
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What the broker cuts frames at; 0 for no limit.
    pub(crate) fn frame_bytes(&self) -> u32 {
        self.connection.configuration().frame_max()
    }

    /// Whether something new may begin on it.
    pub(crate) fn is_of_use(&self) -> bool {
        !matches!(*self.standing.borrow(), Standing::Ended(_) | Standing::WornOut)
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// To wait for changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// A channel. The library remembers by its number why the broker closed a channel, and fails the next one of
    /// that number with it: such an answer is none to us, and the next number is tried.
    pub(crate) async fn channel(&self) -> Result<Channel, Fault> {
        for _ in 0..=bounds::CHANNELS_SPENT_MAX {
            let opened = timeout(bounds::CALL_DEADLINE, self.connection.create_channel()).await;
            match opened.map_err(|_| Fault::Late)? {
                Err(error) if error.is_amqp_soft_error() => {}
                other => return other.map_err(|error| Fault::of(&error)),
            }
        }
        Err(Fault::Lost("the connection has no channel left".into()))
    }

    /// One whose publishes are confirmed.
    pub(crate) async fn confirming_channel(&self) -> Result<Channel, Fault> {
        let channel = self.channel().await?;
        answered(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }

    /// For what must be finished although nobody waits for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// Ends the connection at once; all that waits for an answer on it fails.
    pub(crate) fn kill(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Says goodbye, and waits for the answer so that what was sent before has arrived.
    pub(crate) async fn close(&self) {
        let goodbye = self.connection.close(lapin::protocol::constants::REPLY_SUCCESS, "done".into());
        if timeout(bounds::CLOSE_DEADLINE, goodbye).await.is_err() {
            self.kill();
        }
    }
}

/// The broker's answer to one question.
pub(crate) async fn answered<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
    match timeout(bounds::CALL_DEADLINE, call).await {
        Ok(answer) => answer.map_err(|error| Fault::of(&error)),
        Err(_) => Err(Fault::Late),
    }
}

/// Reads a connection's events until it ends. Its state is looked at besides: an event that was sent before
/// anybody listened is in no stream.
async fn watch_over(
    events: impl Stream<Item = Event>,
    status: ConnectionStatus,
    standing: watch::Sender<Standing>,
    stop: CancellationToken,
    spent_max: usize,
) {
    let mut events = pin!(events);
    let mut look = interval(bounds::STATE_POLL);
    let mut spent = 0;
    loop {
        let event = tokio::select! {
            event = poll_fn(|context| events.as_mut().poll_next(context)) => event,
            _ = look.tick() => {
                if !status.connected() {
                    standing.send_replace(Standing::Ended("the connection has ended".into()));
                    return;
                }
                continue;
            }
            () = stop.cancelled() => return,
        };
        let now = match event {
            None => Standing::Ended("the connection has ended".into()),
            Some(Event::Error(error)) if !status.connected() => Standing::Ended(Fault::of(&error).text()),
            // A channel's error, which is told here too and none of the connection's.
            Some(Event::Error(_)) => {
                spent += 1;
                if spent != spent_max {
                    continue;
                }
                Standing::WornOut
            }
            Some(_) if spent >= spent_max => continue,
            Some(Event::ConnectionBlocked(why)) => Standing::Blocked(why),
            Some(Event::ConnectionUnblocked) => Standing::Open,
            Some(_) => continue,
        };
        let ended = matches!(now, Standing::Ended(_));
        standing.send_replace(now);
        if ended {
            return;
        }
    }
}
