//! Documents that schemes need and that somebody else fetches: key sets and certificates.

use std::sync::Arc;

use bytes::Bytes;
use zeroize::Zeroizing;

/// A document to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// Where it is: `https` and a host that the row allows. A fragment tells apart what one address gives to
    /// different questions.
    pub url: String,
    /// What is asked there.
    pub ask: Ask,
    /// The version that was tried and doesn't do; `None` when there was none.
    pub beyond: Option<u64>,
}

/// How a document is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ask {
    /// As anybody may.
    #[default]
    Get,
    /// By posting this JSON, which holds credentials.
    Post(Credential),
    /// With a token that the client's credentials are exchanged for.
    Bearer(Arc<Client>),
}

/// An OAuth client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where the token is had.
    pub token_url: String,
    /// `id:secret`.
    pub credentials: Credential,
    /// What the token is for.
    pub scope: String,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Arc<Zeroizing<String>>);

impl Credential {
    /// Takes the text over.
    pub(crate) fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The text, for the request alone.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A fetched document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDocument {
    /// As received.
    pub bytes: Bytes,
    /// Grows with each time that it is fetched.
    pub version: u64,
    /// Whether asking once more is pointless: it was fetched a moment ago.
    pub is_current: bool,
}

/// What has been fetched for one delivery.
#[derive(Clone, Debug, Default)]
pub struct Fetched(Vec<(String, KeyDocument)>);

impl Fetched {
    /// Adds a document, in place of an older one.
    pub fn put(&mut self, url: String, document: KeyDocument) {
        self.0.retain(|(known, _)| *known != url);
        self.0.push((url, document));
    }

    /// The document of that address.
    pub(super) fn get(&self, url: &str) -> Option<&KeyDocument> {
        self.0.iter().find(|(known, _)| known.eq(url)).map(|(_, document)| document)
    }
}
