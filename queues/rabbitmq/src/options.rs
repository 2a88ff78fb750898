//! What can be chosen, and what of it can't be right.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sluiced_queue::{Format, RouteTemplate};

use crate::bounds;

/// How RabbitMQ is reached, and what is sent where.
#[derive(Clone)]
pub struct Options {
    /// `amqp://` or `amqps://` URIs with user, password and virtual host in them, of one cluster's nodes; tried
    /// in turn. Never shown.
    pub url: Vec<String>,
    /// The queue: of the default handler unless an exchange is given, and of workers. Its dead letters are in
    /// the queue of this name with `.dead` behind it.
    pub queue_name: String,
    /// An exchange of one's own, in place of the default exchange and [`Options::queue_name`].
    pub exchange: Option<String>,
    /// The routing key at that exchange; may have `{receiver}`, `{id}` and `{action}` in it. Empty without.
    pub routing_key: Option<String>,
    /// The form of messages.
    pub format: Format,
    /// Whether what is missing is created.
    pub declare: bool,
    /// The handler's name; `None` for the default queue handler. It stands in logs.
    pub handler: Option<String>,
    /// The longest message, in bytes as encoded; `None`: [`bounds::MESSAGE_BYTES_MAX`].
    pub message_bytes_max: Option<usize>,
    /// A publish ends by then.
    pub publish_deadline: Duration,
    /// Channels, on which one message each is in flight.
    pub channels: usize,
    /// Unless a URI says otherwise with `?heartbeat=`; whole seconds.
    pub heartbeat: Duration,
    /// How often a worker may die over one message before it is a dead letter: `x-delivery-limit` of a queue that
    /// is created.
    pub delivery_limit: u32,
    /// PEM file with certificates of authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client's certificate chain.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with its key.
    pub client_key_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: vec!["amqp://127.0.0.1:5672".into()],
            queue_name: "webhooks".into(),
            exchange: None,
            routing_key: None,
            format: Format::Context,
            declare: true,
            handler: None,
            message_bytes_max: None,
            publish_deadline: bounds::PUBLISH_DEADLINE,
            channels: bounds::CHANNELS,
            heartbeat: bounds::HEARTBEAT,
            delivery_limit: bounds::DELIVERY_LIMIT,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &format_args!("{} of them", self.url.len()))
            .field("queue_name", &self.queue_name)
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("format", &self.format)
            .field("declare", &self.declare)
            .field("handler", &self.handler)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("publish_deadline", &self.publish_deadline)
            .field("channels", &self.channels)
            .field("heartbeat", &self.heartbeat)
            .field("delivery_limit", &self.delivery_limit)
            .field("ca_file", &self.ca_file)
            .field("client_cert_file", &self.client_cert_file)
            .field("client_key_file", &self.client_key_file)
            .finish()
    }
}

/// Where a handler's messages go: a queue, or an exchange with a routing key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// A queue, through the default exchange.
    pub name: Option<String>,
    /// An exchange.
    pub exchange: Option<String>,
    /// The routing key there, with variables.
    pub routing_key: Option<String>,
}

/// What can't be right in [`Options`] or in a [`Destination`], and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(pub(crate) String);

/// A destination that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A queue behind the default exchange.
    Queue(String),
    /// An exchange.
    Exchange { name: String, routing_key: RouteTemplate },
}

impl Place {
    pub(crate) fn read(destination: &Destination) -> Result<Self, OptionsError> {
        let Destination { name, exchange, routing_key } = destination;
        match (name, exchange) {
            (Some(_), Some(_)) => {
                Err(OptionsError("a queue handler has a `name` or an `exchange`, not both".into()))
            }
            (None, None) => Err(OptionsError("a queue handler needs a `name` or an `exchange`".into())),
            (Some(_), None) if routing_key.is_some() => Err(OptionsError(
                "`routing_key` needs an `exchange`; the default exchange's key is the queue's name".into(),
            )),
            (Some(name), None) => Ok(Self::Queue(queue_name(name)?)),
            (None, Some(exchange)) => {
                let routing_key = routing_key.as_deref().unwrap_or_default();
                short("routing_key", routing_key)?;
                let routing_key = RouteTemplate::parse(routing_key)
                    .map_err(|error| OptionsError(format!("routing_key: {error}")))?;
                Ok(Self::Exchange { name: exchange_name(exchange)?, routing_key })
            }
        }
    }

    /// Stable, and without credentials or hosts: spooled messages are kept under it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Queue(name) => format!("queue {name}"),
            Self::Exchange { name, routing_key } => format!("exchange {name} key {}", routing_key.as_str()),
        }
    }
}

impl Options {
    /// Where the default handler's messages go.
    pub(crate) fn place(&self) -> Result<Place, OptionsError> {
        let exchange = self.exchange.clone();
        let name = exchange.is_none().then(|| self.queue_name.clone());
        Place::read(&Destination { name, exchange, routing_key: self.routing_key.clone() })
    }

    /// Everything that needs neither a file nor a broker to be judged.
    pub(crate) fn validate(&self) -> Result<(), OptionsError> {
        queue_name(&self.queue_name)?;
        self.place()?;
        let wrong = |text: String| Err(OptionsError(text));
        if self.channels == 0 || self.channels > bounds::CHANNELS_MAX {
            return wrong(format!(
                "channels = {}: 1 to {}; {} are enough for most",
                self.channels,
                bounds::CHANNELS_MAX,
                bounds::CHANNELS
            ));
        }
        let heartbeat = self.heartbeat;
        if heartbeat < Duration::from_secs(1)
            || heartbeat > bounds::HEARTBEAT_MAX
            || heartbeat.subsec_nanos() != 0
        {
            return wrong(format!("heartbeat = {heartbeat:?}: whole seconds from 1 s on, such as \"5s\""));
        }
        if self.publish_deadline.is_zero() {
            return wrong("publish_deadline = 0: no publish could ever be confirmed".into());
        }
        if self.delivery_limit == 0 {
            return wrong(
                "delivery_limit = 0: every message would be dead with the first worker that dies".into(),
            );
        }
        if self.client_cert_file.is_some() != self.client_key_file.is_some() {
            return wrong("client_cert_file and client_key_file go together".into());
        }
        Ok(())
    }
}

/// Names of ours come with suffixes: `.dead`, `.delay.30s`.
const SUFFIX_BYTES: usize = 16;

fn queue_name(name: &str) -> Result<String, OptionsError> {
    let bytes_max = bounds::SHORT_STRING_BYTES_MAX - SUFFIX_BYTES;
    if name.is_empty() || name.len() > bytes_max {
        return Err(OptionsError(format!(
            "a queue's name has 1 to {bytes_max} bytes; `{name}` has {}",
            name.len()
        )));
    }
    if name.starts_with("amq.") {
        return Err(OptionsError(format!("`{name}`: names that begin with `amq.` are RabbitMQ's own")));
    }
    Ok(name.to_owned())
}

fn exchange_name(name: &str) -> Result<String, OptionsError> {
    if name.is_empty() {
        return Err(OptionsError(
            "exchange = \"\" is the default exchange: give the queue's `name` instead".into(),
        ));
    }
    short("exchange", name)?;
    Ok(name.to_owned())
}

fn short(key: &str, text: &str) -> Result<(), OptionsError> {
    match text.len() {
        n if n <= bounds::SHORT_STRING_BYTES_MAX => Ok(()),
        n => Err(OptionsError(format!("{key} has {n} bytes, AMQP takes {}", bounds::SHORT_STRING_BYTES_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Options)) -> String {
        let mut options = Options::default();
        change(&mut options);
        options.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_right() {
        assert_eq!(Options::default().validate(), Ok(()));
        assert_eq!(Options::default().place().unwrap().describe(), "queue webhooks");
    }

    #[test]
    fn what_cannot_be_right_names_the_way_out() {
        assert!(wrong(|o| o.channels = 0).contains("64"));
        assert!(wrong(|o| o.channels = 5_000).contains("1024"));
        assert!(wrong(|o| o.heartbeat = Duration::from_millis(1_500)).contains("5s"));
        assert!(wrong(|o| o.publish_deadline = Duration::ZERO).contains("publish_deadline"));
        assert!(wrong(|o| o.delivery_limit = 0).contains("delivery_limit"));
        assert!(wrong(|o| o.queue_name = String::new()).contains("1 to 239"));
        assert!(wrong(|o| o.queue_name = "amq.x".into()).contains("amq."));
        assert!(wrong(|o| o.exchange = Some(String::new())).contains("`name`"));
        assert!(wrong(|o| o.routing_key = Some("x".into())).contains("`exchange`"));
        assert!(wrong(|o| o.client_cert_file = Some("x.pem".into())).contains("client_key_file"));
        let both = Destination { name: Some("a".into()), exchange: Some("b".into()), routing_key: None };
        assert!(Place::read(&both).unwrap_err().to_string().contains("not both"));
        assert!(Place::read(&Destination::default()).is_err());
        let template =
            Destination { exchange: Some("x".into()), routing_key: Some("{who}".into()), name: None };
        assert!(Place::read(&template).unwrap_err().to_string().contains("{action}"));
    }

    #[test]
    fn an_exchange_is_described_with_its_template() {
        let options = Options {
            exchange: Some("hooks".into()),
            routing_key: Some("{receiver}.{action}".into()),
            ..Options::default()
        };
        assert_eq!(options.place().unwrap().describe(), "exchange hooks key {receiver}.{action}");
    }

    #[test]
    fn credentials_are_not_shown() {
        let options = Options { url: vec!["amqp://user:made-up@127.0.0.1".into()], ..Options::default() };
        assert!(!format!("{options:?}").contains("made-up"));
    }
}
