//! One connection from its first byte to its last: HTTP/1.1, or HTTP/2 with prior knowledge.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{convert::Infallible, io};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, server::conn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::activity::{Activity, Patience};
use super::client::Client;
use super::raw_head::RawHead;
use super::reply::{CutOff, HttpReply, LeavesUnread, Problem};
use super::socket::Socket;
use super::wire::Wire;
use crate::app::App;
use crate::bounds::{
    H2_CONNECTION_WINDOW_BYTES, H2_ERRORS_MAX, H2_PENDING_RESETS_MAX, H2_PING_INTERVAL,
    H2_STREAM_WINDOW_BYTES, H2_STREAMS_MAX, LINGER, LINGER_BYTES_MAX, LINGER_READ_BYTES,
};
use crate::pipeline;
use crate::reason::Reason;

/// Serves a connection to its end. The client is the one that sends, or of a proxy whose requests say on
/// whose behalf they are.
pub async fn serve(wire: Wire, client: Client, app: Arc<App>) {
    let activity =
        Activity::new(Patience { header: app.limits.header_timeout, idle: app.limits.idle_timeout });
    let address = client.origin.address;
    let mut socket = Socket::new(wire, activity.clone());
    match socket.speaks_h2(&app).await {
        Ok(Some(true)) => Box::pin(http2(socket, client, app, activity)).await,
        Ok(Some(false)) => http1(socket, client, app, activity).await,
        Ok(None) => end_late(socket, address, &app, &activity).await,
        // The client went away before it said anything that could be answered.
        Err(_) => {}
    }
}

/// Tells a client that there are too many connections, and closes.
pub async fn reject(mut stream: TcpStream) {
    let reply = Problem::new(Reason::Overloaded).raw_http1();
    let _ = timeout(LINGER, stream.write_all(&reply)).await;
    linger(&mut stream).await;
}

async fn http1(mut socket: Socket, client: Client, app: Arc<App>, activity: Arc<Activity>) {
    let mut builder = conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Ours is `Activity`: hyper's closes without the 408 and counts idle time as header time.
        .header_read_timeout(None)
        // A sender that says that no more will come still waits for its answer.
        .half_close(true)
        .max_headers(app.limits.headers_max as usize)
        .max_header_size(app.limits.headers_bytes_max as usize)
        .max_buf_size(app.limits.headers_bytes_max as usize);
    socket.hold_back();
    let address = client.origin.address;
    let service = service(client, app.clone(), activity.clone(), socket.raw_head());
    let mut connection = builder.serve_connection(TokioIo::new(socket), service);
    let end = watch(&app, &activity, |cx| connection.poll_without_shutdown(cx)).await;
    let mut socket = connection.into_parts().io.into_inner();
    if let Some(held) = socket.take_held() {
        let reply = match &end {
            End::Done(Err(error)) => {
                reason_of(error).map(|reason| Problem { status: held.0, ..Problem::new(reason) })
            }
            _ => None,
        };
        let reply = reply.map_or(held.1, |problem| problem.raw_http1());
        let _ = timeout(LINGER, socket.write_all(&reply)).await;
    }
    match end {
        End::Late | End::Abused => return end_late(socket, address, &app, &activity).await,
        End::Done(Ok(())) if !activity.has_unread() => {
            if socket.says_goodbye() {
                let _ = timeout(LINGER, socket.shutdown()).await;
            }
            return;
        }
        End::Done(Ok(())) => {}
        End::Done(Err(error)) => report_http1(&error, address, &app, &activity),
    }
    linger(&mut socket).await;
}

/// Why hyper refuses a request by itself.
fn reason_of(error: &hyper::Error) -> Option<Reason> {
    match (error.is_parse_too_large(), error.is_parse()) {
        (true, _) => Some(Reason::HeadersTooLarge),
        (false, true) => Some(Reason::RequestMalformed),
        (false, false) => None,
    }
}

/// Logs what hyper refused by itself: it has sent the answer, if there was anybody to send it to.
fn report_http1(error: &hyper::Error, client: IpAddr, app: &App, activity: &Activity) {
    match reason_of(error) {
        Some(Reason::HeadersTooLarge) => {
            return app.refused_at_the_door(client, Reason::HeadersTooLarge, "headers or URL over the bound");
        }
        Some(reason) => return app.refused_at_the_door(client, reason, &error.to_string()),
        None => {}
    }
    if error.is_incomplete_message() && activity.in_headers() {
        app.refused_at_the_door(
            client,
            Reason::RequestMalformed,
            "the sender hung up in the middle of the headers",
        );
    }
}

async fn http2(mut socket: Socket, client: Client, app: Arc<App>, activity: Arc<Activity>) {
    activity.is_http2();
    socket.watch_frames();
    let mut builder = conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(H2_ERRORS_MAX)
        // Twice our own bound: what is over that is answered 431 by h2 itself; see `SentFrames`.
        .max_header_list_size(u32::try_from(2 * app.limits.headers_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(Some(H2_PING_INTERVAL))
        .keep_alive_timeout(H2_PING_INTERVAL);
    let address = client.origin.address;
    let service = service(client, app.clone(), activity.clone(), socket.raw_head());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let poll = |cx: &mut Context<'_>| {
        let result = connection.as_mut().poll(cx);
        let refused = activity.take_refused();
        for _ in 0..refused.faults {
            app.refused_at_the_door(address, Reason::RequestMalformed, "a stream broke the protocol");
        }
        for _ in 0..refused.oversized {
            app.refused_at_the_door(address, Reason::HeadersTooLarge, "headers far over the bound");
        }
        result
    };
    let mut end = watch(&app, &activity, poll).await;
    if matches!(end, End::Late) {
        // GOAWAY first, so that a request on its way is answered or known to be unseen.
        connection.as_mut().graceful_shutdown();
        end = timeout(LINGER, connection).await.map_or(End::Late, End::Done);
    }
    match end {
        End::Done(Err(error)) => report_http2(&error, address, &app),
        End::Abused => {
            app.refused_at_the_door(address, Reason::RateLimited, "more streams reset than answered");
        }
        End::Done(Ok(())) | End::Late => {}
    }
}

fn report_http2(error: &hyper::Error, client: IpAddr, app: &App) {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<io::Error>() {
            return;
        }
        source = cause.source();
    }
    if !error.is_timeout() && !error.is_closed() {
        app.refused_at_the_door(client, Reason::RequestMalformed, &error.to_string());
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<HttpReply, Infallible>> + Send>>;

/// The service of one connection: each request goes down the pipeline.
fn service(
    client: Client,
    app: Arc<App>,
    activity: Arc<Activity>,
    raw_head: Arc<RawHead>,
) -> impl hyper::service::Service<Request<Incoming>, Response = HttpReply, Error = Infallible, Future = Answer>
+ Unpin {
    service_fn(move |request: Request<Incoming>| {
        let (app, activity, guard) = (app.clone(), activity.clone(), activity.request());
        let client = client.on_behalf_of(app.live.get().trusted.client(client.origin, request.headers()));
        let ambiguity = raw_head.take_ambiguity(request.version(), request.headers());
        let refusal = match ambiguity {
            Some(why) => Some((Reason::RequestMalformed, why)),
            None => over_http2_bounds(&app, &request).map(|why| (Reason::HeadersTooLarge, why)),
        };
        Box::pin(async move {
            let reply = if let Some((reason, why)) = refusal {
                app.refused_at_the_door(client.origin.address, reason, why);
                activity.left_unread();
                Problem::new(reason).reply()
            } else {
                pipeline::receive(&app, request, &client).await
            };
            if reply.extensions().get::<LeavesUnread>().is_some() {
                activity.left_unread();
            }
            if reply.extensions().get::<CutOff>().is_none() {
                guard.answered();
            }
            Ok(reply)
        }) as Answer
    })
}

/// What hyper bounds on HTTP/1 only: the number of headers, and their bytes with a line in the log.
fn over_http2_bounds(app: &App, request: &Request<Incoming>) -> Option<&'static str> {
    if request.version() != hyper::Version::HTTP_2 {
        return None;
    }
    let headers = request.headers();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bytes: usize =
        target + headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    let over = headers.len() as u64 > app.limits.headers_max || bytes as u64 > app.limits.headers_bytes_max;
    over.then_some("headers or URL over the bound")
}

/// How a connection ended.
enum End {
    /// By itself.
    Done(hyper::Result<()>),
    /// Its time ran out.
    Late,
    /// More of its requests were cut off than answered.
    Abused,
}

/// Polls a connection until it ends or its time runs out. What it is doing changes only while it is
/// polled, so the clock is set right after each poll.
async fn watch(
    app: &App,
    activity: &Activity,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<hyper::Result<()>>,
) -> End {
    let mut phase = app.phase.subscribe();
    let mut clock: Pin<Box<Sleep>> = Box::pin(sleep_until(Instant::now()));
    loop {
        let stopping = phase.borrow_and_update().idle_connections_end();
        let turn = poll_fn(|cx| {
            if let Poll::Ready(result) = poll(cx) {
                return Poll::Ready(End::Done(result));
            }
            if activity.is_abused() {
                return Poll::Ready(End::Abused);
            }
            let Some(deadline) = activity.deadline(stopping) else { return Poll::Pending };
            // A clock that is set too early is set right when it rings: with each request the deadline moves
            // on, and setting a timer costs a lock that all connections share.
            if deadline < clock.deadline() {
                clock.as_mut().reset(deadline);
            }
            while clock.as_mut().poll(cx).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(End::Late);
                }
                clock.as_mut().reset(deadline);
            }
            Poll::Pending
        });
        tokio::select! {
            end = turn => return end,
            // The daemon is stopping: idle connections have less time from now on.
            Ok(()) = phase.changed() => {}
        }
    }
}

/// Ends a connection whose time ran out: with 408 when a request had begun, without a word otherwise.
async fn end_late(mut socket: Socket, client: IpAddr, app: &App, activity: &Activity) {
    if activity.in_headers() {
        app.refused_at_the_door(client, Reason::TooSlow, "the headers came too slowly");
        let reply = Problem::new(Reason::TooSlow).raw_http1();
        let _ = timeout(LINGER, socket.write_all(&reply)).await;
        linger(&mut socket).await;
    }
}

/// Closes so that the answer arrives: says that no more will come, then reads and throws away what the
/// client still sends, within bounds. Closing with unread bytes would reset the connection.
async fn linger(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let throw_away = async {
        // On the heap: as a part of the future every connection would carry it for all its life.
        let mut scratch = vec![0; LINGER_READ_BYTES];
        let mut read = 0;
        if socket.shutdown().await.is_err() {
            return;
        }
        while let Ok(n @ 1..) = socket.read(&mut scratch).await {
            read += n as u64;
            if read > LINGER_BYTES_MAX {
                return;
            }
        }
    };
    let _ = timeout(LINGER, throw_away).await;
}
