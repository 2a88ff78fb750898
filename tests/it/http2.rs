//! HTTP/2 with prior knowledge, as a proxy in front may speak it: hyper's own client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use crate::client::{GITHUB, GITHUB_PATH, SECRET, github_signature};
use crate::daemon::{Daemon, PATIENCE, memory_in_use};
use crate::flood::body_of;
use crate::worker::{body, drain};

type AnyBody = BoxBody<Bytes, Infallible>;
type Sender = SendRequest<AnyBody>;

#[tokio::test]
async fn many_streams_at_once_are_answered_on_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let (sender, mut connection) = open(&daemon).await;
    let mut streams = JoinSet::new();
    for number in 0..200 {
        let delivery = format!("stream-{number}");
        let mut sender = sender.clone();
        streams.spawn(async move {
            sender.ready().await.unwrap();
            let response = sender.send_request(webhook(&delivery, &body_of(&delivery))).await.unwrap();
            (response.status().as_u16(), response.headers().contains_key("connection"))
        });
    }
    assert!(streams.join_all().await.into_iter().all(|answer| answer == (200, false)));
    drop(sender);
    connection.join_next().await;
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 200);
    for message in messages {
        assert_eq!(body(&message), body_of(message["deliveryId"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn refusals_read_the_same_as_over_http_1() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nbody_max = \"64KiB\"\n", &[GITHUB]);
    let (mut sender, _connection) = open(&daemon).await;
    let large = vec![b'x'; 100 << 10];
    let mut unknown = webhook("unknown", b"{}");
    *unknown.uri_mut() = "http://t/api/webhooks/incoming/nobody".parse().unwrap();
    let mut get = webhook("get", b"");
    *get.method_mut() = http::Method::GET;
    let mut forged = webhook("forged", b"{}");
    forged.headers_mut().insert("x-hub-signature-256", github_signature("guess", b"{}").parse().unwrap());
    for (request, status, reason) in [
        (unknown, 404, "unknown_receiver"),
        (get, 405, "method_not_allowed"),
        (forged, 401, "signature_mismatch"),
        (webhook("large", &large), 413, "body_too_large"),
    ] {
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{reason}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["reason"], reason);
    }
    // A refused upload ends its stream, not the connection.
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(webhook("after", b"{}")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stream_reset_in_the_middle_gets_a_line_and_its_connection_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let (mut sender, _connection) = open(&daemon).await;
    sender.ready().await.unwrap();
    let (head, whole) = webhook("reset", b"{\"half\":\"way\"}").into_parts();
    let half = whole.collect().await.unwrap().to_bytes().slice(..7);
    let request = http::Request::from_parts(head, EndlessBody(Some(half)).boxed());
    let answer = sender.send_request(request);
    // It is dropped once the daemon has the half of it.
    let half_is_there = async {
        while memory_in_use(&daemon) != 7 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = answer => panic!("answered before it was whole: {answer:?}"),
        there = tokio::time::timeout(PATIENCE, half_is_there) => there.unwrap(),
    }
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(webhook("after", b"{}")).await.unwrap().status(), 200);
    let line = daemon.wait_for_delivery(|line| line["reason"] == "body_incomplete");
    assert_eq!(line["outcome"], "refused");
    daemon.wait_for_delivery(|line| line["delivery_id"] == "after");
    assert_eq!(daemon.deliveries().len(), 2);
}

#[tokio::test]
async fn headers_over_the_bound_are_refused_with_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let (mut sender, _connection) = open(&daemon).await;
    let mut request = webhook("large", b"{}");
    for number in 0..20 {
        let name = http::HeaderName::from_bytes(format!("x-large-{number}").as_bytes()).unwrap();
        request.headers_mut().insert(name, "x".repeat(5_000).parse().unwrap());
    }
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 431);
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(webhook("after", b"{}")).await.unwrap().status(), 200);
    daemon.wait_for_delivery(|line| line["delivery_id"] == "after");
    let reasons: Vec<_> = daemon.deliveries().iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons, ["headers_too_large".into(), serde_json::Value::Null]);
}

/// h2 answers these by itself. It resets the stream of an upload as well, and there is one line all the same.
#[tokio::test]
async fn headers_far_over_the_bound_are_refused_with_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nheaders_bytes_max = \"8KiB\"\n", &[GITHUB]);
    let (mut sender, _connection) = open(&daemon).await;
    for _ in 0..3 {
        let mut request = webhook("huge", b"");
        request.headers_mut().insert("x-huge", "x".repeat(18 << 10).parse().unwrap());
        sender.ready().await.unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 431);
    }
    let mut upload = webhook("upload", &[b'x'; 64 << 10]);
    upload.headers_mut().insert("x-huge", "x".repeat(18 << 10).parse().unwrap());
    sender.ready().await.unwrap();
    if let Ok(answer) = sender.send_request(upload).await {
        assert_eq!(answer.status(), 431);
    }
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(webhook("after", b"{}")).await.unwrap().status(), 200);
    daemon.wait_for_delivery(|line| line["delivery_id"] == "after");
    let reasons: Vec<_> = daemon.deliveries().iter().map(|line| line["reason"].clone()).collect();
    let large = || serde_json::Value::from("headers_too_large");
    assert_eq!(reasons, [large(), large(), large(), large(), serde_json::Value::Null]);
}

#[tokio::test]
async fn a_url_over_the_bound_is_refused_as_over_http_1() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nheaders_bytes_max = \"8KiB\"\n", &[GITHUB]);
    let (mut sender, _connection) = open(&daemon).await;
    let mut request = webhook("long", b"{}");
    *request.uri_mut() = format!("http://t{GITHUB_PATH}?{}", "x".repeat(9 << 10)).parse().unwrap();
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 431);
}

#[tokio::test]
async fn too_many_headers_are_refused_as_over_http_1() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let (mut sender, _connection) = open(&daemon).await;
    let mut request = webhook("many", b"{}");
    for number in 0..150 {
        let name = http::HeaderName::from_bytes(format!("x-many-{number}").as_bytes()).unwrap();
        request.headers_mut().insert(name, "1".parse().unwrap());
    }
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 431);
}

#[tokio::test]
async fn a_stream_in_flight_is_finished_when_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), &[GITHUB]);
    let (mut sender, mut connection) = open(&daemon).await;
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(webhook("before", b"{}")).await.unwrap().status(), 200);
    daemon.signal("TERM");
    // Until GOAWAY comes, requests are answered; after it the client knows that they were not seen.
    let mut answered = 1;
    while sender.ready().await.is_ok() {
        match sender.send_request(webhook(&format!("during-{answered}"), b"{}")).await {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                answered += 1;
            }
            Err(error) => {
                assert!(error.is_closed() || error.is_canceled(), "neither answered nor refused: {error:?}");
                break;
            }
        }
    }
    drop(sender);
    connection.join_next().await;
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(drain(dir.path()).len(), answered);
}

async fn open(daemon: &Daemon) -> (Sender, JoinSet<hyper::Result<()>>) {
    let stream = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut task = JoinSet::new();
    task.spawn(connection);
    (sender, task)
}

/// A body that begins and never ends.
struct EndlessBody(Option<Bytes>);

impl Body for EndlessBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

fn webhook(delivery: &str, body: &[u8]) -> http::Request<AnyBody> {
    http::Request::post(format!("http://t{GITHUB_PATH}"))
        .header("content-type", "application/json")
        .header("x-github-event", "push")
        .header("x-github-delivery", delivery)
        .header("x-hub-signature-256", github_signature(SECRET, body))
        .body(Full::new(Bytes::copy_from_slice(body)).boxed())
        .unwrap()
}
