//! Options, checked.

use std::path::Path;
use std::time::Duration;

use async_nats::ConnectOptions;

use crate::address::{self, Address};
use crate::bounds;
use crate::credentials::Credentials;
use crate::options::{Options, OptionsError};
use crate::subject;

/// How servers are reached.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) addresses: Vec<Address>,
    pub(crate) options: Options,
    credentials: Credentials,
}

impl Settings {
    /// Checks what has to do with the connection.
    pub(crate) fn of(options: &Options) -> Result<Self, OptionsError> {
        let addresses = address::parse_all(&options.url)?;
        let credentials = Credentials::of(options)?;
        if options.tls_cert.is_some() != options.tls_key.is_some() {
            return Err(OptionsError("tls_cert and tls_key are given together or not at all".into()));
        }
        for file in [&options.tls_ca, &options.tls_cert, &options.tls_key].into_iter().flatten() {
            readable(file)?;
        }
        within("publish_deadline", options.publish_deadline, Duration::from_millis(10))?;
        within("ack_timeout", options.ack_timeout, Duration::from_millis(10))?;
        within("ping_interval", options.ping_interval, Duration::from_millis(50))?;
        if let Some(domain) = options.domain.as_deref().filter(|domain| !subject::is_name(domain)) {
            return Err(OptionsError(format!(
                "`{domain}` can't be a JetStream domain: no white space, dots or wildcards"
            )));
        }
        if let Some(prefix) = options.inbox_prefix.as_deref().filter(|prefix| !subject::is_literal(prefix)) {
            return Err(OptionsError(format!(
                "`{prefix}` can't be the prefix of inboxes: no white space, wildcards or empty parts; an example \
                 is `_INBOX_sluiced`"
            )));
        }
        Ok(Self { addresses, options: options.clone(), credentials })
    }

    /// What one connection to one server is made with. Files are read each time: they may have been
    /// replaced.
    ///
    /// The client library is to make one attempt, and none after it has lost the connection: a supervisor of
    /// ours reconnects, with a new client. The lost one's waiters then fail at once instead of waiting for an
    /// acknowledgement that can't come any more, and what it remembers of them goes with it.
    pub(crate) fn connect_options(&self, address: &Address) -> Result<ConnectOptions, String> {
        let mut options = self
            .credentials
            .apply(ConnectOptions::new(), address.login.as_ref())?
            .name("sluiced")
            .max_reconnects(1)
            .reconnect_delay_callback(|_| Duration::ZERO)
            .ignore_discovered_servers()
            .connection_timeout(bounds::CONNECT_TIMEOUT)
            .request_timeout(Some(bounds::API_TIMEOUT))
            .ping_interval(self.options.ping_interval)
            .client_capacity(bounds::CLIENT_CAPACITY);
        if let Some(file) = &self.options.tls_ca {
            options = options.add_root_certificates(file.clone());
        }
        if let (Some(cert), Some(key)) = (&self.options.tls_cert, &self.options.tls_key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        if self.options.tls_ca.is_some() || self.options.tls_cert.is_some() || self.options.tls_first {
            options = options.require_tls(true);
        }
        if self.options.tls_first {
            options = options.tls_first();
        }
        if let Some(prefix) = &self.options.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        Ok(options)
    }
}

fn readable(file: &Path) -> Result<(), OptionsError> {
    std::fs::File::open(file)
        .map(drop)
        .map_err(|error| OptionsError(format!("{} can't be read: {error}", file.display())))
}

fn within(name: &str, value: Duration, min: Duration) -> Result<(), OptionsError> {
    let max = bounds::OPTION_MAX;
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(OptionsError(format!("{name} is {value:?}; it must be between {min:?} and {max:?}")))
}
