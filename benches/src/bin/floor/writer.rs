//! Group commit: one thread takes whatever waits, makes that durable at once, and answers everybody.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use sluiced_benches::bounds;
use tokio::sync::oneshot;

use crate::Failure;

/// What makes a batch durable.
pub(crate) trait Store: Send + 'static {
    fn commit(&mut self, batch: &[Bytes]) -> Result<(), Failure>;
}

/// The way to the thread.
pub(crate) struct Writer(SyncSender<Append>);

struct Append {
    body: Bytes,
    reply: oneshot::Sender<bool>,
}

pub(crate) fn start(store: impl Store) -> Writer {
    let (sender, inbox) = sync_channel(bounds::WAITING_MAX);
    std::thread::spawn(move || run(store, &inbox));
    Writer(sender)
}

impl Writer {
    pub(crate) async fn put(&self, body: Bytes) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Append { body, reply })?;
        if answer.await? { Ok(()) } else { Err("not committed".into()) }
    }
}

fn run(mut store: impl Store, inbox: &Receiver<Append>) {
    while let Ok(first) = inbox.recv() {
        let mut bytes = first.body.len();
        let (mut bodies, mut replies) = (vec![first.body], vec![first.reply]);
        while bodies.len() < bounds::BATCH_MESSAGES_MAX && bytes < bounds::BATCH_BYTES_MAX {
            let Ok(next) = inbox.try_recv() else { break };
            bytes += next.body.len();
            bodies.push(next.body);
            replies.push(next.reply);
        }
        let committed = store.commit(&bodies).is_ok();
        for reply in replies {
            let _ = reply.send(committed);
        }
    }
}
