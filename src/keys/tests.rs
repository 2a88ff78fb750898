//! The cache on a paused clock, and one real exchange over TLS.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::advance;

use super::*;
use crate::bounds::{KEY_FRESH, KEY_KEPT, KEY_RETRY_PAUSE, KEY_SETTLED, KEY_UNKNOWN_MAX};

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>>;
pub(super) type Stub = Box<dyn Fn(&str, Call) -> Answer + Send + Sync>;

/// A cache whose documents are numbered, and fail while `fails` is set.
struct Case {
    keys: Arc<Keys>,
    fetches: Arc<AtomicUsize>,
    fails: Arc<std::sync::atomic::AtomicBool>,
}

impl Case {
    fn new() -> Self {
        let fetches = Arc::new(AtomicUsize::new(0));
        let fails = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (count, failing) = (fetches.clone(), fails.clone());
        let stub: Stub = Box::new(move |_, _| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let fails = failing.load(Ordering::SeqCst);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if fails { Err(FetchError::Unreachable) } else { Ok(number.to_string().into()) }
            })
        });
        Self { keys: Arc::new(Keys::of(Origin::Stub(stub))), fetches, fails }
    }

    async fn get(&self, beyond: Option<u64>) -> Result<KeyDocument, FetchError> {
        self.keys.get(&KeyRequest { url: "https://keys.example/a".to_owned(), ask: Ask::Get, beyond }).await
    }

    fn count(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn one_fetch_serves_all_who_wait_and_all_who_come_later() {
    let case = Case::new();
    let (a, b) = tokio::join!(case.get(None), case.get(None));
    assert_eq!((a.unwrap().bytes, b.unwrap().bytes), ("1".into(), "1".into()));
    assert_eq!(case.get(None).await.unwrap().version, 1);
    assert_eq!(case.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_asked_for_again_but_not_at_once() {
    let case = Case::new();
    assert!(case.get(None).await.unwrap().is_current);
    assert_eq!(case.get(Some(1)).await.unwrap().version, 1, "settled: nothing newer is to be had");
    advance(KEY_SETTLED).await;
    assert!(!case.get(None).await.unwrap().is_current);
    let newer = case.get(Some(1)).await.unwrap();
    assert_eq!((newer.version, newer.is_current, case.count()), (2, true, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_used_and_fetched_anew_behind() {
    let case = Case::new();
    case.get(None).await.unwrap();
    advance(KEY_FRESH).await;
    assert_eq!(case.get(None).await.unwrap().version, 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((case.get(None).await.unwrap().version, case.count()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_for_a_day_and_then_said() {
    let case = Case::new();
    case.get(None).await.unwrap();
    case.fails.store(true, Ordering::SeqCst);
    advance(KEY_FRESH * 2).await;
    assert_eq!(case.get(None).await.unwrap().version, 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(case.get(Some(1)).await, Err(FetchError::Unreachable), "an unknown key is not refused now");
    advance(KEY_KEPT).await;
    assert_eq!(case.get(None).await, Err(FetchError::Unreachable));
    let count = case.count();
    assert_eq!(case.get(None).await, Err(FetchError::Unreachable));
    assert_eq!(case.count(), count, "failures pause too");
    advance(KEY_RETRY_PAUSE).await;
    case.fails.store(false, Ordering::SeqCst);
    assert_eq!(case.get(None).await.unwrap().version, 2);
}

#[tokio::test(start_paused = true)]
async fn made_up_addresses_do_not_push_out_real_ones() {
    let case = Case::new();
    case.get(None).await.unwrap();
    case.fails.store(true, Ordering::SeqCst);
    for number in 0..KEYS_MAX * 2 {
        let url = format!("https://keys.example/{number}");
        assert!(case.keys.get(&KeyRequest { url, ask: Ask::Get, beyond: None }).await.is_err());
    }
    let count = case.count();
    assert_eq!(case.get(None).await.unwrap().version, 1);
    assert_eq!(case.count(), count);
    assert!(case.keys.slots.lock().unwrap().len() <= KEYS_MAX);
}

#[tokio::test(start_paused = true)]
async fn made_up_addresses_are_called_at_a_pace_and_known_ones_go_on() {
    let case = Case::new();
    case.get(None).await.unwrap();
    let mut refused = 0;
    for number in 0..KEYS_MAX {
        let url = format!("https://keys.example/{number}");
        let request = KeyRequest { url, ask: Ask::Get, beyond: None };
        refused += usize::from(case.keys.get(&request).await == Err(FetchError::Busy));
    }
    let unknown = KEY_UNKNOWN_MAX as usize;
    assert_eq!(
        (case.count(), refused),
        (unknown, KEYS_MAX - unknown + 1),
        "the real one was unknown too, once"
    );
    assert_eq!(case.get(None).await.unwrap().version, 1);
    advance(KEY_FRESH).await;
    case.get(None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        case.get(None).await.unwrap().version,
        2,
        "what is known is fetched anew whatever was made up"
    );
}

#[tokio::test]
async fn private_addresses_are_never_called() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let keys = Arc::new(Keys::default());
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"] {
        let url = format!("https://{host}:{port}/");
        let result = keys.get(&KeyRequest { url, ask: Ask::Get, beyond: None }).await;
        assert!(
            matches!(result, Err(FetchError::NotPublic | FetchError::Url | FetchError::Name)),
            "{result:?}"
        );
    }
    let http = KeyRequest { url: format!("http://localhost:{port}/"), ask: Ask::Get, beyond: None };
    assert_eq!(keys.get(&http).await, Err(FetchError::Url));
    let none = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(none.is_err(), "somebody connected");
}

/// A server with a certificate of a root that nobody else knows; it answers once, with that.
async fn serve(answer: &'static [u8]) -> (String, rustls::ClientConfig) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(key.cert.der().clone()).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    TaskTracker::new().spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1_024];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        }
    });
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (format!("https://localhost:{port}/keys"), client)
}

async fn fetch(answer: &'static [u8]) -> Result<Bytes, FetchError> {
    let (url, config) = serve(answer).await;
    Web::trusting(config).send(&url, Call::default()).await
}

#[tokio::test]
async fn a_document_comes_over_tls_and_nothing_else_does() {
    let good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(fetch(good).await.unwrap(), "{}");
    let moved = b"HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(fetch(moved).await, Err(FetchError::Status(StatusCode::FOUND)));
    let large = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}";
    assert_eq!(fetch(large).await, Err(FetchError::Answer));
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}";
    assert_eq!(fetch(short).await, Err(FetchError::Answer));
    let (url, _) = serve(good).await;
    let strangers = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    assert_eq!(Web::trusting(strangers).send(&url, Call::default()).await, Err(FetchError::Tls));
}

/// From a delivery over the fetch to the verdict, and 503 while there is no key.
#[tokio::test]
async fn a_delivery_is_judged_by_fetched_keys() {
    let row = crate::catalog::find("fal").unwrap();
    let verifier = Verifier::compile(row, &crate::verify::ReceiverSettings::default()).unwrap();
    let mut headers = http::HeaderMap::new();
    let now = Timestamp::now().as_second().to_string();
    for (name, value) in
        [("request-id", "1"), ("user-id", "2"), ("timestamp", &now), ("signature", &"00".repeat(64))]
    {
        let name = http::HeaderName::try_from(format!("x-fal-webhook-{name}")).unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    let delivery = || Delivery {
        method: http::Method::POST,
        uri: "/in/fal".parse().unwrap(),
        headers: headers.clone(),
        body: Bytes::from_static(b"{}"),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        id: String::new(),
        received_at: Timestamp::UNIX_EPOCH,
    };
    let reason = |answer: Result<&'static str, FetchError>| {
        let stub: Stub = Box::new(move |url, _| {
            assert_eq!(url, "https://rest.alpha.fal.ai/.well-known/jwks.json");
            Box::pin(async move { answer.map(Bytes::from) })
        });
        let keys = Arc::new(Keys::of(Origin::Stub(stub)));
        let (verifier, delivery) = (&verifier, delivery());
        async move {
            match keys.admit(verifier, delivery).await {
                Admission::Refused(refusal) => refusal.reason.as_str(),
                other => panic!("{other:?}"),
            }
        }
    };
    let key = r#"{"keys":[{"kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    assert_eq!(reason(Ok(key)).await, "signature_mismatch");
    assert_eq!(reason(Ok("a page of a proxy")).await, "key_unavailable");
    assert_eq!(reason(Err(FetchError::Tls)).await, "key_unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_confirmed_in_a_few_calls_or_not_at_all() {
    let case = Case::new();
    case.keys.clone().visit("https://keys.example/?Token=1".to_owned()).await;
    assert_eq!(case.count(), 1);
    case.fails.store(true, Ordering::SeqCst);
    case.keys.clone().visit("https://keys.example/?Token=2".to_owned()).await;
    assert_eq!(case.count(), 1 + crate::bounds::VISITS_MAX as usize);
}

/// What was sent where.
type Calls = Arc<Mutex<Vec<(String, Call)>>>;

/// A cache that answers by address, and what it is asked.
fn recorded(answer: fn(&str, usize) -> Result<&'static str, FetchError>) -> (Arc<Keys>, Calls) {
    let calls = Calls::default();
    let log = calls.clone();
    let stub: Stub = Box::new(move |url, call| {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|(known, _)| known == url).count();
        log.push((url.to_owned(), call));
        let result = answer(url, before).map(Bytes::from);
        Box::pin(async move { result })
    });
    (Arc::new(Keys::of(Origin::Stub(stub))), calls)
}

#[tokio::test(start_paused = true)]
async fn a_key_of_ebay_is_asked_for_with_a_token_that_is_kept() {
    let client = Arc::new(Client {
        token_url: "https://api.example/token".to_owned(),
        credentials: crate::verify::Credential::new("id:made up".to_owned()),
        scope: "keys".to_owned(),
    });
    let (keys, calls) = recorded(|url, before| match (url, before) {
        ("https://api.example/token", 0) => Ok(r#"{"access_token":"first","expires_in":7200}"#),
        ("https://api.example/token", _) => Ok(r#"{"access_token":"second","expires_in":7200}"#),
        ("https://api.example/c", 0) => Err(FetchError::Status(StatusCode::UNAUTHORIZED)),
        _ => Ok("{}"),
    });
    let get = |id: &str| {
        let url = format!("https://api.example/{id}");
        let (keys, ask) = (keys.clone(), Ask::Bearer(client.clone()));
        async move { keys.get(&KeyRequest { url, ask, beyond: None }).await.map(drop) }
    };
    for id in ["a", "b", "a", "c"] {
        assert_eq!(get(id).await, Ok(()), "{id}");
    }
    let calls = calls.lock().unwrap();
    let shown = |(url, call): &(String, Call)| {
        let credential = call.authorization.as_ref().map_or("", |value| value.to_str().unwrap());
        format!("{} {credential}", url.trim_start_matches("https://api.example/"))
    };
    let shown: Vec<String> = calls.iter().map(shown).collect();
    let basic = "token Basic aWQ6bWFkZSB1cA==";
    assert_eq!(
        shown,
        [basic, "a Bearer first", "b Bearer first", "c Bearer first", basic, "c Bearer second"]
    );
    let (content_type, body) = calls[0].1.body.clone().unwrap();
    assert_eq!(content_type, "application/x-www-form-urlencoded");
    assert_eq!(body, "grant_type=client_credentials&scope=keys");
    assert!(!format!("{calls:?}").contains("first"), "a credential is printed");
}

#[tokio::test(start_paused = true)]
async fn a_key_of_plaid_is_asked_for_by_its_id() {
    let (keys, calls) = recorded(|_, _| Ok(r#"{"key":{"kty":"EC","kid":"k-1","x":"","y":""}}"#));
    let mut settings = crate::verify::ReceiverSettings::default();
    for (name, value) in [("client_id", "made-up"), ("client_secret", "also \"made\" up")] {
        settings.set(name, value.into()).unwrap();
    }
    let verifier = Verifier::compile(crate::catalog::find("plaid").unwrap(), &settings).unwrap();
    let token = |kid: &str| {
        use base64::Engine;
        let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let header = encode(serde_json::json!({ "alg": "ES256", "kid": kid }).to_string());
        format!("{header}.{}.{}", encode("{}".to_owned()), "A".repeat(86))
    };
    for (kid, reason) in [("k-1", "signature_mismatch"), ("../k-1", "signature_malformed")] {
        let mut headers = http::HeaderMap::new();
        headers.insert("plaid-verification", token(kid).parse().unwrap());
        let delivery = Delivery {
            method: http::Method::POST,
            uri: "/in/plaid".parse().unwrap(),
            headers,
            body: Bytes::from_static(b"{}"),
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            id: String::new(),
            received_at: Timestamp::UNIX_EPOCH,
        };
        let admission = keys.admit(&verifier, delivery).await;
        let Admission::Refused(refusal) = admission else { panic!("{admission:?}") };
        assert_eq!(refusal.reason.as_str(), reason, "{kid}");
    }
    let calls = calls.lock().unwrap();
    let (url, call) = &calls[0];
    assert_eq!((url.as_str(), calls.len()), ("https://production.plaid.com/webhook_verification_key/get", 1));
    let (content_type, body) = call.body.clone().unwrap();
    assert_eq!(content_type, "application/json");
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({ "client_id": "made-up", "secret": "also \"made\" up", "key_id": "k-1" })
    );
}
