//! Puts flags, environment, file and defaults together.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use sluiced_queue::Ack;
use toml::Spanned;
use zeroize::Zeroizing;

use super::file::{self, At, File, OneOrMany, Text};
use super::queue::{self, Addresses, QueueConfig};
use super::source::readable_by_others;
use super::{Config, ConfigError, HandlerConfig, Limits, front_door, handlers, providers, receivers};
use crate::bounds;
use crate::cli::{DrainFlags, QueueFlags, ServeFlags, WorkFlags};
use crate::log::{Format, Level};
use crate::units::{ByteSize, HumanDuration};

/// One value and where it came from, for `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key as in the file.
    pub key: &'static str,
    /// The value.
    pub value: String,
    /// `--flag`, a variable's name, `file:line`, or `default`.
    pub origin: String,
}

/// Resolves all that `serve` needs. `matches` are those of the command that the flags belong to.
///
/// # Errors
/// Names the place of the first value that can't be used, and the way out.
pub fn resolve(flags: &ServeFlags, matches: &ArgMatches) -> Result<Config, ConfigError> {
    let (mut file, text) = read_file(&flags.queue)?;
    let holding_secrets = flags.queue.config.as_deref().filter(|_| file.holds_secrets());
    let exposed = holding_secrets.and_then(readable_by_others);
    let mut pick = Picker { matches, text: text.as_ref(), shown: Vec::new() };
    let listen = pick.value("listen", "listen", &flags.listen, file.listen, "127.0.0.1:8080".into());
    let ops =
        pick.value("ops_listen", "ops_listen", &flags.ops_listen, file.ops_listen, "127.0.0.1:8081".into());
    let public_url = pick.optional("public_url", "public_url", &flags.public_url, file.public_url);
    let base_path = pick.file("base_path", file.base_path, "/api/webhooks/incoming".into());
    let mut warnings = unknown_variables();
    warnings.extend(exposed.map(|why| format!("secrets stand in the configuration file: {why}")));
    let queue = pick.queue(&flags.queue, file.data_dir, file.queue, file.spool, &mut warnings)?;
    warnings.extend(queue.exposures());
    let delay = HumanDuration(Duration::ZERO);
    let drain_delay = pick.value("drain_delay", "drain_delay", &flags.drain_delay, file.drain_delay, delay);
    let timeout = HumanDuration(bounds::DRAIN_TIMEOUT);
    let drain_timeout =
        pick.value("drain_timeout", "drain_timeout", &flags.drain_timeout, file.drain_timeout, timeout);
    let keys = front_door::Keys {
        trusted_proxies: file.trusted_proxies,
        forwarded_header: file.forwarded_header,
        proxy_protocol: file.proxy_protocol,
        tls: file.tls,
        listeners: file.listeners,
    };
    let front_door = front_door::resolve(&mut pick, keys, &mut file.limits, text.as_ref())?;
    let limits = pick.limits(file.limits)?;
    let log_format = pick.value("log.format", "log_format", &flags.log_format, file.log.format, Format::Auto);
    let log_level = pick.value("log.level", "log_level", &flags.log_level, file.log.level, Level::Info);
    let default_queue = pick.file("default_queue", file.default_queue, true);
    check_addresses(&pick.shown)?;
    let shown = pick.shown;

    let catalog = providers::collect(file.providers, text.as_ref())?;
    let receivers = receivers::collect(
        &catalog,
        file.receivers,
        text.as_ref(),
        &flags.receiver,
        &flags.receiver_set,
        &mut warnings,
    )?;
    let handlers = handlers::collect(file.handlers, text.as_ref(), Some(&receivers))?;
    let config = Config {
        listen,
        ops_listen: (ops != "off").then_some(ops),
        public_url: public_url.map(checked_public_url).transpose()?,
        base_path: checked_base_path(&base_path)?,
        front_door,
        queue,
        catalog,
        receivers,
        drain_delay: drain_delay.0,
        drain_timeout: drain_timeout.0,
        limits,
        log_format,
        log_level,
        handlers,
        default_queue,
        shown,
        warnings,
    };
    crate::handlers::build::check_complete(&config)?;
    Ok(config)
}

/// Resolves which queue, for `work`, and how its log looks.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_work(
    flags: &WorkFlags,
    matches: &ArgMatches,
) -> Result<(QueueConfig, Format, Level), ConfigError> {
    let (file, text) = read_file(&flags.queue)?;
    let mut pick = Picker { matches, text: text.as_ref(), shown: Vec::new() };
    let queue = pick.queue(&flags.queue, file.data_dir, file.queue, file.spool, &mut Vec::new())?;
    let format = pick.value("log.format", "log_format", &flags.log_format, file.log.format, Format::Auto);
    let level = pick.value("log.level", "log_level", &flags.log_level, file.log.level, Level::Info);
    Ok((queue, format, level))
}

/// Resolves which queue, for `dead`.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_queue(flags: &QueueFlags, matches: &ArgMatches) -> Result<QueueConfig, ConfigError> {
    let (file, text) = read_file(flags)?;
    let mut pick = Picker { matches, text: text.as_ref(), shown: Vec::new() };
    pick.queue(flags, file.data_dir, file.queue, file.spool, &mut Vec::new())
}

/// Resolves which queue, and which others handlers put webhooks into, for `drain`; and how its log looks.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_drain(
    flags: &DrainFlags,
    matches: &ArgMatches,
) -> Result<(QueueConfig, Vec<HandlerConfig>, Format, Level), ConfigError> {
    let (file, text) = read_file(&flags.queue)?;
    let mut pick = Picker { matches, text: text.as_ref(), shown: Vec::new() };
    let queue = pick.queue(&flags.queue, file.data_dir, file.queue, file.spool, &mut Vec::new())?;
    let handlers = handlers::collect(file.handlers, text.as_ref(), None)?;
    let format = pick.value("log.format", "log_format", &flags.log_format, file.log.format, Format::Auto);
    let level = pick.value("log.level", "log_level", &flags.log_level, file.log.level, Level::Info);
    Ok((queue, handlers, format, level))
}

fn read_file(flags: &QueueFlags) -> Result<(File, Option<Text>), ConfigError> {
    match &flags.config {
        Some(path) => file::read(path).map(|(file, text)| (file, Some(text))),
        None => Ok((File::default(), None)),
    }
}

/// Picks the value with the highest precedence and remembers where it came from.
pub(super) struct Picker<'a> {
    matches: &'a ArgMatches,
    text: Option<&'a Text>,
    shown: Vec<Shown>,
}

impl Picker<'_> {
    fn value<T: Clone + Display>(
        &mut self,
        key: &'static str,
        flag_id: &str,
        flag: &Option<T>,
        file: At<T>,
        default: T,
    ) -> T {
        match self.optional(key, flag_id, flag, file) {
            Some(value) => value,
            None => self.show(key, default, "default".into()),
        }
    }

    fn optional<T: Clone + Display>(
        &mut self,
        key: &'static str,
        flag_id: &str,
        flag: &Option<T>,
        file: At<T>,
    ) -> Option<T> {
        if let Some(value) = flag {
            return Some(self.show(key, value.clone(), self.flag_origin(flag_id)));
        }
        self.in_file(key, file)
    }

    fn flag_origin(&self, flag_id: &str) -> String {
        match self.matches.value_source(flag_id) {
            Some(ValueSource::EnvVariable) => format!("SLUICED_{}", flag_id.to_uppercase()),
            _ => format!("--{}", flag_id.replace('_', "-")),
        }
    }

    /// A value that only the file has.
    pub(super) fn file<T: Display>(&mut self, key: &'static str, file: At<T>, default: T) -> T {
        match self.in_file(key, file) {
            Some(value) => value,
            None => self.show(key, default, "default".into()),
        }
    }

    pub(super) fn in_file<T: Display>(&mut self, key: &'static str, file: At<T>) -> Option<T> {
        let file = file?;
        let origin = self.text.map_or_else(String::new, |text| text.place(file.span().start));
        Some(self.show(key, file.into_inner(), origin))
    }

    pub(super) fn show<T: Display>(&mut self, key: &'static str, value: T, origin: String) -> T {
        self.shown.push(Shown { key, value: value.to_string(), origin });
        value
    }

    /// Where a value came from.
    pub(super) fn origin_of(&self, key: &str) -> &str {
        self.shown.iter().find(|shown| shown.key == key).map_or("", |shown| &shown.origin)
    }

    fn queue(
        &mut self,
        flags: &QueueFlags,
        data_dir: At<String>,
        file: queue::Queue,
        spool: queue::Spool,
        warnings: &mut Vec<String>,
    ) -> Result<QueueConfig, ConfigError> {
        let data_dir = self.value("data_dir", "data_dir", &flags.data_dir, data_dir, "./sluiced-data".into());
        let embedded = file.embedded;
        let backend = self.value("queue.backend", "queue", &flags.queue, file.backend, "embedded".into());
        check_backend(&backend)?;
        let url = self.urls(flags, file.url, &backend, warnings)?;
        let deadline = HumanDuration(bounds::ACK_DEADLINE);
        let queue = QueueConfig {
            url,
            name: self.value("queue.name", "queue_name", &flags.queue_name, file.name, "webhooks".into()),
            format: self.file("queue.format", file.format, sluiced_queue::Format::Context),
            data_dir: PathBuf::from(data_dir),
            ack: self.value("queue.ack", "ack", &flags.ack.map(Into::into), file.ack, Ack::Queue),
            ack_deadline: self
                .value("queue.ack_deadline", "ack_deadline", &flags.ack_deadline, file.ack_deadline, deadline)
                .0,
            spool: self.value("spool.enabled", "spool", &flags.spool.map(Into::into), spool.enabled, true),
            spool_bytes_max: self
                .value(
                    "spool.max",
                    "spool_max",
                    &flags.spool_max,
                    spool.max,
                    ByteSize(bounds::SPOOL_BYTES_MAX),
                )
                .0,
            embedded_bytes_max: self.file("queue.embedded.max", embedded.max, ByteSize(10 << 30)).0,
            embedded_message_bytes_max: self
                .file("queue.embedded.message_max", embedded.message_max, ByteSize(64 << 20))
                .0,
            rabbitmq: file.rabbitmq,
            nats: file.nats,
            azure: file.azure,
            backend,
        };
        check_queue_name(&queue.name)?;
        self.check_spool(&queue)?;
        Ok(queue)
    }

    /// The broker's addresses. The embedded queue has none.
    fn urls(
        &mut self,
        flags: &QueueFlags,
        file: Option<Spanned<OneOrMany<queue::Url>>>,
        backend: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Zeroizing<String>>, ConfigError> {
        if backend == "embedded" {
            let chosen = self.origin_of("queue.backend") != "default";
            return match (&flags.queue_url, file) {
                _ if chosen => Ok(Vec::new()),
                (Some(_), _) => Err(queue::no_broker(&self.flag_origin("queue_url"))),
                (None, Some(_)) => Err(queue::no_broker("queue.url")),
                (None, None) => Ok(Vec::new()),
            };
        }
        let (addresses, origin) = match &flags.queue_url {
            Some(text) => (Addresses::of_flag(text)?, self.flag_origin("queue_url")),
            None => Addresses::of_file(file, self.text)?.ok_or_else(|| queue::missing_url(backend))?,
        };
        // In a variable of the environment they stand where env: would find them too.
        if addresses.credentials_in_sight && !origin.starts_with("SLUICED_") {
            warnings.push(format!(
                "{origin}: the queue's URL has credentials in it, in plain text in the configuration or the \
                 process list; use env: or file:"
            ));
        }
        warnings.extend(addresses.exposures);
        self.show("queue.url", addresses.shown, origin);
        Ok(addresses.urls)
    }

    fn check_spool(&self, queue: &QueueConfig) -> Result<(), ConfigError> {
        let origin = |key: &str| self.origin_of(key);
        if queue.ack_deadline < bounds::ACK_DEADLINE_MIN || queue.ack_deadline > bounds::ACK_DEADLINE_MAX {
            return Err(ConfigError(format!(
                "{}: the acknowledgement's deadline is {}; take 10ms to 20s",
                origin("queue.ack_deadline"),
                HumanDuration(queue.ack_deadline)
            )));
        }
        if queue.is_remote() && !queue.spool && queue.ack == Ack::Spool {
            return Err(ConfigError(format!(
                "{}: acknowledging from the spool needs the spool; take --spool off out, or --ack spool",
                origin("queue.ack")
            )));
        }
        if queue.spool_bytes_max < bounds::SPOOL_BYTES_FLOOR {
            return Err(ConfigError(format!(
                "{}: the spool's bound is {}; it must be {} at least",
                origin("spool.max"),
                ByteSize(queue.spool_bytes_max),
                ByteSize(bounds::SPOOL_BYTES_FLOOR)
            )));
        }
        Ok(())
    }

    fn limits(&mut self, file: file::Limits) -> Result<Limits, ConfigError> {
        let size = ByteSize;
        let time = HumanDuration;
        let limits = Limits {
            body_bytes_max: self.file("limits.body_max", file.body_max, size(bounds::BODY_BYTES_MAX)).0,
            body_timeout: self.file("limits.body_timeout", file.body_timeout, time(bounds::BODY_TIMEOUT)).0,
            body_rate_min_bytes_per_s: self
                .file("limits.body_rate_min", file.body_rate_min, size(bounds::BODY_RATE_MIN_BYTES_PER_S))
                .0,
            body_memory_bytes_max: self
                .file("limits.body_memory_max", file.body_memory_max, size(bounds::BODY_MEMORY_MAX))
                .0,
            headers_max: self.file("limits.headers_max", file.headers_max, bounds::HEADERS_MAX),
            headers_bytes_max: self
                .file("limits.headers_bytes_max", file.headers_bytes_max, size(bounds::HEADERS_BYTES_MAX))
                .0,
            header_timeout: self
                .file("limits.header_timeout", file.header_timeout, time(bounds::HEADER_TIMEOUT))
                .0,
            idle_timeout: self.file("limits.idle_timeout", file.idle_timeout, time(bounds::IDLE_TIMEOUT)).0,
            connections_max: self.file(
                "limits.connections_max",
                file.connections_max,
                bounds::CONNECTIONS_MAX,
            ),
            connections_per_address_max: self
                .in_file("limits.connections_per_address_max", file.connections_per_address_max),
            rejections_max: bounds::REJECTIONS_MAX,
            in_flight_max: self.file("limits.in_flight_max", file.in_flight_max, bounds::IN_FLIGHT_MAX),
        };
        self.check_limits(&limits)?;
        Ok(limits)
    }

    fn check_limits(&self, limits: &Limits) -> Result<(), ConfigError> {
        let floors = [
            ("limits.headers_bytes_max", limits.headers_bytes_max, bounds::HEADERS_BYTES_FLOOR),
            ("limits.headers_max", limits.headers_max, 1),
            ("limits.connections_max", limits.connections_max, 1),
            ("limits.connections_per_address_max", limits.connections_per_address_max.unwrap_or(1), 1),
            ("limits.in_flight_max", limits.in_flight_max, 1),
            ("limits.body_memory_max", limits.body_memory_bytes_max, 8 * bounds::SMALL_BODY_BYTES),
            ("limits.header_timeout (in ms)", limits.header_timeout.as_millis() as u64, 1),
            ("limits.body_timeout (in ms)", limits.body_timeout.as_millis() as u64, 1),
            ("limits.idle_timeout (in ms)", limits.idle_timeout.as_millis() as u64, 1),
        ];
        match floors.iter().find(|(_, value, floor)| value < floor) {
            Some((key, value, floor)) => {
                let origin = self.shown.iter().find(|s| key.starts_with(s.key)).map_or("", |s| &s.origin);
                Err(ConfigError(format!("{origin}: {key} is {value}; it must be {floor} at least")))
            }
            None => Ok(()),
        }
    }
}

fn check_backend(backend: &str) -> Result<(), ConfigError> {
    if crate::backend::NAMES.contains(&backend) {
        return Ok(());
    }
    Err(ConfigError(format!(
        "there is no queue backend `{backend}` in this build; it has: {}",
        crate::backend::NAMES.join(", ")
    )))
}

/// Whether every backend could have a queue of that name.
///
/// # Errors
/// Says what a name may be made of.
pub fn check_queue_name(name: &str) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 200 || !name.chars().all(plain) {
        return Err(ConfigError(format!(
            "`{name}` can't be a queue's name; use letters, digits, `-`, `_` and `.`"
        )));
    }
    Ok(())
}

/// Addresses are looked up when they are bound; here they must look like such, and not be the same.
fn check_addresses(shown: &[Shown]) -> Result<(), ConfigError> {
    let shown = |key: &str| shown.iter().find(|shown| shown.key == key);
    let mut ports = Vec::new();
    for address in ["listen", "ops_listen"].into_iter().filter_map(shown) {
        if address.key == "ops_listen" && address.value == "off" {
            continue;
        }
        let port = checked_address(&address.value, address.key, &address.origin)?;
        if port.1 != 0 && ports.contains(&port) {
            return Err(ConfigError(format!(
                "{}: listen and ops_listen are both {}; give one of them another port",
                address.origin, address.value
            )));
        }
        ports.push(port);
    }
    Ok(())
}

/// Host and port of an address.
pub(super) fn checked_address<'a>(
    address: &'a str,
    key: &str,
    origin: &str,
) -> Result<(&'a str, u16), ConfigError> {
    let parts = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    parts.and_then(|(host, port)| Some((host, port.parse().ok()?))).ok_or_else(|| {
        ConfigError(format!(
            "{origin}: {key} is `{address}`; write HOST:PORT, e.g. 127.0.0.1:8080 or 0.0.0.0:8080"
        ))
    })
}

pub(super) fn checked_public_url(url: String) -> Result<String, ConfigError> {
    let wrong =
        || ConfigError(format!("public_url `{url}` is not a base URL; write https://hooks.example.com"));
    let parsed: http::Uri = url.parse().map_err(|_| wrong())?;
    let web = matches!(parsed.scheme_str(), Some("http" | "https"));
    if !web || parsed.authority().is_none() || parsed.query().is_some() {
        return Err(wrong());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn checked_base_path(path: &str) -> Result<String, ConfigError> {
    let trimmed = path.trim_end_matches('/');
    let plain = trimmed.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'%' | b'?' | b'#'));
    if !plain || !(trimmed.is_empty() || trimmed.starts_with('/')) {
        return Err(ConfigError(format!("base_path `{path}` is not a path; write /hooks")));
    }
    Ok(trimmed.to_owned())
}

/// Variables that look like ours and aren't: most likely spelled wrongly.
fn unknown_variables() -> Vec<String> {
    use clap::CommandFactory;
    let command = crate::cli::Cli::command();
    let known: Vec<String> = command
        .get_subcommands()
        .flat_map(|c| c.get_arguments())
        .filter_map(|a| a.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let mut unknown: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("SLUICED_") && !receivers::is_receiver_variable(name))
        .filter(|name| !known.contains(name))
        .collect();
    unknown.sort();
    let hint = |name: &String| {
        let nearest = file::nearest(name, known.iter().map(String::as_str)).unwrap_or_default();
        format!("the variable {name} means nothing to sluiced; did you mean {nearest}?")
    };
    unknown.iter().map(hint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port_and_differ() {
        let check = |listen: &str, ops: &str| {
            let shown = |key, value: &str| Shown { key, value: value.into(), origin: "--listen".into() };
            check_addresses(&[shown("listen", listen), shown("ops_listen", ops)]).is_ok()
        };
        for (listen, ops) in [("127.0.0.1:8080", "off"), ("[::]:80", "localhost:81"), ("a:0", "a:0")] {
            assert!(check(listen, ops), "{listen} {ops}");
        }
        for listen in ["", "nohost", "127.0.0.1", "127.0.0.1:99999", ":8080", "8080", "off"] {
            assert!(!check(listen, "off"), "{listen}");
        }
        assert!(!check("h:80", "h:80"), "the same");
    }

    #[test]
    fn base_paths_and_public_urls_are_checked() {
        assert_eq!(checked_base_path("/hooks/").unwrap(), "/hooks");
        assert_eq!(checked_base_path("/").unwrap(), "");
        assert!(checked_base_path("hooks").is_err() && checked_base_path("/a b").is_err());
        assert_eq!(checked_public_url("https://h.example/".into()).unwrap(), "https://h.example");
        for wrong in ["h.example", "ftp://h.example", "https://", "https://h.example/?a=b"] {
            assert!(checked_public_url(wrong.into()).is_err(), "{wrong}");
        }
    }
}
