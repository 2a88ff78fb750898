//! Who we are to the server.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;
use zeroize::Zeroizing;

use crate::address::UrlLogin;
use crate::bounds;
use crate::options::{Options, OptionsError};
use crate::secret::Secret;

/// One kind of credentials, as configured.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    None,
    Token(Secret),
    User(String, Secret),
    Nkey(Text),
    Creds(Text),
}

/// A text, or a file that holds it and may be replaced while we run.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Given(Secret),
    File(PathBuf),
}

impl Credentials {
    /// Chooses what is configured, and reads it once, so that a typing error is found at start.
    pub(crate) fn of(options: &Options) -> Result<Self, OptionsError> {
        let mut kinds = Vec::new();
        match (&options.user, &options.password) {
            (Some(user), Some(password)) => {
                kinds.push(("user", Self::User(user.clone(), password.clone())));
            }
            (None, None) => {}
            _ => {
                return Err(OptionsError(
                    "a NATS user and its password are given together or not at all".into(),
                ));
            }
        }
        let text = |given: &Option<Secret>, file: &Option<PathBuf>| {
            let given = given.clone().map(Text::Given);
            given.into_iter().chain(file.clone().map(Text::File))
        };
        kinds.extend(options.token.clone().map(|token| ("token", Self::Token(token))));
        kinds.extend(text(&options.nkey, &options.nkey_file).map(|text| ("nkey", Self::Nkey(text))));
        kinds.extend(text(&options.creds, &options.creds_file).map(|text| ("creds", Self::Creds(text))));
        if kinds.len() > 1 {
            let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
            return Err(OptionsError(format!(
                "NATS takes one kind of credentials; remove all but one of: {}",
                names.join(", ")
            )));
        }
        let credentials = kinds.pop().map_or(Self::None, |(_, credentials)| credentials);
        credentials.apply(ConnectOptions::new(), None).map_err(OptionsError)?;
        Ok(credentials)
    }

    /// Adds them to what a connection is made with.
    pub(crate) fn apply(
        &self,
        options: ConnectOptions,
        login: Option<&UrlLogin>,
    ) -> Result<ConnectOptions, String> {
        Ok(match (self, login) {
            (Self::None, None) => options,
            (Self::None, Some(UrlLogin::Token(token))) | (Self::Token(token), _) => {
                options.token(token.expose().into())
            }
            (Self::None, Some(UrlLogin::User(user, password))) | (Self::User(user, password), _) => {
                options.user_and_password(user.clone(), password.expose().into())
            }
            (Self::Nkey(text), _) => {
                let seed = text.read()?;
                let seed = seed.trim();
                let plain = seed.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
                if !seed.starts_with("SU") || !plain {
                    return Err(format!(
                        "{} holds no nkey's seed; one begins with SU",
                        text.named("the nkey")
                    ));
                }
                options.nkey(seed.into())
            }
            (Self::Creds(text), _) => {
                let creds = text.read()?;
                options.credentials(&creds).map_err(|error| {
                    format!("{} can't be read as NATS credentials: {error}", text.named("creds"))
                })?
            }
        })
    }
}

impl Text {
    fn read(&self) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Given(secret) => Ok(Zeroizing::new(secret.expose().to_owned())),
            Self::File(path) => {
                read_file(path).map_err(|error| format!("{} can't be read: {error}", path.display()))
            }
        }
    }

    fn named(&self, given: &str) -> String {
        match self {
            Self::Given(_) => given.to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.take(bounds::SECRET_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
