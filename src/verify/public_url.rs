//! The URL that the sender was given: what URL-signing providers sign, never taken from Host.

use std::borrow::Cow;

use http::Uri;

use super::error::CompileError;

/// An absolute http or https URL, and whether the request's path and query are appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    whole: bool,
}

impl PublicUrl {
    /// What stands before the path as received, such as the daemon's `public_url`; a slash at its end is
    /// dropped.
    pub fn base(url: &str) -> Result<Self, CompileError> {
        check(url)?;
        if url.contains('?') {
            return Err(CompileError::PublicUrlUnusable { url: url.to_owned() });
        }
        Ok(Self { text: url.trim_end_matches('/').to_owned(), whole: false })
    }

    /// The whole URL as the sender has it; without a path it is a base.
    pub fn whole(url: &str) -> Result<Self, CompileError> {
        check(url)?;
        match after_authority(url) {
            "" => Self::base(url),
            _ => Ok(Self { text: url.to_owned(), whole: true }),
        }
    }

    /// The URL of a request with that target.
    pub(super) fn of(&self, target: &Uri) -> Cow<'_, str> {
        match self.whole {
            true => Cow::Borrowed(&self.text),
            false => Cow::Owned(format!("{}{}", self.text, path_and_query(target))),
        }
    }
}

/// Path and query as received.
pub(super) fn path_and_query(target: &Uri) -> &str {
    target.path_and_query().map_or("/", |target| target.as_str())
}

/// What follows scheme and authority.
pub(super) fn after_authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.find(['/', '?']).map_or("", |at| &rest[at..])
}

/// The same URL with its scheme's default port written out; `None` when it has a port.
pub(super) fn with_port(url: &str) -> Option<String> {
    let (scheme, authority, rest) = split(url)?;
    let default = default_port(scheme)?;
    port(authority).is_none().then(|| format!("{scheme}://{authority}:{default}{rest}"))
}

/// The same URL without its scheme's default port; `None` when it hasn't that port.
pub(super) fn without_port(url: &str) -> Option<String> {
    let (scheme, authority, rest) = split(url)?;
    let port =
        port(authority).filter(|port| default_port(scheme).is_some_and(|default| default.eq(*port)))?;
    let host = &authority[..authority.len() - port.len() - 1];
    Some(format!("{scheme}://{host}{rest}"))
}

fn check(url: &str) -> Result<(), CompileError> {
    let unusable = || CompileError::PublicUrlUnusable { url: url.to_owned() };
    let (scheme, authority, _) = split(url).ok_or_else(unusable)?;
    let usable = default_port(scheme).is_some()
        && !authority.is_empty()
        && !url.contains('#')
        && url.parse::<Uri>().is_ok();
    usable.then_some(()).ok_or_else(unusable)
}

fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some((scheme, &rest[..end], &rest[end..]))
}

fn port(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)
}

fn default_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        "https" => Some("443"),
        "http" => Some("80"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_the_target_to_a_base() {
        let target: Uri = "/in/x?a=%20".parse().unwrap();
        assert_eq!(
            PublicUrl::base("https://h.example/").unwrap().of(&target),
            "https://h.example/in/x?a=%20"
        );
        assert_eq!(
            PublicUrl::whole("https://h.example").unwrap().of(&target),
            "https://h.example/in/x?a=%20"
        );
        assert_eq!(PublicUrl::whole("https://h.example/y").unwrap().of(&target), "https://h.example/y");
    }

    #[test]
    fn refuses_what_is_no_url() {
        for url in [
            "h.example",
            "ftp://h.example",
            "https://",
            "https:///x",
            "https://h.example/ x",
            "https://h.example/?x",
            "https://h.example/#x",
        ] {
            assert!(PublicUrl::base(url).is_err(), "{url}");
        }
    }

    #[test]
    fn writes_ports_out_and_drops_them() {
        assert_eq!(with_port("https://h/x?y").as_deref(), Some("https://h:443/x?y"));
        assert_eq!(with_port("http://u:p@h").as_deref(), Some("http://u:p@h:80"));
        assert_eq!(with_port("https://h:8443/x"), None);
        assert_eq!(without_port("https://h:443/x").as_deref(), Some("https://h/x"));
        assert_eq!(without_port("https://h:80/x"), None);
        assert_eq!(without_port("https://[::1]/x"), None);
    }
}
