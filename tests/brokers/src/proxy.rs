//! A TCP proxy between a client and a broker, for the faults that networks have.

// The proxy keeps its tasks' handles, and aborts them when it is dropped.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bounds;
use crate::ports::Port;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the broker.
    Up,
    /// From the broker to the client.
    Down,
}

/// What happens to bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    #[default]
    Pass,
    /// They stay here, and nobody is told: a black hole. What waits goes on with the next flow.
    Stall,
    /// They pass so much later.
    Delay(Duration),
    /// No more than so many bytes a second.
    Throttle(u32),
}

/// A proxy on a port of its own, in front of one broker; passes everything until told otherwise. Gone, with its
/// connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    broker: SocketAddr,
    lanes: [Lane; 2],
    /// A connection that sees another number than at its start ends.
    cuts: watch::Sender<u64>,
    refusing: watch::Sender<bool>,
    accepted: AtomicUsize,
    open: Mutex<HashMap<usize, JoinHandle<()>>>,
}

/// One direction, of all connections together.
#[derive(Debug)]
struct Lane {
    flow: watch::Sender<Flow>,
    passed: AtomicU64,
    /// How many bytes may still pass before everything is cut.
    until_cut: Mutex<Option<u64>>,
}

impl Proxy {
    /// In front of a broker, which needn't be there yet.
    ///
    /// # Panics
    /// When it can't listen.
    pub async fn to(broker: SocketAddr) -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(port.address()).await.expect("a port of ours can be listened on");
        let shared = Arc::new(Shared {
            broker,
            lanes: [Lane::new(), Lane::new()],
            cuts: watch::Sender::new(0),
            refusing: watch::Sender::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { port, shared, accepting }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Changes what happens in one direction, from now on and to all connections.
    pub fn set(&self, direction: Direction, flow: Flow) {
        self.shared.lane(direction).flow.send_replace(flow);
    }

    /// Both ways, all connections: nothing passes, and nobody is told.
    pub fn stall(&self) {
        self.set(Direction::Up, Flow::Stall);
        self.set(Direction::Down, Flow::Stall);
    }

    /// Both ways, all connections: everything passes, and new connections are let in.
    pub fn pass(&self) {
        self.shared.refusing.send_replace(false);
        self.set(Direction::Up, Flow::Pass);
        self.set(Direction::Down, Flow::Pass);
    }

    /// Resets all connections; what is still on its way is lost. New ones are let in.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Resets all connections as soon as exactly so many bytes more have gone that way, on all of them together.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        *lock(&self.shared.lane(direction).until_cut) = Some(bytes);
    }

    /// Whether a cut asked for by [`Self::cut_after`] is still to come.
    pub fn cut_pending(&self, direction: Direction) -> bool {
        lock(&self.shared.lane(direction).until_cut).is_some()
    }

    /// Resets all connections, and every new one until [`Self::pass`].
    pub fn refuse(&self) {
        self.shared.refusing.send_replace(true);
        self.shared.cut();
    }

    /// How many connections there have been.
    pub fn connections_total(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many are open.
    pub fn connections_open(&self) -> usize {
        lock(&self.shared.open).values().filter(|task| !task.is_finished()).count()
    }

    /// How many bytes have passed.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.lane(direction).passed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        lock(&self.shared.open).values().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Up => &self.lanes[0],
            Direction::Down => &self.lanes[1],
        }
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Lane {
    fn new() -> Self {
        Self { flow: watch::Sender::default(), passed: AtomicU64::new(0), until_cut: Mutex::new(None) }
    }

    /// How many of so many bytes may pass, and whether everything is cut after them.
    fn allow(&self, bytes: usize) -> (usize, bool) {
        let mut until_cut = lock(&self.until_cut);
        let Some(left) = *until_cut else { return (bytes, false) };
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
        let rest = left - now as u64;
        *until_cut = (rest > 0).then_some(rest);
        (now, rest == 0)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let task = tokio::spawn(serve(client, shared.clone()));
        let mut open = lock(&shared.open);
        open.retain(|_, task| !task.is_finished());
        open.insert(number, task);
    }
}

/// One connection, until either side or a cut ends it.
async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    // Whatever ends it, both sides see a reset: bytes that didn't get through must not look as if they had.
    let _ = client.set_zero_linger();
    let _ = client.set_nodelay(true);
    if *shared.refusing.borrow() {
        return;
    }
    let pumps = async {
        let Ok(broker) = TcpStream::connect(shared.broker).await else { return };
        let _ = broker.set_nodelay(true);
        let _ = broker.set_zero_linger();
        let (client_read, client_write) = client.into_split();
        let (broker_read, broker_write) = broker.into_split();
        tokio::select! {
            () = pump(client_read, broker_write, &shared, Direction::Up) => {}
            () = pump(broker_read, client_write, &shared, Direction::Down) => {}
        }
    };
    tokio::select! {
        () = pumps => {}
        _ = cuts.changed() => {}
    }
}

async fn pump(from: OwnedReadHalf, to: OwnedWriteHalf, shared: &Shared, direction: Direction) {
    let (sender, receiver) = mpsc::channel(bounds::CHUNKS_MAX);
    // Both end when the reader does and what it read is written.
    tokio::join!(read(from, sender), write(to, receiver, shared, direction));
}

async fn read(mut from: OwnedReadHalf, chunks: mpsc::Sender<(Instant, Vec<u8>)>) {
    loop {
        let mut chunk = Vec::with_capacity(bounds::CHUNK_BYTES);
        match from.read_buf(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if chunks.send((Instant::now(), chunk)).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    shared: &Shared,
    direction: Direction,
) {
    let lane = shared.lane(direction);
    let mut flow = lane.flow.subscribe();
    while let Some((arrived, chunk)) = chunks.recv().await {
        if flow.wait_for(|flow| *flow != Flow::Stall).await.is_err() {
            return;
        }
        let now = *flow.borrow_and_update();
        match now {
            Flow::Delay(delay) => tokio::time::sleep_until(arrived + delay).await,
            Flow::Throttle(rate) => {
                tokio::time::sleep(Duration::from_secs_f64(chunk.len() as f64 / f64::from(rate))).await;
            }
            Flow::Pass | Flow::Stall => {}
        }
        let (bytes, cut) = lane.allow(chunk.len());
        if to.write_all(&chunk[..bytes]).await.is_err() {
            return;
        }
        lane.passed.fetch_add(bytes as u64, Ordering::SeqCst);
        if cut {
            shared.cut();
            // Nothing more until the cut ends this task.
            return std::future::pending().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
