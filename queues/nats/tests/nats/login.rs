//! Credentials: each kind lets us in, wrong ones are waited out, and none shows anywhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use sluiced_nats::{NatsConsumer, NatsQueue, Options, check};
use sluiced_queue::{ConsumeError, EnqueueError, Health, WebHookQueueHandler};
use sluiced_test_brokers::Nats;
use sluiced_test_brokers::nats::Options as Server;

use crate::support::{options, put, until_not_ready, until_ready, webhook};

async fn server(config: String) -> Nats {
    Nats::with(Server { config, ..Server::default() }).await
}

/// Lets the right ones in; refuses the wrong ones until the server takes them.
async fn lets_in(nats: &mut Nats, right: Options, wrong: Options, config_for_wrong: Option<String>) {
    let queue = NatsQueue::start(right.clone()).unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
    check(&right).await.unwrap();

    let refused = NatsQueue::start(wrong.clone()).unwrap();
    until_not_ready(&refused, "refuses the credentials").await;
    let error = refused.enqueue(&webhook(2)).await.unwrap_err();
    assert!(matches!(&error, EnqueueError::Misconfigured(_)), "{error:?}");
    assert!(!format!("{error:?} {:?} {wrong:?}", refused.health()).contains("s3cret"));
    assert!(check(&wrong).await.unwrap_err().contains("refuses the credentials"));
    if let Some(config) = config_for_wrong {
        nats.options_mut().config = config;
        nats.restart().await;
        until_ready(&refused).await;
        put(&refused, &webhook(3)).await;
        until_not_ready(&queue, "refuses the credentials").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token() {
    let config = |token: &str| format!("authorization {{ token: {token} }}\n");
    let mut nats = server(config("s3cret")).await;
    let with = |token: &str| Options { token: Some(token.into()), ..options(nats.url()) };
    let (right, wrong) = (with("s3cret"), with("s3cret-other"));
    let in_url = Options { url: vec![nats.url().replace("//", "//s3cret@")], ..options(nats.url()) };
    until_ready(&NatsQueue::start(in_url).unwrap()).await;
    lets_in(&mut nats, right, wrong, Some(config("s3cret-other"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_password() {
    let lines = crate::support::record();
    let config = |password: &str| format!("authorization {{ user: \"a@b\", password: \"{password}\" }}\n");
    let mut nats = server(config("s3cret:1")).await;
    let with = |password: &str| Options {
        user: Some("a@b".into()),
        password: Some(password.into()),
        ..options(nats.url())
    };
    let (right, wrong) = (with("s3cret:1"), with("s3cret:2"));
    let in_url =
        Options { url: vec![nats.url().replace("//", "//a%40b:s3cret%3A1@")], ..options(nats.url()) };
    until_ready(&NatsQueue::start(in_url).unwrap()).await;
    lets_in(&mut nats, right, wrong, Some(config("s3cret:2"))).await;
    let lines = lines.lock().unwrap().clone();
    assert!(lines.iter().any(|line| line.contains("credentials refused")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("s3cret")), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nkey_out_of_a_file_that_is_replaced() {
    let (one, two) = (KeyPair::new_user(), KeyPair::new_user());
    let config = |key: &KeyPair| format!("authorization {{ users: [ {{ nkey: {} }} ] }}\n", key.public_key());
    let mut nats = server(config(&one)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seed");
    std::fs::write(&file, format!("{}\n", one.seed().unwrap())).unwrap();
    let from_file = Options { nkey_file: Some(file.clone()), ..options(nats.url()) };
    let queue = NatsQueue::start(from_file).unwrap();
    until_ready(&queue).await;

    let seed = |key: &KeyPair| Some(key.seed().unwrap().into());
    let right = Options { nkey: seed(&one), ..options(nats.url()) };
    let wrong = Options { nkey: seed(&two), ..options(nats.url()) };
    lets_in(&mut nats, right, wrong, Some(config(&two))).await;
    until_not_ready(&queue, "refuses the credentials").await;
    std::fs::write(&file, two.seed().unwrap()).unwrap();
    until_ready(&queue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creds_file() {
    let (operator, account, system) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let (user, stranger) = (KeyPair::new_user(), KeyPair::new_account());
    let limits = |more: &str| {
        let usual = r#""subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1"#;
        format!(r#""limits":{{{usual}{more}}},"#)
    };
    let streams = limits(r#","mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1"#);
    let account_jwt = jwt(&operator, &account, "account", &streams);
    let config = format!(
        "operator: {}\nsystem_account: {sys}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_jwt}, {sys}: {} }}\n",
        jwt(&operator, &operator, "operator", ""),
        account.public_key(),
        jwt(&operator, &system, "account", &limits("")),
        sys = system.public_key(),
    );
    let mut nats = server(config).await;
    let anything = r#""pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"#;
    let creds = |issuer: &KeyPair| {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            jwt(issuer, &user, "user", anything),
            user.seed().unwrap(),
        )
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("user.creds");
    std::fs::write(&file, creds(&account)).unwrap();
    let right = Options { creds_file: Some(file), ..options(nats.url()) };
    let wrong = Options { creds: Some(creds(&stranger).into()), ..options(nats.url()) };
    lets_in(&mut nats, right, wrong, None).await;
}

/// A NATS JWT, as `nsc` makes them.
fn jwt(issuer: &KeyPair, subject: &KeyPair, kind: &str, claims: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let payload = format!(
        r#"{{"jti":"{kind}","iat":{now},"iss":"{}","name":"{kind}","sub":"{}","nats":{{{claims}"type":"{kind}","version":2}}}}"#,
        issuer.public_key(),
        subject.public_key(),
    );
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_wrong_credentials_is_told_why_it_waits() {
    let nats = server("authorization { token: s3cret }\n".into()).await;
    let refused = NatsConsumer::connect(options(nats.url())).await;
    assert!(
        matches!(&refused, Err(ConsumeError::Unavailable(why)) if why.contains("refuses the credentials")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_publish_and_nothing_else_can() {
    let users = r#"authorization { users: [
        { user: admin, password: admin },
        { user: ingress, password: in, permissions: { publish: "webhooks.>", subscribe: "_INBOX.>" } },
        { user: elsewhere, password: out, permissions: { publish: ["other.>", "$JS.API.>"], subscribe: "_INBOX.>" } }
    ] }
    "#;
    let nats = server(users.into()).await;
    let with = |user: &str, password: &str| Options {
        user: Some(user.into()),
        password: Some(password.into()),
        ..options(nats.url())
    };
    until_ready(&NatsQueue::start(with("admin", "admin")).unwrap()).await;
    let ingress = NatsQueue::start(with("ingress", "in")).unwrap();
    until_ready(&ingress).await;
    put(&ingress, &webhook(1)).await;
    let warnings = check(&with("ingress", "in")).await.unwrap();
    assert!(warnings.iter().any(|w| w.contains("can't be looked at")), "{warnings:?}");

    let elsewhere = NatsQueue::start(with("elsewhere", "out")).unwrap();
    until_ready(&elsewhere).await;
    let refused = elsewhere.enqueue(&webhook(2)).await;
    assert!(
        matches!(&refused, Err(EnqueueError::Misconfigured(why)) if why.contains("webhooks.")),
        "{refused:?}"
    );
    assert!(matches!(elsewhere.health(), Health::NotReady(why) if why.contains("Violation")));
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// `ca.pem`, and certificates for a server and a client.
fn certificates(dir: &Path) -> impl Fn(&str) -> PathBuf {
    openssl(dir, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem");
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    for name in ["server", "client"] {
        openssl(
            dir,
            &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.pem"
            ),
        );
    }
    let dir = dir.to_owned();
    move |name| dir.join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_authority_of_ones_own_and_a_client_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let file = certificates(dir.path());
    let text = |name: &str| file(name).display().to_string();
    let config = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n",
        text("server.pem"),
        text("server.key"),
        text("ca.pem"),
    );
    // The helper asks a server without TLS whether it is up; INFO is sent before TLS begins.
    let nats = server(config).await;
    let trusting =
        Options { tls_ca: Some(file("ca.pem")), ..options(nats.url().replace("nats://", "tls://")) };
    let known =
        Options { tls_cert: Some(file("client.pem")), tls_key: Some(file("client.key")), ..trusting.clone() };
    let queue = NatsQueue::start(known).unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;

    let unknown = NatsQueue::start(trusting).unwrap();
    let wary = NatsQueue::start(options(nats.url().replace("nats://", "tls://"))).unwrap();
    until_not_ready(&unknown, "fatal alert").await;
    until_not_ready(&wary, "UnknownIssuer").await;
    for queue in [&unknown, &wary] {
        assert!(
            matches!(queue.enqueue(&webhook(2)).await, Err(EnqueueError::Unavailable(_))),
            "{:?}",
            queue.health()
        );
    }
}
