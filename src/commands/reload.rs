//! SIGHUP: the configuration is read again, all or nothing. Certificates are also looked at by themselves.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use clap::ArgMatches;
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};
use zeroize::Zeroizing;

use crate::app::App;
use crate::backend;
use crate::bounds::CERTIFICATE_LOOK_INTERVAL;
use crate::cli::ServeFlags;
use crate::config::{Config, ConfigError, Shown, resolve};
use crate::http::entrances::{AllTls, Certificates, load_certificates};
use crate::http::tls;
use crate::live::Live;
use crate::receivers::Receivers;

/// Keys that a running daemon can exchange; the receivers with their secrets are others.
const LIVE_KEYS: [&str; 10] = [
    "public_url",
    "base_path",
    "trusted_proxies",
    "forwarded_header",
    "tls.cert_file",
    "tls.key_file",
    "tls.client_ca_file",
    "limits.address_rate",
    "limits.receiver_rate",
    "limits.body_max",
];

/// Exchanges what can be exchanged while the daemon runs.
pub struct Reloader {
    flags: ServeFlags,
    matches: ArgMatches,
    app: Arc<App>,
    tls: AllTls,
    /// What only a restart changes, as it was at the start.
    fixed: Fixed,
}

/// What is read and compiled before anything is exchanged.
struct Fresh {
    warnings: Vec<String>,
    live: Live,
    certificates: Certificates,
    fixed: Fixed,
}

impl Fresh {
    fn read(flags: &ServeFlags, matches: &ArgMatches) -> Result<Self, ConfigError> {
        let config = resolve(flags, matches)?;
        backend::check(&config.queue, &config.handlers)?;
        let live = super::serve::compile(&config)?;
        let certificates = load_certificates(&config)?;
        let fixed = Fixed::of(&config)?;
        Ok(Self { warnings: config.warnings, live, certificates, fixed })
    }
}

impl Reloader {
    /// For a daemon that started so.
    pub fn new(flags: &ServeFlags, matches: &ArgMatches, fixed: Fixed, app: Arc<App>, tls: AllTls) -> Self {
        Self { flags: flags.clone(), matches: matches.clone(), app, tls, fixed }
    }

    /// Waits for signals and for other certificates, for as long as the daemon runs.
    pub async fn run(self, hangups: &mut Signal) -> Infallible {
        let this = Arc::new(self);
        let mut look = interval(CERTIFICATE_LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = hangups.recv() => this.clone().reload().await,
                _ = look.tick() => this.look_at_certificates().await,
            }
        }
    }

    async fn reload(self: Arc<Self>) {
        // Files are read, on a disk that may be slow. Those of secrets that senders hand over stay as they are
        // until the exchange is done.
        let read_and_exchange = move || {
            let _held = self.app.live.hold();
            Fresh::read(&self.flags, &self.matches).map(|fresh| self.exchange(fresh))
        };
        match tokio::task::spawn_blocking(read_and_exchange).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(error = %error, "the new configuration can't be used; the old one stays");
            }
            Err(panic) => {
                tracing::error!(error = %panic, "reading the configuration panicked; the old one stays");
            }
        }
    }

    fn exchange(&self, fresh: Fresh) {
        let Fresh { mut warnings, live, certificates, fixed } = fresh;
        warnings.extend(self.fixed.differing(&fixed));
        let had: BTreeSet<_> = self.tls.iter().map(|(entrance, _)| entrance).collect();
        let has: BTreeSet<_> = certificates.iter().map(|(entrance, _)| entrance).collect();
        for entrance in had.symmetric_difference(&has) {
            warnings.push(format!("TLS of {} begins or ends at the next start", entrance.address));
        }
        let (added, removed) = differing(&self.app.live.get().receivers, &live.receivers);
        let receivers = live.receivers.iter().count() as u64;
        self.app.live.set(live);
        for (entrance, loaded) in certificates {
            warnings.extend(loaded.warnings.iter().cloned());
            if let Some((_, tls)) = self.tls.iter().find(|(of, _)| *of == entrance) {
                tls.exchange(loaded);
            }
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        tracing::info!(receivers, added, removed, "configuration read again");
    }

    /// Certificates are renewed by programs that send no signal.
    async fn look_at_certificates(&self) {
        for (entrance, tls) in &self.tls {
            let Some(files) = tls.changed() else { continue };
            let address = entrance.address.as_str();
            match tokio::task::spawn_blocking(move || tls::load(&files)).await {
                Ok(Ok(loaded)) => {
                    for warning in &loaded.warnings {
                        tracing::warn!("{warning}");
                    }
                    tls.exchange(loaded);
                    tracing::info!(address, "certificate read again");
                }
                // Certificate and key may be written one after the other: the next look finds them both.
                Ok(Err(error)) => {
                    tracing::error!(address, error, "the new certificate can't be used; the old one stays");
                }
                Err(panic) => tracing::error!(address, error = %panic, "reading the certificate panicked"),
            }
        }
    }
}

/// Labels of the receivers that only the new ones have, and only the old ones had.
fn differing(old: &Receivers, new: &Receivers) -> (String, String) {
    let labels = |receivers: &Receivers| receivers.iter().map(|r| r.label.clone()).collect::<BTreeSet<_>>();
    let (old, new) = (labels(old), labels(new));
    let list = |a: &BTreeSet<Arc<str>>, b| a.difference(b).map(|l| &**l).collect::<Vec<_>>().join(", ");
    (list(&new, &old), list(&old, &new))
}

/// What only a restart changes.
pub struct Fixed {
    shown: Vec<Shown>,
    handlers: String,
    /// What only the backend has, without secrets.
    section: String,
    broker_secrets: Vec<Zeroizing<String>>,
}

impl Fixed {
    /// Of this configuration.
    ///
    /// # Errors
    /// Names a secret of the broker that can't be read.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let fixed = config.shown.iter().filter(|shown| !LIVE_KEYS.contains(&shown.key));
        Ok(Self {
            shown: fixed.cloned().collect(),
            handlers: format!("{:?}", config.handlers),
            section: format!("{:?}", (&config.queue.rabbitmq, &config.queue.nats, &config.queue.azure)),
            broker_secrets: config.queue.secrets()?,
        })
    }

    /// A warning for each key that is another.
    fn differing(&self, other: &Self) -> Vec<String> {
        let values = |of: &Self, key: &str| {
            of.shown.iter().filter(|shown| shown.key == key).map(|s| s.value.clone()).collect::<Vec<_>>()
        };
        let keys: BTreeSet<&str> = self.shown.iter().chain(&other.shown).map(|shown| shown.key).collect();
        let mut differing: Vec<&str> =
            keys.into_iter().filter(|key| values(self, key) != values(other, key)).collect();
        let others = [
            ("handlers", self.handlers != other.handlers),
            ("the backend's section under [queue]", self.section != other.section),
            ("a secret of the queue", self.broker_secrets != other.broker_secrets),
        ];
        differing.extend(others.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name));
        differing
            .iter()
            .map(|key| format!("{key} has changed, which takes effect at the next start"))
            .collect()
    }
}
