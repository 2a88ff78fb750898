//! Keys, signatures and tokens are in requests and nowhere else.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use sluiced_azure::{AzureConsumer, AzureDeadLetters, AzureQueue, Options};
use sluiced_queue::WebHookQueueHandler;
use sluiced_test_brokers::until;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::double::{Asked, Double, KEY, Reply, error, there};
use crate::support::{message, options};

/// All that anybody logs, the client's libraries too, at all levels.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut self.clone());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

/// All that the crate says of itself, with each of these answers to a send.
async fn said(url: &str, queue: &Options, double: Option<&Double>) -> String {
    let options = Options { url: url.to_owned(), client_secret: None, ..queue.clone() };
    let queue = AzureQueue::start(options.clone()).unwrap();
    let mut said = format!("{queue:?} {options:?}");
    for _ in 0..4 {
        write!(said, "{:?}", queue.enqueue(&message("{}")).await).unwrap();
        write!(said, "{:?}", queue.health()).unwrap();
    }
    if double.is_none() {
        until("it isn't there", async || format!("{:?}", queue.health()).contains("no connection")).await;
    }
    write!(said, "{:?}", sluiced_azure::check(&options).await).unwrap();
    write!(said, "{:?}", AzureConsumer::connect(options.clone()).await).unwrap();
    write!(said, "{:?}", AzureDeadLetters::connect(options).await).unwrap();
    queue.close().await;
    said
}

#[tokio::test]
async fn no_key_and_no_signature_is_in_a_log_an_error_or_a_debug_text() {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let double = Double::start(move |asked: &Asked, _| {
        if !asked.is_send() {
            return there(0);
        }
        match next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 6 {
            0 => Reply::Created,
            1 | 2 => Reply::Hang,
            3 => error(403, "AuthenticationFailed"),
            4 => error(400, "OutOfRangeQueryParameterValue"),
            _ => error(413, "RequestBodyTooLarge"),
        }
    })
    .await;
    let usual = options(String::new());
    let sas = "sv=2022-11-02&sp=raup&se=2099-01-01&sig=c2VjcmV0K3NpZ25h%2Bdf%2Fs%3D";
    let closed = 9;
    let mut said_of_all = String::new();
    for (port, double) in [(double.port(), Some(&double)), (closed, None)] {
        let endpoint = format!("http://127.0.0.1:{port}/acme");
        for url in [
            format!("{endpoint}?{sas}"),
            format!("QueueEndpoint={endpoint};SharedAccessSignature={sas}"),
            format!("AccountName=acme;AccountKey={KEY};QueueEndpoint={endpoint}"),
        ] {
            said_of_all.push_str(&said(&url, &usual, double).await);
        }
    }
    assert!(double.asked().iter().any(|asked| asked.target.contains("sig=c2VjcmV0K3NpZ25h%2Bdf%2Fs%3D")));
    let logged = log.0.lock().unwrap().clone();
    for expected in ["broker lost", "credentials refused", "127.0.0.1"] {
        assert!(logged.contains(expected), "the log is listened to: {expected}");
    }
    for text in [logged, said_of_all] {
        for secret in ["c2VjcmV0K3NpZ25h", "bWFkZSB1cA", "SharedKey acme:", "sig=c2"] {
            let at = text.find(secret).map(|at| text[at.saturating_sub(200)..].chars().take(400).collect());
            assert_eq!(at, None::<String>, "{secret}");
        }
    }
}
