//! Why a row and a receiver's settings don't make a verifier, and the way out.

use thiserror::Error;

/// Found at start, never on a request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// No secret where one is needed.
    #[error("{provider} needs a secret: {what}")]
    SecretMissing {
        /// The row.
        provider: String,
        /// What to give.
        what: String,
    },
    /// A secret that can't be one.
    #[error("the secret of {provider} can't be used: {problem}")]
    SecretUnusable {
        /// The row.
        provider: String,
        /// What is wrong and what to do; without the secret.
        problem: String,
    },
    /// A setting that the row requires.
    #[error("{provider} needs the setting {name}: {doc}")]
    SettingMissing {
        /// The row.
        provider: String,
        /// The setting.
        name: String,
        /// What it is.
        doc: String,
    },
    /// A setting that the row doesn't have.
    #[error("{provider} has no setting {name}; it has {known}")]
    SettingUnknown {
        /// The row.
        provider: String,
        /// The setting as given.
        name: String,
        /// What there is.
        known: String,
    },
    /// A setting's value that can't be used.
    #[error("the setting {name} can't be used: {problem}")]
    SettingUnusable {
        /// The setting.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A scheme that the row doesn't have.
    #[error("{provider} has no scheme {name}; it has {known}")]
    SchemeUnknown {
        /// The row.
        provider: String,
        /// The scheme as given.
        name: String,
        /// What there is.
        known: String,
    },
    /// Every scheme of the row must be asked for.
    #[error("{provider} verifies nothing unless asked to: set schemes to one of {known}")]
    SchemeNotChosen {
        /// The row.
        provider: String,
        /// What there is.
        known: String,
    },
    /// The provider signs its URL.
    #[error("{provider} signs the URL that it calls: set public_url to what the sender was given")]
    PublicUrlMissing {
        /// The row.
        provider: String,
    },
    /// A public URL that is none.
    #[error("{url:?} is no absolute http or https URL")]
    PublicUrlUnusable {
        /// As given.
        url: String,
    },
    /// A word of a row that isn't one of those known.
    #[error("{value:?} is no {field}; known are {known}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// As given.
        value: String,
        /// What there is.
        known: &'static str,
    },
    /// A field of a row that can't be parsed.
    #[error("{text:?} is no {what}: {problem}")]
    Malformed {
        /// Source, template, …
        what: &'static str,
        /// As given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A scheme that couldn't verify anything, or would verify nothing.
    #[error("it can't verify: {problem}")]
    Incomplete {
        /// What is missing.
        problem: &'static str,
    },
    /// A timestamp that the message leaves out.
    #[error(
        "the timestamp isn't in the signed message, so it proves nothing: put {{timestamp}} into the message"
    )]
    TimestampNotSigned,
    /// An error within a part of a row.
    #[error("{provider}, {part}: {source}")]
    In {
        /// The row.
        provider: String,
        /// The scheme or handshake.
        part: String,
        /// What is wrong there.
        source: Box<CompileError>,
    },
}

impl CompileError {
    pub(super) fn unknown(field: &'static str, value: &str, known: &'static str) -> Self {
        Self::Unknown { field, value: value.to_owned(), known }
    }

    pub(super) fn malformed(what: &'static str, text: &str, problem: &'static str) -> Self {
        Self::Malformed { what, text: text.to_owned(), problem }
    }

    pub(super) fn within(self, provider: &str, part: &str) -> Self {
        Self::In { provider: provider.to_owned(), part: part.to_owned(), source: Box::new(self) }
    }
}
