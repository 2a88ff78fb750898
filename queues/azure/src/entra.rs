//! Entra ID: which identity asks for tokens.

use std::sync::Arc;

use azure_core::cloud::CloudConfiguration;
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, Url};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};

use crate::options::{Credential, Options, OptionsError};
use crate::tokens::Tokens;
use crate::transport::{self, Proxies};

/// Tokens are asked for one at a time.
const TOKEN_CONNECTIONS: usize = 1;

/// Where Azure's webhook for Kubernetes puts the service account's token.
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";

/// The identity that the options choose.
pub(crate) fn credential(
    options: &Options,
    endpoint: &Url,
) -> Result<Arc<dyn TokenCredential>, OptionsError> {
    let identity = match chosen(options)? {
        Credential::ClientSecret => client_secret(options, endpoint)?,
        Credential::WorkloadIdentity => workload_identity(options, endpoint)?,
        Credential::ManagedIdentity | Credential::Auto => {
            managed_identity(options, transport::client_options(TOKEN_CONNECTIONS, Proxies::None)?)?
        }
    };
    Ok(Arc::new(Tokens::new(identity)))
}

/// What `auto` means here and now.
fn chosen(options: &Options) -> Result<Credential, OptionsError> {
    match options.credential {
        Credential::Auto if options.client_secret.is_some() => Ok(Credential::ClientSecret),
        Credential::Auto if is_set(TOKEN_FILE) => Ok(Credential::WorkloadIdentity),
        Credential::Auto => Ok(Credential::ManagedIdentity),
        Credential::ClientSecret => Ok(Credential::ClientSecret),
        other if options.client_secret.is_some() => Err(OptionsError(format!(
            "client_secret is set but {other:?} doesn't use it; take credential = \"client-secret\", or leave it out"
        ))),
        other => Ok(other),
    }
}

fn client_secret(options: &Options, endpoint: &Url) -> Result<Arc<dyn TokenCredential>, OptionsError> {
    let wanted = |value: &Option<String>, name: &str| {
        value
            .clone()
            .filter(|value| !value.is_empty())
            .ok_or_else(|| OptionsError(format!("credential = \"client-secret\" needs {name}")))
    };
    let tenant = wanted(&options.tenant_id, "tenant_id")?;
    let client = wanted(&options.client_id, "client_id")?;
    let secret = Secret::new(wanted(&options.client_secret, "client_secret")?);
    let settings = ClientSecretCredentialOptions { client_options: towards_entra(endpoint)? };
    let made = ClientSecretCredential::new(&tenant, client, secret, Some(settings));
    Ok(made.map_err(|error| wrong("client-secret", &error))?)
}

fn workload_identity(options: &Options, endpoint: &Url) -> Result<Arc<dyn TokenCredential>, OptionsError> {
    let settings = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options: towards_entra(endpoint)? },
        client_id: options.client_id.clone(),
        tenant_id: options.tenant_id.clone(),
        token_file_path: None,
    };
    let made = WorkloadIdentityCredential::new(Some(settings));
    Ok(made.map_err(|error| wrong("workload-identity", &error))?)
}

fn managed_identity(
    options: &Options,
    client_options: ClientOptions,
) -> Result<Arc<dyn TokenCredential>, OptionsError> {
    let of_environment = || std::env::var(CLIENT_ID).ok().filter(|id| !id.is_empty());
    let client_id = match options.credential {
        Credential::Auto => options.client_id.clone().or_else(of_environment),
        _ => options.client_id.clone(),
    };
    let settings = ManagedIdentityCredentialOptions {
        user_assigned_id: client_id.map(UserAssignedId::ClientId),
        client_options,
    };
    let made = ManagedIdentityCredential::new(Some(settings));
    Ok(made.map_err(|error| wrong("managed-identity", &error))?)
}

/// The cloud that the endpoint belongs to has an Entra ID of its own. Without one that is known
/// `AZURE_AUTHORITY_HOST` counts, or the public one.
fn towards_entra(endpoint: &Url) -> Result<ClientOptions, OptionsError> {
    let host = endpoint.host_str().unwrap_or_default();
    let cloud = if host.ends_with(".core.usgovcloudapi.net") {
        Some(CloudConfiguration::AzureGovernment)
    } else if host.ends_with(".core.chinacloudapi.cn") {
        Some(CloudConfiguration::AzureChina)
    } else {
        None
    };
    let options = transport::client_options(TOKEN_CONNECTIONS, Proxies::OfEnvironment)?;
    Ok(ClientOptions { cloud: cloud.map(Arc::new), ..options })
}

fn wrong(credential: &str, error: &azure_core::Error) -> OptionsError {
    OptionsError(format!("credential = \"{credential}\" can't be used: {error}"))
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "https://acme.queue.core.windows.net/";

    fn refused(options: Options) -> String {
        let made = credential(&options, &Url::parse(ENDPOINT).unwrap());
        made.expect_err("it can't be made").to_string()
    }

    #[test]
    fn what_a_client_secret_needs_is_named() {
        let with = |tenant: Option<&str>, client: Option<&str>| Options {
            credential: Credential::ClientSecret,
            tenant_id: tenant.map(Into::into),
            client_id: client.map(Into::into),
            ..Options::default()
        };
        assert!(refused(with(None, None)).contains("needs tenant_id"));
        assert!(refused(with(Some("t"), None)).contains("needs client_id"));
        assert!(refused(with(Some("t"), Some("c"))).contains("needs client_secret"));
    }

    #[test]
    fn a_secret_that_would_not_be_used_is_refused() {
        let options = Options {
            credential: Credential::ManagedIdentity,
            client_secret: Some("hush".into()),
            ..Options::default()
        };
        let error = refused(options);
        assert!(error.contains("client-secret") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn workload_identity_without_its_environment_says_what_is_missing() {
        let options = Options {
            credential: Credential::WorkloadIdentity,
            tenant_id: Some("t".into()),
            client_id: Some("c".into()),
            ..Options::default()
        };
        assert!(refused(options).contains("token file"));
    }

    #[test]
    fn each_credential_can_be_made() {
        let endpoint = Url::parse(ENDPOINT).unwrap();
        let secret = Options {
            tenant_id: Some("t".into()),
            client_id: Some("c".into()),
            client_secret: Some("hush".into()),
            ..Options::default()
        };
        assert!(credential(&secret, &endpoint).is_ok(), "auto takes the secret");
        let managed = Options { credential: Credential::ManagedIdentity, ..Options::default() };
        assert!(credential(&managed, &endpoint).is_ok());
    }

    /// Answers as the metadata service does, and keeps what it was asked.
    #[derive(Debug, Default)]
    struct Metadata(std::sync::Mutex<Vec<(String, Option<String>)>>);

    #[async_trait::async_trait]
    impl azure_core::http::HttpClient for Metadata {
        async fn execute_request(
            &self,
            request: &azure_core::http::Request,
        ) -> azure_core::Result<azure_core::http::AsyncRawResponse> {
            let header = request.headers().get_optional_string(&"metadata".into());
            self.0.lock().unwrap().push((request.url().to_string(), header));
            let body = "{\"access_token\":\"made.up\",\"expires_on\":\"4102444800\",\"token_type\":\"Bearer\",\
                        \"resource\":\"https://storage.azure.com\"}";
            let headers = azure_core::http::headers::Headers::new();
            Ok(azure_core::http::AsyncRawResponse::from_bytes(200.into(), headers, body))
        }
    }

    #[tokio::test]
    async fn a_virtual_machine_asks_its_metadata_service() {
        let metadata = Arc::new(Metadata::default());
        let client_options = ClientOptions {
            transport: Some(azure_core::http::Transport::new(metadata.clone())),
            ..ClientOptions::default()
        };
        let options = Options {
            credential: Credential::ManagedIdentity,
            client_id: Some("c".into()),
            ..Options::default()
        };
        let identity = managed_identity(&options, client_options).unwrap();
        let scopes = ["https://storage.azure.com/.default"];
        for _ in 0..2 {
            let token = Tokens::new(identity.clone()).get_token(&scopes, None).await.unwrap();
            assert_eq!(token.token.secret(), "made.up");
        }
        let url = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2019-08-01&\
                   resource=https%3A%2F%2Fstorage.azure.com&client_id=c";
        assert_eq!(*metadata.0.lock().unwrap(), [(url.to_owned(), Some("true".to_owned()))], "once for both");
    }
}
