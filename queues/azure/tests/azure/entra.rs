//! Entra ID: what its token endpoint is asked, and that its token goes to the queue, over real TLS, to doubles of
//! both. The environment chooses the identity and says which certificates are trusted, so that what uses them runs
//! in a process of its own.

use std::path::Path;
use std::sync::Arc;

use sluiced_azure::{AzureQueue, Options};
use sluiced_queue::WebHookQueueHandler;
use tokio_rustls::TlsAcceptor;

use crate::double::{Asked, Double, Reply, there};
use crate::support::{DEADLINE, message};

const TENANT: &str = "8f0b2d1e-0000-4000-8000-000000000001";
const CLIENT: &str = "8f0b2d1e-0000-4000-8000-000000000002";
const SECRET: &str = "hush~made/up+secret";
const TOKEN: &str = "made.up.token";

/// A server's side of TLS for `localhost`, and the file with the certificate.
fn tls(dir: &Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("trusted.pem"), made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// As Entra ID gives it, and as the metadata service does.
fn token(asked: &Asked, _: usize) -> Reply {
    token_for(asked, 3_600)
}

/// One that should be replaced at once, and then nothing.
fn last_token(asked: &Asked, before: usize) -> Reply {
    if before == 0 { token_for(asked, 200) } else { Reply::Stall }
}

fn token_for(asked: &Asked, seconds: i64) -> Reply {
    assert!(asked.target.contains("token"), "{asked:?}");
    let managed = asked.method == "GET";
    let ends = jiff::Timestamp::now().as_second() + seconds;
    let life =
        if managed { format!("\"expires_on\":\"{ends}\"") } else { format!("\"expires_in\":{seconds}") };
    let body = format!(
        "{{\"token_type\":\"Bearer\",\"resource\":\"https://storage.azure.com\",{life},\"access_token\":\"{TOKEN}\"}}"
    );
    Reply::Say(200, vec![("content-type", "application/json".into())], body)
}

fn refused(_: &Asked, _: usize) -> Reply {
    let body = format!(
        "{{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client secret: {SECRET}\",\
         \"error_codes\":[7000215]}}"
    );
    Reply::Say(401, vec![("content-type", "application/json".into())], body)
}

/// What the process below needs to know.
struct Case {
    credential: &'static str,
    variables: Vec<(&'static str, String)>,
    answer: fn(&Asked, usize) -> Reply,
    /// Managed identities are asked for in clear, on the machine.
    plain: bool,
}

/// What the doubles of Entra ID and of the queue were asked, and what came of a send.
async fn run(case: Case) -> (Vec<Asked>, Vec<Asked>, String) {
    let dir = tempfile::tempdir().unwrap();
    let tls = tls(dir.path());
    let queue =
        Double::start_over(
            Some(tls.clone()),
            |asked, _| {
                if asked.is_send() { Reply::Created } else { there(0) }
            },
        )
        .await;
    let entra = Double::start_over((!case.plain).then_some(tls), case.answer).await;
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "entra::with_an_identity", "--ignored", "--nocapture"]).kill_on_drop(true);
    for name in ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT"] {
        child.env_remove(name);
    }
    child.env("SSL_CERT_FILE", dir.path().join("trusted.pem")).env_remove("SSL_CERT_DIR");
    child.env("SLUICED_TEST_URL", format!("https://localhost:{}/acme", queue.port()));
    child.env("SLUICED_TEST_CREDENTIAL", case.credential);
    child.env("AZURE_AUTHORITY_HOST", format!("https://localhost:{}", entra.port()));
    std::fs::write(dir.path().join("assertion"), "made.up.assertion").unwrap();
    for (name, value) in case.variables {
        let value = value.replace("PORT", &entra.port().to_string());
        child.env(name, value.replace("DIR", dir.path().to_str().unwrap()));
    }
    let output = child.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    (entra.asked(), queue.asked(), text)
}

/// Run by the tests below, in a process with an environment of its own; it tells what came of one send.
#[tokio::test]
#[ignore = "needs the environment that the other tests here make"]
async fn with_an_identity() {
    let of = |name: &str| std::env::var(name).ok();
    let options = Options {
        url: of("SLUICED_TEST_URL").unwrap(),
        credential: of("SLUICED_TEST_CREDENTIAL").unwrap().parse().unwrap(),
        tenant_id: of("SLUICED_TEST_TENANT"),
        client_id: of("SLUICED_TEST_CLIENT"),
        client_secret: of("SLUICED_TEST_SECRET"),
        publish_deadline: DEADLINE,
        ..Options::default()
    };
    let queue = AzureQueue::start(options.clone()).unwrap();
    let sent = queue.enqueue(&message("{}")).await;
    println!("sent: {sent:?}\nhealth: {:?}\n{options:?} {queue:?}", queue.health());
    for _ in 0..of("SLUICED_TEST_MORE").map_or(0, |more| more.parse().unwrap()) {
        println!("more: {:?}", queue.enqueue(&message("{}")).await);
    }
    println!("checked: {:?}", sluiced_azure::check(&options).await);
    queue.close().await;
}

fn assert_stored(queue: &[Asked], text: &str) {
    assert!(text.contains("sent: Ok("), "{text}");
    assert!(queue.iter().any(Asked::is_send));
    for asked in queue {
        assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {TOKEN}")), "{asked:?}");
    }
    assert!(!text.contains(TOKEN) && !text.contains(SECRET), "{text}");
}

fn secret() -> Vec<(&'static str, String)> {
    vec![
        ("SLUICED_TEST_TENANT", TENANT.into()),
        ("SLUICED_TEST_CLIENT", CLIENT.into()),
        ("SLUICED_TEST_SECRET", SECRET.into()),
    ]
}

#[tokio::test]
async fn a_client_secret_is_changed_for_a_token_once_and_each_request_carries_it() {
    let case = Case { credential: "client-secret", variables: secret(), answer: token, plain: false };
    let (entra, queue, text) = run(case).await;
    assert_stored(&queue, &text);
    // `check` makes a client of its own.
    assert_eq!(entra.len(), 2, "{entra:?}");
    assert_eq!((&*entra[0].method, &*entra[0].target), ("POST", &*format!("/{TENANT}/oauth2/v2.0/token")));
    let body = "grant_type=client_credentials&scope=https%3A%2F%2Fstorage.azure.com%2F.default";
    let whole = format!("client_id={CLIENT}&client_secret=hush%7Emade%2Fup%2Bsecret&{body}");
    assert_eq!(entra[0].body, whole);
}

#[tokio::test]
async fn while_the_last_token_is_good_nobody_fails_for_want_of_the_next() {
    let variables = [secret(), vec![("SLUICED_TEST_MORE", "5".into())]].concat();
    let case = Case { credential: "client-secret", variables, answer: last_token, plain: false };
    let (entra, queue, text) = run(case).await;
    assert_stored(&queue, &text);
    assert_eq!(text.matches("more: Ok(").count(), 5, "{text}");
    assert!(entra.len() > 1, "it was asked for the next");
}

#[tokio::test]
async fn a_client_secret_that_entra_refuses_is_misconfigured_with_its_code_and_without_the_secret() {
    let case = Case { credential: "auto", variables: secret(), answer: refused, plain: false };
    let (_, queue, text) = run(case).await;
    assert_eq!(queue.len(), 0, "nobody is asked without a token");
    assert!(
        text.contains("sent: Err(Misconfigured(\"Entra ID refused the credentials (401 AADSTS7000215)"),
        "{text}"
    );
    assert!(text.contains("health: NotReady(\"Entra ID refused"), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn a_workloads_identity_is_its_service_accounts_token() {
    let variables = vec![
        ("AZURE_TENANT_ID", TENANT.into()),
        ("AZURE_CLIENT_ID", CLIENT.into()),
        ("AZURE_FEDERATED_TOKEN_FILE", "DIR/assertion".into()),
    ];
    let case = Case { credential: "auto", variables, answer: token, plain: false };
    let (entra, queue, text) = run(case).await;
    assert_stored(&queue, &text);
    assert_eq!(entra[0].target, format!("/{TENANT}/oauth2/v2.0/token"));
    for part in ["client_assertion=made.up.assertion", &format!("client_id={CLIENT}"), "jwt-bearer"] {
        assert!(entra[0].body.contains(part), "{}", entra[0].body);
    }
}

/// App Service and Container Apps say in the environment where to ask. No proxy is asked for it.
#[tokio::test]
async fn a_managed_identity_is_asked_of_where_the_environment_says() {
    let variables = vec![
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:PORT/msi/token".into()),
        ("IDENTITY_HEADER", "made-up-header".into()),
        ("SLUICED_TEST_CLIENT", CLIENT.into()),
        ("http_proxy", "http://127.0.0.1:1".into()),
    ];
    let case = Case { credential: "managed-identity", variables, answer: token, plain: true };
    let (entra, queue, text) = run(case).await;
    assert_stored(&queue, &text);
    let target = &entra[0].target;
    assert!(
        target.starts_with("/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com"),
        "{target}"
    );
    assert!(target.contains(&format!("client_id={CLIENT}")), "{target}");
    assert_eq!(entra[0].header("x-identity-header"), Some("made-up-header"));
}
