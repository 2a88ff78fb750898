//! Sending, when Azure answers what Azurite doesn't on demand: errors, throttling, connections that end, nothing.

use std::time::{Duration, Instant};

use sluiced_azure::Options;
use sluiced_queue::{EnqueueError, Health, WebHookQueueHandler, WebHookQueuePublisher};
use sluiced_test_brokers::{until, until_within};
use tokio::task::JoinSet;

use crate::double::{Asked, Double, Reply, between, error, error_with, there};
use crate::support::{DEADLINE, message, not_ready, options, ready};

/// A double whose answers to sends are these, one after the other, the last one for ever; the queue is there.
pub(super) async fn answering(replies: Vec<Reply>) -> Double {
    let next = std::sync::atomic::AtomicUsize::new(0);
    Double::start(move |asked: &Asked, _| {
        if !asked.is_send() {
            return there(0);
        }
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        replies[at.min(replies.len() - 1)].clone()
    })
    .await
}

#[tokio::test]
async fn a_request_asks_for_no_expiry_and_is_base64() {
    let double = answering(vec![Reply::Created]).await;
    let queue = ready(&options(double.url())).await;
    let _ = queue.enqueue(&message("{}")).await.unwrap();
    let sends = double.sends();
    assert!(sends[0].target.contains("messagettl=-1"), "{}", sends[0].target);
    assert!(sends[0].body.starts_with("<QueueMessage><MessageText>eyJ"), "{}", sends[0].body);
    queue.close().await;
}

#[tokio::test]
async fn a_stale_connection_is_replaced_once_and_at_once() {
    let double = answering(vec![Reply::Hang, Reply::Created]).await;
    let queue = ready(&options(double.url())).await;
    let _ = queue.enqueue(&message("{}")).await.expect("the second try");
    let sends = double.sends();
    assert_eq!(sends.len(), 2);
    assert!(between(&sends[0], &sends[1]) < Duration::from_millis(200));
    assert_eq!(sends[0].body, sends[1].body);
    queue.close().await;

    let double = answering(vec![Reply::Hang]).await;
    let queue = ready(&options(double.url())).await;
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(&error, EnqueueError::Unavailable(why) if why.contains("broke")), "{error:?}");
    assert_eq!(double.sends().len(), 2, "no more than once");
    queue.close().await;
}

#[tokio::test]
async fn throttling_waits_as_long_as_azure_asks_and_is_no_failure() {
    let busy = error_with(503, "ServerBusy", vec![("retry-after", "1".into())]);
    let double = answering(vec![busy, Reply::Created]).await;
    let queue = ready(&options(double.url())).await;
    let _ = queue.enqueue(&message("{}")).await.unwrap();
    let sends = double.sends();
    assert!(between(&sends[0], &sends[1]) >= Duration::from_secs(1));
    assert_eq!(queue.health(), Health::Ready);
    queue.close().await;
}

#[tokio::test]
async fn throttling_that_does_not_end_is_told_from_failure_and_leaves_the_queue_ready() {
    let double = answering(vec![error(503, "ServerBusy")]).await;
    let queue = ready(&options(double.url())).await;
    let began = Instant::now();
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    let EnqueueError::Unavailable(why) = &error else { panic!("{error:?}") };
    assert_eq!(why, "throttled by Azure (503 ServerBusy)");
    assert!(began.elapsed() < DEADLINE + Duration::from_millis(500), "{:?}", began.elapsed());
    assert!((3..=6).contains(&double.sends().len()), "{}", double.sends().len());
    assert_eq!(queue.health(), Health::Ready);
    queue.close().await;
}

#[tokio::test]
async fn a_pause_longer_than_the_deadline_is_not_begun() {
    let busy = error_with(429, "TooManyRequests", vec![("retry-after", "30".into())]);
    let double = answering(vec![busy]).await;
    let queue = ready(&options(double.url())).await;
    let began = Instant::now();
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(error.to_string().contains("throttled by Azure (429"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    queue.close().await;
}

#[tokio::test]
async fn a_servers_error_may_have_stored_the_message_and_is_not_tried_again() {
    let double =
        Double::start(|_, before| if before == 0 { there(0) } else { error(500, "InternalError") }).await;
    let queue = ready(&options(double.url())).await;
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert_eq!(error, EnqueueError::Unavailable("Azure answered 500 InternalError".into()));
    assert_eq!(double.sends().len(), 1, "each try may have been stored");
    assert_eq!(not_ready(&queue).await, "Azure answered 500 InternalError");
    queue.close().await;
}

#[tokio::test]
async fn an_answer_other_than_201_is_no_receipt() {
    let ok = Reply::Say(200, Vec::new(), "<html>welcome to the hotel</html>".into());
    let double = answering(vec![ok]).await;
    let queue = ready(&options(double.url())).await;
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert_eq!(
        error,
        EnqueueError::Unavailable("200 was answered, and not as Azure does it".into()),
        "time may mend it"
    );
    queue.close().await;
}

#[tokio::test]
async fn a_queue_that_is_being_deleted_is_waited_for_and_created() {
    let state = std::sync::atomic::AtomicUsize::new(0);
    let double = Double::start(move |asked: &Asked, _| {
        let step = |to: usize| state.store(to, std::sync::atomic::Ordering::Relaxed);
        match (state.load(std::sync::atomic::Ordering::Relaxed), asked) {
            (0, asked) if asked.is_probe() => {
                step(1);
                there(0)
            }
            (1, asked) if asked.is_send() => {
                step(2);
                error(404, "QueueNotFound")
            }
            (2, asked) if asked.is_create() => {
                step(3);
                error(409, "QueueBeingDeleted")
            }
            (3, asked) if asked.is_send() => {
                step(4);
                error(409, "QueueBeingDeleted")
            }
            (4, asked) if asked.is_send() => {
                step(5);
                error(404, "QueueNotFound")
            }
            (5, asked) if asked.is_create() => {
                step(6);
                Reply::Say(201, Vec::new(), String::new())
            }
            (6, asked) if asked.is_send() => Reply::Created,
            _ => there(0),
        }
    })
    .await;
    let queue = ready(&options(double.url())).await;
    let _ = queue.enqueue(&message("{}")).await.expect("created when it could be");
    queue.close().await;
}

#[tokio::test]
async fn a_message_that_azure_finds_too_large_is_too_large() {
    let double = answering(vec![error(413, "RequestBodyTooLarge")]).await;
    let queue = ready(&options(double.url())).await;
    let sent = message("{}");
    let error = queue.enqueue(&sent).await.unwrap_err();
    let bytes = sent.encode().len();
    assert_eq!(error, EnqueueError::TooLarge { bytes, bytes_max: 49_152 });
    assert_eq!(queue.health(), Health::Ready);
    queue.close().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_at_the_deadline_and_is_looked_into_before() {
    let double = Double::start(|_, before| if before == 0 { there(0) } else { Reply::Stall }).await;
    let slow = Options { publish_deadline: Duration::from_secs(8), ..options(double.url()) };
    let queue = ready(&slow).await;
    let began = Instant::now();
    let sending = {
        let queue = queue.clone();
        async move { queue.enqueue(&message("{}")).await }
    };
    let watching = until_within(Duration::from_secs(7), "known to be frozen", async || {
        queue.health() == Health::NotReady("no answer within 3000 ms".into())
    });
    let (sent, ()) = tokio::join!(sending, watching);
    assert_eq!(sent, Err(EnqueueError::TimedOut { deadline_ms: 8_000 }));
    assert!(began.elapsed() >= Duration::from_secs(8) && began.elapsed() < Duration::from_secs(9));
    assert_eq!(double.sends().len(), 1, "what may have arrived isn't sent again behind the caller's back");
    queue.close().await;
}

#[tokio::test]
async fn a_confirmation_that_comes_late_still_is_one() {
    let double = answering(vec![Reply::Created]).await;
    let proxy = sluiced_test_brokers::Proxy::to(([127, 0, 0, 1], double.port()).into()).await;
    let url = double.url().replace(&format!(":{}/", double.port()), &format!(":{}/", proxy.port()));
    let queue = ready(&Options { publish_deadline: Duration::from_secs(10), ..options(url) }).await;
    proxy.set(
        sluiced_test_brokers::Direction::Down,
        sluiced_test_brokers::Flow::Delay(Duration::from_secs(4)),
    );
    let _ = queue.enqueue(&message("{}")).await.expect("it came after 4 s");
    assert_eq!(double.sends().len(), 1);
    queue.close().await;
}

#[tokio::test]
async fn a_lost_queue_is_asked_for_about_once_a_second() {
    let double = Double::start(|_, _| error(500, "InternalError")).await;
    let queue = sluiced_azure::AzureQueue::start(options(double.url())).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let probes = double.asked().len();
    assert!((4..=12).contains(&probes), "{probes} probes in 5 s");
    queue.close().await;
    let asked = double.asked().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(double.asked().len(), asked, "a closed queue asks no more");
}

#[tokio::test]
async fn a_queue_that_is_ready_is_left_alone() {
    let double = answering(vec![Reply::Created]).await;
    let queue = ready(&options(double.url())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(double.asked().len(), 1, "one probe, and then peace");
    queue.close().await;
}

#[tokio::test]
async fn more_messages_than_may_be_on_their_way_fail_at_once() {
    let double = Double::start(|asked, _| if asked.is_send() { Reply::Stall } else { there(0) }).await;
    let queue = ready(&Options { concurrency: 4, ..options(double.url()) }).await;
    let mut sending = JoinSet::new();
    for _ in 0..1_024 {
        sending.spawn(queue.publish(&message("{}")));
    }
    until("some are on their way", async || double.sends().len() == 4).await;
    let began = Instant::now();
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(&error, EnqueueError::Unavailable(why) if why.contains("1024 messages")), "{error:?}");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    for sent in sending.join_all().await {
        assert_eq!(sent, Err(EnqueueError::TimedOut { deadline_ms: 3_000 }));
    }
    assert_eq!(double.sends().len(), 4, "those that waited were never sent");
    queue.close().await;
}

/// Run by the test below, in a process whose environment names a proxy that isn't there.
#[tokio::test]
#[ignore = "needs the environment that `proxies_of_the_environment_are_not_asked_for_this_machine` makes"]
async fn under_a_proxy() {
    let double = answering(vec![Reply::Created]).await;
    let queue = ready(&options(double.url())).await;
    let _ = queue.enqueue(&message("{}")).await.unwrap();
    queue.close().await;
    let far =
        options("AccountName=acme;AccountKey=bWFkZSB1cA==;QueueEndpoint=http://queues.invalid/acme".into());
    let queue = sluiced_azure::AzureQueue::start(far).unwrap();
    // The proxy refuses; without it the name would not be found.
    until(
        "the proxy is asked for others",
        async || matches!(queue.health(), Health::NotReady(why) if why.contains("refused")),
    )
    .await;
    queue.close().await;
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_asked_for_this_machine() {
    let test = std::env::current_exe().unwrap();
    let mut child = tokio::process::Command::new(test);
    child.args(["--exact", "faults::sending::under_a_proxy", "--ignored", "--nocapture"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"] {
        child.env(name, "http://127.0.0.1:1");
    }
    for name in ["no_proxy", "NO_PROXY", "REQUEST_METHOD"] {
        child.env_remove(name);
    }
    let output = child.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
