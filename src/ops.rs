//! The ops listener: `/livez`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sluiced_queue::{Health, WebHookQueueHandler};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Phase};
use crate::bounds::{ACCEPT_PAUSE, OPS_CONNECTIONS_MAX, OPS_TIMEOUT};
use crate::metrics::CONTENT_TYPE as CONTENT_TYPE_METRICS;

/// Serves until told to stop.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: CancellationToken) {
    let (connections, permits) = (TaskTracker::new(), Arc::new(Semaphore::new(OPS_CONNECTIONS_MAX)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
        let app = app.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(answer(&app, &request).await) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(OPS_TIMEOUT).keep_alive(false);
            let _ = timeout(2 * OPS_TIMEOUT, builder.serve_connection(TokioIo::new(stream), service)).await;
            drop(permit);
        });
    }
}

/// Answering at all shows that the runtime schedules tasks, which is all that being alive means.
async fn answer(app: &App, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let verbose =
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => readiness(app, verbose),
        "/metrics" => metrics(app).await,
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics here\n".into()),
    }
}

async fn metrics(app: &App) -> Response<Full<Bytes>> {
    let queue = match &app.remote {
        Some(_) => None,
        None => app.queue.depth().await,
    };
    let mut spools = Vec::new();
    for spooled in app.remote.iter().flat_map(|remote| remote.spools()) {
        spools.push((spooled.status(), spooled.depth().await));
    }
    let mut response = text(StatusCode::OK, app.metrics.render(app, queue, &spools));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_METRICS));
    response
}

/// Ready while a webhook can be made durable and the daemon isn't stopping.
fn readiness(app: &App, verbose: bool) -> Response<Full<Bytes>> {
    let phase = *app.phase.borrow();
    let (stopping, queue) = (phase != Phase::Serving, app.queue.health());
    let ready = !stopping && queue == Health::Ready;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !verbose {
        return text(status, if ready { "ok\n".into() } else { "not ready; see /readyz?verbose\n".into() });
    }
    let daemon = if stopping { "not ready: draining" } else { "ok" };
    let mut report = format!("daemon: {daemon}\nqueue: {}\n", in_words(&queue));
    for status in app.remote.iter().flat_map(|remote| remote.statuses()) {
        let suspect = if status.suspect { ", but confirms too late: messages go to the spool" } else { "" };
        report += &format!("broker ({}): {}{suspect}\n", status.destination, in_words(&status.broker));
        let spool = status.spool.as_ref().map_or_else(|| "off".to_owned(), in_words);
        report += &format!("spool ({}): {spool}\n", status.destination);
    }
    text(status, report)
}

fn in_words(health: &Health) -> String {
    match health {
        Health::Ready => "ok".to_owned(),
        Health::NotReady(why) | Health::Failed(why) => format!("not ready: {why}"),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
