//! The service behind a worker: keeps what it is sent, and refuses some of it the first time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sluiced_test_brokers::Port;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::front::whole;
use crate::webhook::HEADER;

/// One that listens; gone with its connections when dropped.
#[derive(Debug)]
pub struct Sink {
    port: Port,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    _accepting: JoinSet<()>,
}

/// One in so many is refused at its first attempt, and must come again.
const REFUSED_EACH: usize = 20;

impl Sink {
    /// Opens one.
    ///
    /// # Panics
    /// When it can't listen.
    pub async fn open() -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(port.address()).await.expect("a port of ours can be listened on");
        let taken = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let mut accepting = JoinSet::new();
        let shared = taken.clone();
        accepting.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let _: AbortHandle = open.spawn(serve(client, shared.clone()));
                }
                while open.try_join_next().is_some() {}
            }
        });
        Self { port, taken, _accepting: accepting }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let address: SocketAddr = self.port.address();
        format!("http://{address}/")
    }

    /// What it has answered with a 2xx, in the form in which `sluiced work --print` writes it.
    pub fn taken(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(mut client: TcpStream, taken: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut rest = Vec::new();
    while let Some(request) = whole(&mut client, &mut rest, false).await {
        let (answer, message) = answer(&request);
        if let Some(message) = message {
            // Kept before it is answered: a worker that dies between the two brings it again.
            taken.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        }
        if client.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The answer, and what is kept.
fn answer(request: &[u8]) -> (&'static str, Option<Vec<u8>>) {
    const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    const REFUSED: &str = "HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n";
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return (REFUSED, None) };
    let (head, body) = (String::from_utf8_lossy(&request[..end]), &request[end + 4..]);
    let values = |name: &str| -> Vec<String> {
        let of = |line: &str| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.lines().skip(1).filter_map(of).collect()
    };
    let value = |name: &str| values(name).into_iter().next().unwrap_or_default();
    let delivery = value("sluiced-delivery-id");
    let refused = delivery.bytes().map(usize::from).sum::<usize>().is_multiple_of(REFUSED_EACH);
    if refused && value("sluiced-attempt") == "1" {
        return (REFUSED, None);
    }
    let message = json!({
        "receiver": value("sluiced-receiver"),
        "actions": value("sluiced-actions").split(',').collect::<Vec<_>>(),
        "deliveryId": delivery,
        "data": null,
        "bodyBase64": STANDARD.encode(body),
        "request": { "query": value("sluiced-query"), "headers": { HEADER: values(HEADER) } },
    });
    (TAKEN, Some(message.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Sent, judge};
    use crate::webhook;

    #[test]
    fn what_is_taken_is_judged_like_what_is_read_and_some_is_refused_at_first() {
        let (mut taken, mut sent, mut refused) = (Vec::new(), Vec::new(), 0);
        for number in 0..200 {
            let id = format!("k-{number}");
            let (body, event) = (webhook::body(&id), webhook::event(&id));
            let request = |attempt: u32| {
                let head = format!(
                    "POST / HTTP/1.1\r\nX-Torture: {id}\r\nx-torture: again {id}\r\nsluiced-receiver: github\r\n\
                     sluiced-actions: {event}\r\nsluiced-delivery-id: {id}\r\nsluiced-attempt: {attempt}\r\n\
                     sluiced-query: torture={id}\r\n\r\n"
                );
                [head.as_bytes(), &body].concat()
            };
            let first = answer(&request(1)).1;
            refused += usize::from(first.is_none());
            taken.extend(first.or_else(|| answer(&request(2)).1));
            let time = Some(std::time::Duration::ZERO);
            let began = std::time::Instant::now();
            sent.push(Sent { id, attempts: 1, began, acknowledged: time, refusals: Vec::new() });
        }
        let verdict = judge("k-", &sent, &taken);
        assert!(!verdict.is_broken() && verdict.duplicates.is_empty(), "{}", verdict.named());
        assert!((1..100).contains(&refused), "{refused}");
    }
}
