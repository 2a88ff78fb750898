//! Documents that schemes need and that somebody else fetches: key sets and certificates.

use bytes::Bytes;

/// A document to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// Where it is: `https` and a host that the row allows.
    pub url: String,
    /// The version that was tried and doesn't do; `None` when there was none.
    pub beyond: Option<u64>,
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
