//! What an operator sets.

use std::fmt;
use std::time::Duration;

use sluiced_queue::Format;

use crate::{bounds, name};

/// How to reach the queue, and what goes into it. Its `Debug` shows no credentials.
#[derive(Clone)]
pub struct Options {
    /// Where the queue is and who we are: a connection string as the Azure portal shows it, or an endpoint
    /// (`https://ACCOUNT.queue.core.windows.net`), with a SAS as its query or else with Entra ID.
    pub url: String,
    /// The queue: 3 to 63 of a–z, 0–9 and single hyphens.
    pub queue_name: String,
    /// What stands in a message, before base64. [`Format::Raw`] isn't possible: Azure has no message headers.
    pub format: Format,
    /// Whether a missing queue is created.
    pub declare: bool,
    /// The queue handler that this is, for the log; `None` for the default one. Azure carries no message id of
    /// ours beside the body, so nothing else depends on it.
    pub handler: Option<String>,
    /// A limit below Azure's own 49,152 bytes before base64; one above it has no effect.
    pub message_bytes_max: Option<usize>,
    /// A publish ends by then.
    pub publish_deadline: Duration,
    /// Sends under way at once, each on a connection of its own.
    pub concurrency: usize,
    /// Which Entra ID identity to use, where `url` carries no key and no SAS.
    pub credential: Credential,
    /// The directory of the application, for [`Credential::ClientSecret`] and [`Credential::WorkloadIdentity`].
    pub tenant_id: Option<String>,
    /// The application, or the user-assigned managed identity.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<String>,
}

/// Who asks Entra ID for a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credential {
    /// The client secret if there is one, workload identity where `AZURE_FEDERATED_TOKEN_FILE` is set, and
    /// managed identity otherwise, of `AZURE_CLIENT_ID` if that is set.
    #[default]
    Auto,
    /// The identity of the virtual machine, the container app or the app service.
    ManagedIdentity,
    /// The identity of a Kubernetes service account. What isn't in the options comes from `AZURE_TENANT_ID`,
    /// `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE`, which Azure's webhook sets.
    WorkloadIdentity,
    /// An application with a secret.
    ClientSecret,
}

impl std::str::FromStr for Credential {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "managed-identity" => Ok(Self::ManagedIdentity),
            "workload-identity" => Ok(Self::WorkloadIdentity),
            "client-secret" => Ok(Self::ClientSecret),
            other => Err(format!(
                "there is no credential `{}`; there are auto, managed-identity, workload-identity and client-secret",
                other.escape_debug()
            )),
        }
    }
}

/// What a handler of its own may choose: another queue of the same account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The queue; `None` for that of the options.
    pub queue_name: Option<String>,
}

/// What is wrong with the options, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(pub(crate) String);

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            queue_name: "webhooks".into(),
            format: Format::Context,
            declare: true,
            handler: None,
            message_bytes_max: None,
            publish_deadline: bounds::PUBLISH_DEADLINE,
            concurrency: bounds::SENDS_MAX,
            credential: Credential::Auto,
            tenant_id: None,
            client_id: None,
            client_secret: None,
        }
    }
}

impl Options {
    /// What can be told without asking anybody, `url` apart.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        name::check(&self.queue_name).map_err(OptionsError)?;
        if self.format == Format::Raw {
            return Err(OptionsError(
                "format = \"raw\" puts the context into message headers, and Azure Storage Queue has none; take \
                 \"context\" or \"cloudevents\""
                    .into(),
            ));
        }
        if !(1..=bounds::SENDS_LIMIT).contains(&self.concurrency) {
            return Err(OptionsError(format!("concurrency must be 1 to {}", bounds::SENDS_LIMIT)));
        }
        if self.publish_deadline <= bounds::SEND_LEAST || self.publish_deadline > bounds::READ_DEADLINE {
            let (least, most) = (bounds::SEND_LEAST.as_millis(), bounds::READ_DEADLINE.as_secs());
            return Err(OptionsError(format!(
                "publish_deadline must be above {least} ms and at most {most} s"
            )));
        }
        Ok(())
    }

    /// The longest message, before base64.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.unwrap_or(usize::MAX).min(bounds::MESSAGE_BYTES_MAX)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &"***")
            .field("queue_name", &self.queue_name)
            .field("format", &self.format)
            .field("declare", &self.declare)
            .field("handler", &self.handler)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("publish_deadline", &self.publish_deadline)
            .field("concurrency", &self.concurrency)
            .field("credential", &self.credential)
            .field("tenant_id", &self.tenant_id)
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret.as_ref().map(|_| "***"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Options)) -> String {
        let mut options = Options::default();
        change(&mut options);
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn debug_shows_no_credentials() {
        let options = Options {
            url: "AccountName=a;AccountKey=c2VjcmV0".into(),
            client_secret: Some("hush".into()),
            ..Options::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn what_azure_does_not_do_is_refused_with_the_way_out() {
        assert_eq!(Options::default().check(), Ok(()));
        assert!(wrong(|o| o.format = Format::Raw).contains("cloudevents"));
        assert!(wrong(|o| o.queue_name = "Web_Hooks".into()).contains("`web-hooks` would do"));
        assert!(wrong(|o| o.concurrency = 0).contains("1 to 512"));
        assert!(wrong(|o| o.publish_deadline = Duration::ZERO).contains("120 s"));
        assert!("managed".parse::<Credential>().unwrap_err().contains("managed-identity"));
    }

    #[test]
    fn the_limit_is_azures_or_a_lower_one() {
        let limit = |max| Options { message_bytes_max: max, ..Options::default() }.message_bytes_max();
        assert_eq!((limit(None), limit(Some(1_000)), limit(Some(1 << 20))), (49_152, 1_000, 49_152));
    }
}
