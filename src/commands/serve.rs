//! `sluiced serve`: start, serve, stop.

use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use clap::ArgMatches;
use sluiced_queue::Health;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Failure;
use super::reload::{Fixed, Reloader};
use super::signals::{Signals, hangups};
use crate::app::{App, Phase};
use crate::backend::{self, Backend};
use crate::bounds::{LOG_SUMMARY_INTERVAL, QUEUE_CLOSE_TIMEOUT};
use crate::cli::ServeFlags;
use crate::config::{Config, ConfigError, resolve};
use crate::handlers::WebHookHandler;
use crate::handlers::build::build;
use crate::http::budget::Budget;
use crate::http::entrances::{AllTls, Bound, Listening, bind_all, load_certificates};
use crate::http::listener::Acceptor;
use crate::http::tls::Tls;
use crate::live::{Live, Swap};
use crate::log::Logger;
use crate::receivers::Receivers;
use crate::service_manager::{self, Sockets};
use crate::{limits, ops};

/// Runs the daemon until a signal, or until the queue has failed for good. `handlers` stand in the chain
/// besides the configured ones.
///
/// # Errors
/// [`Failure::Config`] before anything was accepted; [`Failure::Running`] when it can't listen or the
/// queue failed.
pub async fn run(
    flags: &ServeFlags,
    matches: &ArgMatches,
    handlers: Vec<Box<dyn WebHookHandler>>,
) -> Result<(), Failure> {
    let mut config = resolve(flags, matches)?;
    config.warnings.extend(limits::raise_open_files(&mut config.limits));
    let live = compile(&config)?;
    let certificates = load_certificates(&config)?;
    let mut signals = Signals::new().map_err(Failure::Running)?;
    let mut hangups = hangups().map_err(Failure::Running)?;
    let logger = Logger::start(config.log_format, config.log_level);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "starting");
    let backend = backend::open(&config.queue, &config.handlers).await?;
    let chain = build(&config, &backend, handlers)?;
    let Backend { handler: queue, warnings, remote, .. } = backend;
    config.warnings.extend(certificates.iter().flat_map(|(_, loaded)| loaded.warnings.clone()));
    let tls: AllTls = certificates.into_iter().map(|(which, loaded)| (which, Tls::new(loaded))).collect();
    let Bound { listeners, ops: ops_listener } =
        bind_all(&config, &tls, &mut Sockets::take()).await.map_err(Failure::Running)?;
    announce(&config, &live.receivers, &listeners, ops_listener.as_ref(), &warnings);
    let app = Arc::new(App {
        live: Swap::new(live),
        keys: Default::default(),
        chain,
        queue,
        remote,
        limits: config.limits.clone(),
        budget: Budget::new(config.limits.body_memory_bytes_max),
        in_flight: Arc::new(Semaphore::new(
            config.limits.in_flight_max.min(Semaphore::MAX_PERMITS as u64) as usize
        )),
        webhooks: TaskTracker::new(),
        phase: watch::Sender::new(Phase::Serving),
        logger,
        quiet: Default::default(),
        summary: Default::default(),
        metrics: Default::default(),
    });
    let reloader = Reloader::new(flags, matches, Fixed::of(&config)?, app.clone(), tls);
    let daemon = Daemon::start(app, listeners, ops_listener);
    service_manager::keep_watchdog_quiet();
    service_manager::ready();
    let ended = tokio::select! {
        (name, _) = signals.next() => {
            tracing::info!(signal = name, "draining");
            Ok(())
        }
        why = daemon.housekeeping() => Err(Failure::Running(why)),
        never = reloader.run(&mut hangups) => match never {},
    };
    service_manager::stopping();
    tokio::select! {
        () = daemon.stop(&config, ended.is_ok()) => ended,
        () = signals.force() => ended,
    }
}

/// Compiles what a running daemon can exchange.
///
/// # Errors
/// As [`Live::compile`]; and when there is no receiver.
pub(super) fn compile(config: &Config) -> Result<Live, ConfigError> {
    if config.receivers.is_empty() {
        return Err(ConfigError(
            "there is no receiver; add one, e.g. --receiver github=env:GITHUB_SECRET or [[receivers]] in the file".into(),
        ));
    }
    Live::compile(config)
}

/// The life-cycle lines of a start: what runs, where, with which receivers, and what to look at.
fn announce(
    config: &Config,
    receivers: &Receivers,
    listeners: &[Listening],
    ops: Option<&TcpListener>,
    warnings: &[String],
) {
    let given: Vec<String> = config
        .shown
        .iter()
        .filter(|shown| shown.origin != "default")
        .map(|shown| format!("{}={} ({})", shown.key, shown.value, shown.origin))
        .collect();
    tracing::info!(given = given.join(", "), "configuration");
    let addresses: Vec<String> = listeners.iter().map(Listening::address).collect();
    let address = addresses.first().cloned().unwrap_or_default();
    let scheme = if config.front_door.entrance.tls.is_some() { "https" } else { "http" };
    for receiver in receivers.iter() {
        let base = config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
        let url = format!("{base}{}", receivers.path_of(receiver));
        tracing::info!(receiver = receiver.name.as_str(), id = receiver.id.as_str(), url, "receiver");
        for warning in receiver.verifier().warnings() {
            tracing::warn!(receiver = receiver.name.as_str(), id = receiver.id.as_str(), "{warning}");
        }
    }
    for warning in config.warnings.iter().chain(warnings) {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        backend = config.queue.backend.as_str(),
        queue = config.queue.name.as_str(),
        data_dir = %crate::config::receivers::absolute(&config.queue.data_dir).display(),
        "queue open"
    );
    if let Some(address) = ops.and_then(|ops| ops.local_addr().ok()) {
        tracing::info!(address = %address, paths = "/livez /readyz /metrics", "ops listening");
    }
    for address in addresses.iter().skip(1) {
        tracing::info!(address = address.as_str(), "also listening");
    }
    tracing::info!(address, "listening");
}

/// The running daemon.
struct Daemon {
    app: Arc<App>,
    connections: TaskTracker,
    acceptors: TaskTracker,
    stop_accepting: CancellationToken,
    stop_ops: CancellationToken,
}

impl Daemon {
    fn start(app: Arc<App>, listeners: Vec<Listening>, ops_listener: Option<TcpListener>) -> Self {
        let daemon = Self {
            app: app.clone(),
            connections: TaskTracker::new(),
            acceptors: TaskTracker::new(),
            stop_accepting: CancellationToken::new(),
            stop_ops: CancellationToken::new(),
        };
        let acceptor = Arc::new(Acceptor::new(app.clone(), daemon.connections.clone()));
        for Listening { listener, door } in listeners {
            let (acceptor, stop) = (acceptor.clone(), daemon.stop_accepting.clone());
            daemon.acceptors.spawn(async move { acceptor.run(listener, door, stop).await });
        }
        if let Some(listener) = ops_listener {
            let stop = daemon.stop_ops.clone();
            daemon.acceptors.spawn(async move { ops::serve(listener, app, stop).await });
        }
        daemon
    }

    /// Reports to the log once in a while; ends, with the reason, when the queue has failed for good.
    async fn housekeeping(&self) -> String {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_summary = StdInstant::now() + LOG_SUMMARY_INTERVAL;
        let mut was_ready = true;
        loop {
            tick.tick().await;
            let now = StdInstant::now();
            self.app.quiet.report(&self.app.logger, now, false);
            if now >= next_summary {
                let spooled = match &self.app.remote {
                    Some(remote) => remote.spooled().await,
                    None => None,
                };
                self.app.summary.report(&self.app.logger, spooled);
                next_summary = now + LOG_SUMMARY_INTERVAL;
            }
            if let Some(remote) = &self.app.remote {
                remote.look();
                if let Some(why) = remote.failed() {
                    return why;
                }
            }
            match self.app.queue.health() {
                Health::Failed(why) => return why,
                Health::NotReady(why) if was_ready => {
                    tracing::error!(why, "the queue takes no messages; senders are told to come again");
                    was_ready = false;
                }
                Health::Ready if !was_ready => {
                    tracing::info!("the queue takes messages again");
                    was_ready = true;
                }
                Health::NotReady(_) | Health::Ready => {}
            }
        }
    }

    /// Stops in the order in which nothing that was accepted is lost: not ready, no new connections,
    /// what is in flight, the queue, the log.
    async fn stop(&self, config: &Config, gently: bool) {
        let app = &self.app;
        let until = Instant::now() + config.drain_delay + config.drain_timeout;
        if gently {
            app.phase.send_replace(Phase::Leaving);
            sleep(config.drain_delay).await;
        }
        self.stop_accepting.cancel();
        self.acceptors.close();
        // The acceptor takes what is in the backlog before it ends; the ops listener goes on.
        app.phase.send_replace(Phase::Draining { since: Instant::now() });
        self.connections.close();
        app.webhooks.close();
        let in_flight = async {
            self.connections.wait().await;
            app.webhooks.wait().await;
        };
        if timeout(config.drain_timeout, in_flight).await.is_err() {
            tracing::warn!(
                connections = self.connections.len() as u64,
                webhooks = app.webhooks.len() as u64,
                "the drain timeout is over; what is still open has had no answer and its sender keeps it"
            );
        }
        // With a broker behind it, what is left of the time goes to draining the spool.
        let closing = async {
            match &app.remote {
                Some(remote) => remote.close(until).await,
                None => {
                    app.queue.close().await;
                    None
                }
            }
        };
        let patience = until.saturating_duration_since(Instant::now()) + QUEUE_CLOSE_TIMEOUT;
        let spooled = timeout(patience, closing).await.unwrap_or_else(|_| {
            tracing::warn!("the queue didn't close in time; what it acknowledged is durable all the same");
            None
        });
        self.stop_ops.cancel();
        app.quiet.report(&app.logger, StdInstant::now(), true);
        app.summary.report(&app.logger, spooled);
        tracing::info!("stopped");
        let logger: Logger = app.logger.clone();
        // The log's last lines go out on a thread of their own; waiting for it blocks only the end.
        let _ = tokio::task::spawn_blocking(move || logger.close()).await;
    }
}
