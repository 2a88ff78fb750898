//! A row in a few words, for lists.

use std::borrow::Cow;

use super::row::{Row, Setting};
use super::scheme::{Scheme, VerifyBy};

impl Row {
    /// How it verifies, such as `hmac-sha256` or `token, basic`: the schemes that needn't be asked for, or all
    /// where every one must be.
    pub fn scheme(&self) -> String {
        let usual: Vec<&Scheme> = self.schemes.iter().filter(|scheme| !scheme.must_be_asked_for()).collect();
        let (schemes, note) = match usual.is_empty() {
            true => (self.schemes.iter().collect(), " (on request)"),
            false => (usual, ""),
        };
        let mut kinds: Vec<String> = schemes.into_iter().map(|scheme| self.kind(scheme)).collect();
        let mut seen = Vec::new();
        kinds.retain(|kind| {
            !seen.contains(kind) && {
                seen.push(kind.clone());
                true
            }
        });
        format!("{}{note}", kinds.join(", "))
    }

    /// What one scheme is: its algorithm, or its kind where that says more.
    pub fn kind(&self, scheme: &Scheme) -> String {
        let algorithm = self.with_defaults(&scheme.algorithm);
        match scheme.verify {
            VerifyBy::Hash => format!("{algorithm} hash"),
            VerifyBy::Named if algorithm.is_empty() => scheme.scheme.clone(),
            VerifyBy::Jwt => format!("jwt {}", scheme.algorithms.join("/")).trim_end().to_owned(),
            kind if algorithm.is_empty() => kind.as_str().to_owned(),
            _ => algorithm.into_owned(),
        }
    }

    /// A plain field with the defaults of its settings put in.
    pub fn with_defaults<'t>(&self, field: &'t str) -> Cow<'t, str> {
        let mut field = Cow::Borrowed(field);
        for (name, Setting { default, .. }) in &self.settings {
            let place = format!("{{set:{name}}}");
            if field.contains(&place) {
                field = Cow::Owned(field.replace(&place, default));
            }
        }
        field
    }

    /// The names of its handshakes.
    pub fn handshake_names(&self) -> impl Iterator<Item = &str> {
        self.handshakes.iter().map(|handshake| handshake.name.as_str())
    }

    /// Whether a receiver must be given a secret: not where the keys are published or the sender hands one over.
    pub fn needs_secret(&self) -> bool {
        let unpublished = |scheme: &Scheme| scheme.keys.is_none() && scheme.verify != VerifyBy::None;
        let mut usual = self.schemes.iter().filter(|scheme| !scheme.must_be_asked_for()).peekable();
        match usual.peek() {
            Some(_) => !self.captures() && usual.any(unpublished),
            None => self.schemes.first().is_some_and(unpublished),
        }
    }

    /// Whether the usual schemes or a handshake's answer take the URL that the sender was given.
    pub fn signs_url(&self) -> bool {
        let schemes = self.schemes.iter().filter(|scheme| !scheme.must_be_asked_for());
        // What its signatures cover they say themselves, and most cover the URL or a part of it.
        let says_itself = |scheme: &Scheme| scheme.scheme == "http-message-signatures";
        if schemes.clone().any(says_itself) {
            return true;
        }
        let signed = schemes.flat_map(|scheme| {
            let required = scheme.require.iter().filter_map(|condition| condition.equals.as_ref());
            let claimed = scheme.claims.iter().filter_map(|claim| claim.equals.as_ref());
            scheme.message.iter().chain(required).chain(claimed)
        });
        let answered = self.handshakes.iter().flat_map(|handshake| {
            handshake.respond.headers.values().chain(std::iter::once(&handshake.respond.body))
        });
        signed.chain(answered).any(|template| takes_url(template))
    }
}

impl Scheme {
    /// Whether it is used only when a receiver names it.
    pub fn must_be_asked_for(&self) -> bool {
        self.on_request || self.verify == VerifyBy::None
    }
}

fn takes_url(template: &str) -> bool {
    template.split('{').skip(1).any(|value| {
        let name = value.split(['}', '|']).next().unwrap_or_default();
        let names = name.strip_prefix("sorted:").unwrap_or(name);
        names.split(',').any(|name| matches!(name, "url" | "url_without_query" | "host"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{find, rows};
    use crate::verify::{CompileError, ReceiverSettings, Verifier};

    #[test]
    fn schemes_in_a_few_words() {
        for (name, scheme) in [
            ("github", "hmac-sha256"),
            ("generic-hmac", "hmac-sha256"),
            ("discord", "ed25519"),
            ("generic-token", "token"),
            ("livekit", "jwt HS256"),
            ("twilio", "hmac-sha1"),
            ("aws-sns", "aws-sns"),
            ("ebay", "ecdsa-p256-sha1"),
        ] {
            assert_eq!(find(name).unwrap().scheme(), scheme, "{name}");
        }
        for row in rows() {
            let scheme = row.scheme();
            assert!(!scheme.is_empty() && !scheme.contains(['{', '}']), "{}: {scheme}", row.name);
        }
    }

    #[test]
    fn who_signs_the_url_is_who_cant_do_without() {
        let mut seen = 0;
        for row in rows() {
            let settings = ReceiverSettings {
                secrets: vec!["0123456789abcdef0123456789abcdef".into()],
                settings: row
                    .settings
                    .iter()
                    .filter(|(_, setting)| setting.required)
                    .map(|(name, _)| (name.clone(), "x".into()))
                    .collect(),
                ..ReceiverSettings::default()
            };
            let wants_url = match Verifier::compile(row, &settings) {
                Ok(_) => false,
                Err(CompileError::PublicUrlMissing { .. }) => true,
                // A secret of another form, or nothing that needn't be asked for.
                Err(_) => continue,
            };
            assert_eq!(row.signs_url(), wants_url, "{}", row.name);
            seen += usize::from(wants_url);
        }
        assert!(seen > 3, "{seen}");
    }
}
