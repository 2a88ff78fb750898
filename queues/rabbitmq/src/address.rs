//! The broker's addresses: URIs as RabbitMQ's users write them.

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};

use crate::bounds::{self, SPARE_CHANNELS};
use crate::options::{Options, OptionsError};

/// A broker's address that has been read.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) uri: AMQPUri,
}

impl Address {
    /// Reads all of them.
    pub(crate) fn read_all(options: &Options) -> Result<Vec<Self>, OptionsError> {
        if options.url.is_empty() {
            return Err(OptionsError("there is no URL: give amqp://USER:PASSWORD@HOST:5672/VHOST".into()));
        }
        options.url.iter().enumerate().map(|(i, text)| Self::read(text, i, options)).collect()
    }

    /// The text may hold a password, so an error names its place and not it.
    fn read(text: &str, index: usize, options: &Options) -> Result<Self, OptionsError> {
        let wrong = |why: String| OptionsError(format!("URL {} of the broker: {why}", index + 1));
        let mut uri: AMQPUri = text.trim().parse().map_err(|_| {
            wrong(
                "not of the form amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps://…:5671/… for TLS; \
                   special characters in user and password are percent-encoded"
                    .into(),
            )
        })?;
        // What looks like a path or a parameter is part of a password then, and would be shown as one.
        if behind_authority(text).contains('@') {
            return Err(wrong(
                "there is an @ behind the host: in user and password write / ? # and @ as %2F %3F %23 %40"
                    .into(),
            ));
        }
        if let Some(host) = bracketed_host(text) {
            // The library's parser would take such a host for none and go to localhost.
            uri.authority.host = host.to_owned();
        }
        if uri.vhost.is_empty() {
            uri.vhost = "/".into();
        }
        if uri.vhost.len() > bounds::SHORT_STRING_BYTES_MAX {
            return Err(wrong("the virtual host's name is too long for AMQP".into()));
        }
        check_query(text).map_err(wrong)?;
        if uri.query.heartbeat == Some(0) {
            return Err(wrong(
                "heartbeat=0 would leave a frozen broker unnoticed: give seconds, such as 5".into(),
            ));
        }
        let seconds = u16::try_from(options.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(seconds);
        if uri
            .query
            .channel_max
            .is_some_and(|max| max != 0 && usize::from(max) < options.channels + SPARE_CHANNELS)
        {
            return Err(wrong(format!(
                "channel_max is too small for channels = {} and {SPARE_CHANNELS} more",
                options.channels
            )));
        }
        let has_certificate = options.client_cert_file.is_some();
        if has_certificate && uri.scheme == AMQPScheme::AMQP {
            return Err(wrong("client_cert_file needs amqps://".into()));
        }
        if uri.query.auth_mechanism == Some(SASLMechanism::External) && !has_certificate {
            return Err(wrong("auth_mechanism=external needs client_cert_file and client_key_file".into()));
        }
        Ok(Self { uri })
    }

    /// `host:port`, for logs.
    pub(crate) fn host_port(&self) -> String {
        let authority = &self.uri.authority;
        match authority.host.contains(':') {
            true => format!("[{}]:{}", authority.host, authority.port),
            false => format!("{}:{}", authority.host, authority.port),
        }
    }
}

/// Parameters that the library reads; it would overlook any other in silence.
const PARAMETERS: [&str; 5] =
    ["heartbeat", "frame_max", "channel_max", "connection_timeout", "auth_mechanism"];

fn check_query(text: &str) -> Result<(), String> {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = pair.split('=').next().unwrap_or_default();
        if PARAMETERS.contains(&key) {
            continue;
        }
        let instead = match key {
            "cacertfile" => "; give the file as `ca_file`",
            "certfile" => "; give the file as `client_cert_file`",
            "keyfile" => "; give the file as `client_key_file`",
            _ => "",
        };
        return Err(format!("unknown parameter `{key}`{instead}; there are {}", PARAMETERS.join(", ")));
    }
    Ok(())
}

/// Path, parameters and the like, as they are written.
fn behind_authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    rest.find(['/', '?', '#']).map_or("", |at| &rest[at..])
}

/// The host of `amqp://user@[2001:db8::1]:5672/`, without the brackets.
fn bracketed_host(text: &str) -> Option<&str> {
    let authority = text.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.strip_prefix('[')?.split_once(']').map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, String> {
        let options = Options { url: vec![url.into()], ..Options::default() };
        Address::read_all(&options).map(|mut all| all.remove(0)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_ip6_address_is_not_taken_for_localhost() {
        let address = read("amqp://user:p%40ss@[2001:db8::1]:5673/%2f").unwrap();
        assert_eq!(address.uri.authority.host, "2001:db8::1");
        assert_eq!(address.host_port(), "[2001:db8::1]:5673");
        assert_eq!(read("amqp://10.0.0.1").unwrap().host_port(), "10.0.0.1:5672");
    }

    #[test]
    fn a_slash_at_the_end_is_the_default_virtual_host() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f", "amqp://h/%2F?heartbeat=7"] {
            assert_eq!(read(url).unwrap().uri.vhost, "/", "{url}");
        }
        assert_eq!(read("amqp://h/a%2fb").unwrap().uri.vhost, "a/b");
    }

    #[test]
    fn the_uri_has_the_last_word_on_the_heartbeat() {
        assert_eq!(read("amqp://h").unwrap().uri.query.heartbeat, Some(5));
        assert_eq!(read("amqp://h?heartbeat=9").unwrap().uri.query.heartbeat, Some(9));
        assert!(read("amqp://h?heartbeat=0").is_err());
    }

    #[test]
    fn what_cannot_be_right_is_named_without_the_password() {
        for url in
            ["", "http://u:made-up@h", "u:made-up@h", "amqp://u:made-up@h:port", "amqp://u:made-up@h?x=1"]
        {
            let Err(error) = read(url) else { panic!("{url} was read") };
            assert!(!error.contains("made-up"), "{error}");
        }
        for url in
            ["amqp://u:1?made-up@h/x", "amqp://u:1/made-up@h?x", "amqp://u:1#made-up@h", "amqp://u?made-up@h"]
        {
            let Err(error) = read(url) else { panic!("{url} was read") };
            assert!(error.contains("URL 1") && !error.contains("made-up"), "{error}");
        }
        assert!(read("amqps://h?cacertfile=/x").err().unwrap().contains("`ca_file`"));
        assert!(read("amqp://h?channel_max=10").err().unwrap().contains("channels"));
        assert!(read("amqps://h?auth_mechanism=external").err().unwrap().contains("client_cert_file"));
        let long = format!("amqp://h/{}", "v".repeat(300));
        assert!(read(&long).err().unwrap().contains("virtual host"));
    }
}
