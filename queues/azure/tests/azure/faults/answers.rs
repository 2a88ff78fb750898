//! Answers that are no receipt, or say that it is to be tried again, and what each request carries.

use std::time::{Duration, Instant};

use sluiced_azure::Options;
use sluiced_queue::{EnqueueError, WebHookQueueHandler, WebHookQueuePublisher};
use sluiced_test_brokers::until;
use tokio::task::JoinSet;

use super::sending::answering;
use crate::double::{Asked, Double, KEY, Reply, error, error_with, there};
use crate::signature;
use crate::support::{message, options, ready};

/// A proxy's or a portal's "yes" stores nothing.
#[tokio::test]
async fn a_201_that_names_no_message_is_no_receipt() {
    for body in ["", "<html>welcome to the hotel</html>", "<?xml version=\"1.0\"?><QueueMessagesList />"] {
        let double = answering(vec![Reply::Say(201, Vec::new(), body.into())]).await;
        let queue = ready(&options(double.url())).await;
        let error = queue.enqueue(&message("{}")).await.unwrap_err();
        assert!(
            matches!(&error, EnqueueError::Unavailable(why) if why.contains("lacks")),
            "{body}: {error:?}"
        );
        queue.close().await;
    }
}

#[tokio::test]
async fn a_201_whose_body_is_cut_off_is_no_receipt() {
    let cut = Reply::Say(201, vec![("content-length", "999".into())], "<QueueMessagesList>".into());
    let double = answering(vec![cut]).await;
    let queue = ready(&options(double.url())).await;
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Unavailable(_) | EnqueueError::TimedOut { .. }), "{error:?}");
    queue.close().await;
}

#[tokio::test]
async fn a_pause_of_ages_is_not_begun_and_breaks_nothing() {
    for header in ["retry-after", "x-ms-retry-after-ms"] {
        let busy = error_with(503, "ServerBusy", vec![(header, u64::MAX.to_string())]);
        let double = answering(vec![busy]).await;
        let queue = ready(&options(double.url())).await;
        let began = Instant::now();
        let error = queue.enqueue(&message("{}")).await.unwrap_err();
        assert!(error.to_string().contains("throttled by Azure"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        queue.close().await;
    }
}

#[tokio::test]
async fn a_queue_that_is_missing_again_after_its_creation_is_tried_once_more_only() {
    let double = Double::start(|asked: &Asked, _| match asked {
        asked if asked.is_send() => error(404, "QueueNotFound"),
        asked if asked.is_create() => Reply::Say(201, Vec::new(), String::new()),
        _ => there(0),
    })
    .await;
    let queue = ready(&options(double.url())).await;
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(&error, EnqueueError::Unroutable(why) if why.contains("QueueNotFound")), "{error:?}");
    let creations = double.asked().into_iter().filter(Asked::is_create).count();
    assert_eq!((double.sends().len(), creations), (2, 1));
    queue.close().await;
}

#[tokio::test]
async fn a_throttled_queue_does_not_keep_another_one_waiting() {
    let double = Double::start(|asked: &Asked, _| match asked {
        asked if asked.is_send() && asked.target.contains("-audit") => Reply::Created,
        asked if asked.is_send() => error_with(503, "ServerBusy", vec![("retry-after", "2".into())]),
        _ => there(0),
    })
    .await;
    let usual = Options { concurrency: 1, ..options(double.url()) };
    let queue = ready(&usual).await;
    let name = format!("{}-audit", usual.queue_name);
    let audit = queue.to(sluiced_azure::Destination { queue_name: Some(name) }, "audit").unwrap();
    let mut throttled = JoinSet::new();
    throttled.spawn(queue.publish(&message("{}")));
    until("it is throttled", async || !double.sends().is_empty()).await;
    let began = Instant::now();
    let _ = audit.enqueue(&message("{}")).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(throttled.join_all().await[0].is_err());
    queue.close().await;
}

#[tokio::test]
async fn what_is_too_large_is_never_sent() {
    let double = answering(vec![Reply::Created]).await;
    let queue = ready(&options(double.url())).await;
    let empty = message("\"\"").encode().len();
    let of_length = |bytes: usize| message(&format!("\"{}\"", "x".repeat(bytes - empty)));
    let error = queue.enqueue(&of_length(49_153)).await.unwrap_err();
    assert_eq!(error, EnqueueError::TooLarge { bytes: 49_153, bytes_max: 49_152 });
    assert_eq!(double.sends().len(), 0);
    let _ = queue.enqueue(&of_length(49_152)).await.unwrap();
    let body = double.sends()[0].body.clone();
    let text = body.strip_prefix("<QueueMessage><MessageText>").unwrap();
    assert_eq!(text.find('<'), Some(65_536));
    queue.close().await;
}

#[tokio::test]
async fn each_request_is_signed_and_of_a_version_that_an_emulator_knows() {
    let state = std::sync::atomic::AtomicBool::new(false);
    let double = Double::start(move |asked: &Asked, _| match asked {
        asked if asked.is_create() => {
            state.store(true, std::sync::atomic::Ordering::Relaxed);
            Reply::Say(201, Vec::new(), String::new())
        }
        _ if !state.load(std::sync::atomic::Ordering::Relaxed) => error(404, "QueueNotFound"),
        asked if asked.is_send() => Reply::Created,
        _ => there(0),
    })
    .await;
    let emulator = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let proxy =
        format!("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://127.0.0.1:{}", double.port());
    let wanted = [(double.url(), "acme", KEY), (proxy, "devstoreaccount1", emulator)];
    for (url, account, key) in wanted {
        let before = double.asked().len();
        let queue = ready(&options(url)).await;
        let _ = queue.enqueue(&message("{}")).await.unwrap();
        queue.close().await;
        let asked = &double.asked()[before..];
        assert!(asked.iter().any(Asked::is_send));
        for asked in asked {
            assert!(asked.target.starts_with(&format!("/{account}/")), "{asked:?}");
            assert!(signature::is_good(asked, account, key), "{asked:?}");
            assert!(!signature::is_good(asked, account, "YW5vdGhlcg=="), "the check sees another key");
            assert_eq!(asked.header("x-ms-version"), Some("2021-12-02"));
        }
    }
    assert!(double.asked().iter().any(Asked::is_create));
}
