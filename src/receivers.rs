//! Which receiver a path means.

use std::collections::HashMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::bounds::HINTS_BODY_BYTES_MAX;
use crate::catalog::Catalog;
use crate::config::{Config, ConfigError, ReceiverConfig};
use crate::delivery::Delivery;
use crate::http::admission::ReceiverFront;
use crate::message::MessageOptions;
use crate::verify::{self, CompileError, PublicUrl, ReceiverSettings, Secret, Verifier};

/// A configured endpoint: a provider, an id, secrets.
#[derive(Debug)]
pub struct Receiver {
    /// `name` or `name/id`, for metrics.
    pub label: Arc<str>,
    /// As configured, in lower case.
    pub name: String,
    /// As configured; empty without one.
    pub id: String,
    /// Verifies its deliveries.
    pub verifier: Verifier,
    /// What the verifier was made of besides its row, for hints.
    settings: ReceiverSettings,
    /// Bytes of a body.
    pub body_bytes_max: u64,
    /// Shapes its messages.
    pub message: MessageOptions,
    /// From where its deliveries come, and how many.
    pub front: ReceiverFront,
}

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
        let (name, id) = (decode(name)?, decode(id)?);
        let label = if id.is_empty() { name.to_lowercase() } else { format!("{name}/{id}").to_lowercase() };
        self.by_label.get(&label).map(|receiver| (receiver.clone(), id))
    }

    /// The receivers as configured.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Receiver>> {
        self.in_order.iter()
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
        let hints = verify::hints(row, &receiver.settings, delivery, delivery.received_at);
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
        let verifier = Verifier::compile(row, &settings).map_err(|e| wrong(&e))?;
        let receiver = Arc::new(Receiver {
            label: label.as_str().into(),
            name: configured.name.clone(),
            id: configured.id.clone(),
            verifier,
            settings,
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
