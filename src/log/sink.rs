//! The bounded way to stdout: a channel and a thread. A sink that stalls costs lines, never an ack.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use super::Level;
use super::line::{Line, Style};
use crate::bounds::{LOG_BATCH_BYTES, LOG_CLOSE_TIMEOUT, LOG_LINES_MAX};

/// Takes finished lines and writes them in order.
pub struct Sink {
    lines: Mutex<Option<SyncSender<String>>>,
    dropped: Arc<AtomicU64>,
    done: Mutex<Option<Receiver<()>>>,
}

impl Sink {
    /// Starts the thread that writes to `out`.
    pub fn start(out: impl Write + Send + 'static, style: Style) -> Self {
        let (lines, queue) = sync_channel::<String>(LOG_LINES_MAX);
        let (done_tx, done) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            write_all(&queue, out, style, &counted);
            // Nobody waits when the daemon ends without closing; that is no error.
            let _ = done_tx.send(());
        });
        // Without the thread every line counts as dropped: still no reason to refuse webhooks.
        let lines = thread.is_ok().then_some(lines);
        Self { lines: Mutex::new(lines), dropped, done: Mutex::new(Some(done)) }
    }

    /// Queues a line, or drops and counts it when the queue is full. Never waits.
    pub fn push(&self, line: String) {
        let sender = self.lines.lock().expect("nothing panics under this lock");
        let lost = sender.as_ref().is_none_or(|sender| sender.try_send(line).is_err());
        if lost {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Ends the thread after what is queued, or after the deadline.
    pub fn close(&self) {
        drop(self.lines.lock().expect("nothing panics under this lock").take());
        if let Some(done) = self.done.lock().expect("nothing panics under this lock").take() {
            // A stalled sink at the end costs its last lines.
            let _ = done.recv_timeout(LOG_CLOSE_TIMEOUT);
        }
    }
}

/// Writes batches until every sender is gone; after a gap it says how much is missing.
fn write_all(queue: &Receiver<String>, mut out: impl Write, style: Style, dropped: &AtomicU64) {
    let (mut batch, mut reported) = (String::new(), 0);
    while let Ok(line) = queue.recv() {
        batch.push_str(&line);
        while batch.len() < LOG_BATCH_BYTES {
            let Ok(line) = queue.try_recv() else { break };
            batch.push_str(&line);
        }
        let total = dropped.load(Ordering::Relaxed);
        if total > reported {
            let mut line = Line::new(style, Level::Warn, "log lines were dropped, the sink had stalled");
            line.number("count", total - reported);
            batch.push_str(&line.finish());
            reported = total;
        }
        // A closed stdout must not end the daemon; there is nowhere left to say so.
        let _ = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says when it was first written to, and blocks there until told to go on.
    struct Stalled {
        entered: SyncSender<()>,
        go_on: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.entered.try_send(());
            let _ = self.go_on.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_sink_drops_and_counts() {
        let (entered, has_entered) = sync_channel(1);
        let (go, go_on) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::start(Stalled { entered, go_on, written: written.clone() }, Style::Json);
        sink.push("0\n".into());
        has_entered.recv().unwrap();
        for number in 1..=LOG_LINES_MAX + 7 {
            sink.push(format!("{number}\n"));
        }
        assert_eq!(sink.dropped(), 7);
        drop(go);
        sink.close();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(
            text.contains("log lines were dropped") && text.contains("\"count\":7"),
            "the gap is reported"
        );
        assert!(text.starts_with("0\n1\n2\n"), "the rest is in order");
    }
}
