//! Which receiver a path means.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use percent_encoding::percent_decode_str;

use crate::bounds::{CAPTURES_MAX, HINTS_BODY_BYTES_MAX};
use crate::captures;
use crate::catalog::{Catalog, Row};
use crate::config::{Config, ConfigError, ReceiverConfig};
use crate::delivery::Delivery;
use crate::http::admission::ReceiverFront;
use crate::message::MessageOptions;
use crate::reason::Reason;
use crate::verify::{
    self, CapturePolicy, CompileError, PublicUrl, ReceiverSettings, Refusal, Secret, Verifier,
};

/// A configured endpoint: a provider, an id, secrets.
#[derive(Debug)]
pub struct Receiver {
    /// `name` or `name/id`, for metrics.
    pub label: Arc<str>,
    /// As configured, in lower case.
    pub name: String,
    /// As configured; empty without one.
    pub id: String,
    /// What judges now; replaced as a whole.
    live: RwLock<Live>,
    capturing: Option<Capturing>,
    /// Bytes of a body.
    pub body_bytes_max: u64,
    /// Shapes its messages.
    pub message: MessageOptions,
    /// From where its deliveries come, and how many.
    pub front: ReceiverFront,
}

/// A verifier, and what it was made of besides its row.
#[derive(Clone, Debug)]
struct Live {
    verifier: Arc<Verifier>,
    /// With the secrets that are valid now.
    settings: Arc<ReceiverSettings>,
}

impl Live {
    fn compile(row: &Row, settings: ReceiverSettings) -> Result<Self, CompileError> {
        let verifier = Arc::new(Verifier::compile(row, &settings)?);
        Ok(Self { verifier, settings: Arc::new(settings) })
    }
}

/// What it takes to make a secret that the sender hands over the receiver's own.
#[derive(Debug)]
struct Capturing {
    row: Row,
    file: PathBuf,
    /// Held from the decision to the file: of two secrets at once, one is the first.
    turn: Mutex<()>,
}

impl Receiver {
    /// Verifies its deliveries; another one once a secret was handed over.
    pub fn verifier(&self) -> Arc<Verifier> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).verifier.clone()
    }

    fn live(&self) -> Live {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a secret that the sender handed over the receiver's own: on disk first, then in memory. One that
    /// is known already is fine, as the sender may not have had our answer. Blocks for the disk.
    pub fn adopt(&self, secret: Secret) -> Result<(), Refusal> {
        let Some(capturing) = &self.capturing else { return Err(NOT_TAKEN) };
        let _turn = capturing.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = self.live().settings;
        if settings.secrets.iter().any(|known| known.is(&secret)) {
            return Ok(());
        }
        let may_add = match settings.capture {
            CapturePolicy::Once => settings.secrets.is_empty(),
            CapturePolicy::Add => settings.secrets.len() < CAPTURES_MAX,
            CapturePolicy::Never => false,
        };
        let is_line = secret.text().is_some_and(|text| !text.contains(char::is_control) && !text.is_empty());
        if !may_add || !is_line {
            return Err(NOT_TAKEN);
        }
        let mut next = ReceiverSettings::clone(&settings);
        next.secrets.push(secret);
        let live = Live::compile(&capturing.row, next).map_err(|_| NOT_TAKEN)?;
        captures::write(&capturing.file, &live.settings.secrets).map_err(|error| {
            tracing::error!(receiver = &*self.label, file = %capturing.file.display(), error = %error, "the secret that the sender handed over can't be kept");
            NOT_KEPT
        })?;
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        tracing::info!(receiver = &*self.label, file = %capturing.file.display(), "the sender handed over its secret");
        Ok(())
    }
}

const NOT_TAKEN: Refusal =
    Refusal::new(Reason::CaptureRefused, "the receiver has a secret, or its setting capture takes no other");
const NOT_KEPT: Refusal = Refusal::new(Reason::NotDurable, "the secret can't be kept");

/// All receivers, by path.
#[derive(Debug, Default)]
pub struct Receivers {
    catalog: Catalog,
    base_path: String,
    /// By `name` or `name/id`, in lower case.
    by_label: HashMap<String, Arc<Receiver>>,
    /// By a path of their own, in lower case.
    by_path: HashMap<String, Arc<Receiver>>,
    in_order: Vec<Arc<Receiver>>,
}

/// A receiver and the id as the sender wrote it.
pub type Found = (Arc<Receiver>, String);

impl Receivers {
    /// Compiles every configured receiver.
    ///
    /// # Errors
    /// Names the receiver, where it was configured, and what its provider needs.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        let mut receivers =
            Self { catalog: config.catalog.clone(), base_path: config.base_path.clone(), ..Self::default() };
        for configured in &config.receivers {
            receivers.add(configured, config)?;
        }
        Ok(receivers)
    }

    /// The receiver that a path means, matched whatever the case and percent-decoded.
    pub fn find(&self, path: &str) -> Option<Found> {
        if !self.by_path.is_empty()
            && let Some(receiver) = self.by_path.get(&path.to_ascii_lowercase())
        {
            return Some((receiver.clone(), receiver.id.clone()));
        }
        let head = path.get(..self.base_path.len())?;
        if !head.eq_ignore_ascii_case(&self.base_path) {
            return None;
        }
        let rest = path[self.base_path.len()..].strip_prefix('/')?;
        let (name, id) = rest.split_once('/').unwrap_or((rest, ""));
        // Labels are in lower case: what is so already, as nearly every URL is, needs no copies.
        if rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'/')) {
            let label = if id.is_empty() { name } else { rest };
            return self.by_label.get(label).map(|receiver| (receiver.clone(), id.to_owned()));
        }
        let (name, id) = (decode(name)?, decode(id)?);
        let label = if id.is_empty() { name.to_lowercase() } else { format!("{name}/{id}").to_lowercase() };
        self.by_label.get(&label).map(|receiver| (receiver.clone(), id))
    }

    /// The receivers as configured.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Receiver>> {
        self.in_order.iter()
    }

    /// The one that now stands where this one stood.
    pub fn successor(&self, of: &Receiver) -> Option<Arc<Receiver>> {
        self.by_label.get(&of.label.to_lowercase()).cloned()
    }

    /// The path to paste at the provider.
    pub fn path_of(&self, receiver: &Receiver) -> String {
        let label = if receiver.id.is_empty() { String::new() } else { format!("/{}", receiver.id) };
        format!("{}/{}{label}", self.base_path, receiver.name)
    }

    /// The mistakes that would explain why a receiver refused a delivery when it came. Costs a few dozen
    /// verifications, so large bodies get none.
    pub fn hints(&self, receiver: &Receiver, delivery: &Delivery) -> Vec<String> {
        if delivery.body.len() > HINTS_BODY_BYTES_MAX {
            return Vec::new();
        }
        let Some(row) = self.catalog.find(&receiver.name) else { return Vec::new() };
        let hints = verify::hints(row, &receiver.live().settings, delivery, delivery.received_at);
        hints.iter().map(ToString::to_string).collect()
    }

    fn add(&mut self, configured: &ReceiverConfig, config: &Config) -> Result<(), ConfigError> {
        let label = configured.label();
        let wrong =
            |e: &dyn std::fmt::Display| ConfigError(format!("{}: receiver {label}: {e}", configured.origin));
        let row = config
            .catalog
            .find(&configured.name)
            .ok_or_else(|| wrong(&"its provider is not in the catalogue"))?;
        let mut settings = settings(configured).map_err(|e| wrong(&e))?;
        if let Some(url) = &config.public_url {
            settings.public_url = Some(PublicUrl::base(url).map_err(|e| wrong(&e))?);
        }
        let file = captures::path(&config.queue.data_dir, &label);
        if row.captures() && (settings.secrets.is_empty() || settings.capture == CapturePolicy::Add) {
            let kept = captures::read(&file).map_err(|e| wrong(&format!("{}: {e}", file.display())))?;
            settings.secrets.extend(kept);
        }
        let live = Live::compile(row, settings).map_err(|e| match e {
            CompileError::SecretMissing { .. } => wrong(&format!("{e}; write --receiver {label}=env:NAME")),
            e => wrong(&e),
        })?;
        let capturing = row.captures().then(|| Capturing { row: row.clone(), file, turn: Mutex::default() });
        let receiver = Arc::new(Receiver {
            label: label.as_str().into(),
            name: configured.name.clone(),
            id: configured.id.clone(),
            live: RwLock::new(live),
            capturing,
            body_bytes_max: configured.body_bytes_max.unwrap_or(config.limits.body_bytes_max),
            message: MessageOptions {
                receiver: configured.name.clone(),
                raw_body: configured.raw_body,
                mask: configured.mask,
            },
            front: ReceiverFront::new(&configured.front, config.front_door.receiver_rate),
        });
        if let Some(path) = &configured.path {
            let taken = self.by_path.insert(path.to_ascii_lowercase(), receiver.clone());
            if let Some(other) = taken {
                return Err(wrong(&format!("its path {path} belongs to {} already", other.name)));
            }
        }
        self.by_label.insert(label.to_lowercase(), receiver.clone());
        self.in_order.push(receiver);
        Ok(())
    }
}

/// A receiver's side of verification, but for the URL.
///
/// # Errors
/// Names the setting that can't be used.
pub fn settings(configured: &ReceiverConfig) -> Result<ReceiverSettings, CompileError> {
    let mut settings = ReceiverSettings {
        secrets: configured.secrets.iter().map(|secret| Secret::new(secret.to_vec())).collect(),
        tolerance: configured.tolerance,
        ..ReceiverSettings::default()
    };
    for (key, value) in &configured.settings {
        settings.set(key, Secret::new(value.to_vec()))?;
    }
    Ok(settings)
}

/// One segment, decoded; `None` when it isn't UTF-8, holds a control character, or would change the
/// path's shape: no receiver is called so.
fn decode(segment: &str) -> Option<String> {
    let decoded = percent_decode_str(segment).decode_utf8().ok()?;
    let odd = |c: char| c.is_control() || c == '/';
    (!decoded.contains(odd) && !matches!(&*decoded, "." | "..")).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    /// Asana's receiver as it starts, with what the directory holds.
    fn asana(data: &std::path::Path, policy: CapturePolicy, configured: &[&str]) -> Receiver {
        let row = catalog::find("asana").unwrap();
        let file = captures::path(data, "asana/acme");
        let mut settings = ReceiverSettings { capture: policy, ..ReceiverSettings::default() };
        settings.secrets = configured.iter().map(|secret| Secret::from(*secret)).collect();
        if configured.is_empty() {
            settings.secrets.extend(captures::read(&file).unwrap());
        }
        Receiver {
            label: "asana/acme".into(),
            name: "asana".to_owned(),
            id: "acme".to_owned(),
            live: RwLock::new(Live::compile(row, settings).unwrap()),
            capturing: Some(Capturing { row: row.clone(), file, turn: Mutex::default() }),
            body_bytes_max: 1,
            message: MessageOptions { receiver: "asana".to_owned(), raw_body: false, mask: true },
            front: ReceiverFront::default(),
        }
    }

    fn accepts(receiver: &Receiver, secret: &str) -> bool {
        let row = catalog::find("asana").unwrap();
        let settings = ReceiverSettings { secrets: vec![secret.into()], ..ReceiverSettings::default() };
        let sender = Verifier::compile(row, &settings).unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let request = sender.sign(None, None, "https://h.example/in/x", now, "1").unwrap();
        let delivery = Delivery {
            method: request.method,
            uri: "/in/x".parse().unwrap(),
            headers: request.headers,
            body: request.body,
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            id: String::new(),
            received_at: now,
        };
        matches!(receiver.verifier().admit(delivery, now), verify::Admission::Event(_))
    }

    #[test]
    fn the_first_secret_handed_over_counts_at_once_and_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let receiver = asana(data.path(), CapturePolicy::Once, &[]);
        assert!(!accepts(&receiver, "first"));
        receiver.adopt("first".into()).unwrap();
        assert!(accepts(&receiver, "first"));
        receiver.adopt("first".into()).expect("the answer may have been lost");
        assert_eq!(receiver.adopt("second".into()).unwrap_err().reason, Reason::CaptureRefused);
        let again = asana(data.path(), CapturePolicy::Once, &[]);
        assert!(accepts(&again, "first") && !accepts(&again, "second"));
        assert!(again.adopt("second".into()).is_err());
    }

    #[test]
    fn more_secrets_are_taken_only_where_the_operator_says_so() {
        let data = tempfile::tempdir().unwrap();
        let configured = asana(data.path(), CapturePolicy::Once, &["configured"]);
        assert!(configured.adopt("captured".into()).is_err() && accepts(&configured, "configured"));
        assert!(asana(data.path(), CapturePolicy::Never, &[]).adopt("captured".into()).is_err());
        let several = asana(data.path(), CapturePolicy::Add, &[]);
        for number in 0..CAPTURES_MAX {
            several.adopt(format!("secret {number}").as_str().into()).unwrap();
        }
        assert!(several.adopt("one too many".into()).is_err());
        assert!(accepts(&several, "secret 0") && accepts(&several, "secret 15"));
        let odd = asana(tempfile::tempdir().unwrap().path(), CapturePolicy::Add, &[]);
        assert!(odd.adopt("two\nlines".into()).is_err() && odd.adopt("".into()).is_err());
    }

    #[test]
    fn what_cannot_be_kept_is_not_taken() {
        let data = tempfile::tempdir().unwrap();
        let receiver = asana(data.path(), CapturePolicy::Once, &[]);
        std::fs::write(data.path().join("secrets"), "a file in the way").unwrap();
        assert_eq!(receiver.adopt("first".into()).unwrap_err().reason, Reason::NotDurable);
        assert!(!accepts(&receiver, "first"));
    }

    #[test]
    fn segments_are_decoded_and_odd_ones_match_nothing() {
        assert_eq!(decode("acme").as_deref(), Some("acme"));
        assert_eq!(decode("a%63me").as_deref(), Some("acme"));
        assert_eq!(decode("%c3%a4").as_deref(), Some("ä"));
        for odd in ["%00", "a%2fb", "%2e%2e", "..", "%ff", "a%0a"] {
            assert_eq!(decode(odd), None, "{odd}");
        }
    }
}
