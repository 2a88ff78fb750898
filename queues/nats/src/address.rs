//! Servers as users write them, and the credentials that stand in them.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::options::OptionsError;
use crate::secret::Secret;

/// One server.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// Without credentials, since the client library shows it in its errors.
    pub(crate) server: ServerAddr,
    /// Out of the URL; the client library wouldn't look at them.
    pub(crate) login: Option<UrlLogin>,
    /// `host:port`, for logs.
    pub(crate) shown: String,
}

/// Credentials that stand in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UrlLogin {
    /// `USER:PASSWORD@`
    User(String, Secret),
    /// `TOKEN@`
    Token(Secret),
}

/// Reads URLs; each text may hold several, separated by commas.
pub(crate) fn parse_all(urls: &[String]) -> Result<Vec<Address>, OptionsError> {
    let texts = urls.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let addresses: Vec<_> = texts.map(parse).collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(OptionsError("the NATS URL is empty; write nats://HOST:4222".into()));
    }
    Ok(addresses)
}

fn parse(text: &str) -> Result<Address, OptionsError> {
    let shown = without_credentials(text);
    let wrong = |why: &str| {
        OptionsError(format!("`{shown}` is no NATS URL: {why}; write nats://HOST:4222 or tls://HOST:4222"))
    };
    let url: ServerAddr = text.parse().map_err(|_| wrong("it can't be read"))?;
    let (scheme, host) = (url.scheme(), url.host());
    if !matches!(scheme, "nats" | "tls") {
        return Err(wrong("its scheme is unknown"));
    }
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
    let login = match (url.username().map(decode), url.password().map(decode)) {
        (None, None) => None,
        (Some(Ok(token)), None) => Some(UrlLogin::Token(token.into())),
        (Some(Ok(user)), Some(Ok(password))) => Some(UrlLogin::User(user, password.into())),
        (None, Some(_)) => return Err(wrong("it has a password without a user")),
        _ => return Err(wrong("its credentials aren't percent-encoded UTF-8")),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let shown = format!("{host}:{}", url.port());
    let server = format!("{scheme}://{shown}").parse().map_err(|_| wrong("it can't be read"))?;
    Ok(Address { server, login, shown })
}

/// A server that another one told about.
pub(crate) fn discovered(text: &str, like: &Address) -> Option<Address> {
    let scheme = like.server.scheme();
    let address = parse(&format!("{scheme}://{text}")).ok()?;
    Some(Address { login: like.login.clone(), ..address })
}

/// For errors and logs: what stands before the host is left out.
pub(crate) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{host}"),
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Address, OptionsError> {
        parse_all(&[text.to_owned()]).map(|mut all| all.remove(0))
    }

    #[test]
    fn credentials_are_taken_out_of_a_url_and_decoded() {
        let address = one("nats://me%40here:p%2Cw%3A@broker.example:5222").unwrap();
        assert_eq!(address.login, Some(UrlLogin::User("me@here".into(), "p,w:".into())));
        assert_eq!(address.shown, "broker.example:5222");
        assert!(!format!("{address:?}").contains("p,w"), "{address:?}");
        assert!(!address.server.has_user_pass());

        let address = one("tls://t0ken@[::1]").unwrap();
        assert_eq!(address.login, Some(UrlLogin::Token("t0ken".into())));
        assert_eq!(address.shown, "[::1]:4222");
        assert!(address.server.tls_required());
        assert_eq!(one("broker").unwrap().shown, "broker:4222");
    }

    #[test]
    fn one_text_may_hold_several_servers() {
        let all = parse_all(&["nats://a, nats://b:1".into(), "tls://c".into()]).unwrap();
        let shown: Vec<_> = all.iter().map(|address| address.shown.as_str()).collect();
        assert_eq!(shown, ["a:4222", "b:1", "c:4222"]);
    }

    #[test]
    fn a_url_that_is_none_is_an_error_without_its_credentials() {
        for wrong in [
            "amqp://u:s3cret@h",
            "nats://u:s3cret@",
            "nats://u:s3cret@h:port",
            "wss://u:s3cret@h",
            "nats://:s3cret@h",
        ] {
            let error = one(wrong).unwrap_err().to_string();
            assert!(error.contains("nats://HOST:4222"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(parse_all(&[]).is_err());
    }
}
