//! The bounded way to stdout: a buffer and a thread. A sink that stalls costs lines, never an ack.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::Level;
use super::line::{Line, Style};
use crate::bounds::{LOG_BUFFER_BYTES, LOG_CLOSE_TIMEOUT, LOG_LINES_MAX, LOG_PAUSE};

/// Takes finished lines and writes them in order.
pub struct Sink {
    shared: Arc<Shared>,
    done: Mutex<Option<Receiver<()>>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// There is a first line for a thread that sleeps, or no more will come.
    changed: Condvar,
    dropped: AtomicU64,
}

/// Lines that nobody has taken to the stream yet.
#[derive(Default)]
struct Waiting {
    text: String,
    lines: usize,
    closed: bool,
    /// The thread sleeps until it is told of a line. Otherwise it comes by itself.
    asleep: bool,
}

impl Sink {
    /// Starts the thread that writes to `out`.
    pub fn start(out: impl Write + Send + 'static, style: Style) -> Self {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let (done_tx, done) = sync_channel(1);
        let writing = shared.clone();
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            writing.write_all(out, style);
            // Nobody waits when the daemon ends without closing; that is no error.
            let _ = done_tx.send(());
        });
        // Without the thread every line counts as dropped: still no reason to refuse webhooks.
        shared.lock().closed = thread.is_err();
        Self { shared, done: Mutex::new(Some(done)) }
    }

    /// Adds a line, or drops and counts it when too many wait. Never waits for the stream.
    pub fn push(&self, line: &str) {
        let mut waiting = self.shared.lock();
        if waiting.closed || waiting.lines == LOG_LINES_MAX {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.text.push_str(line);
        waiting.lines += 1;
        if std::mem::take(&mut waiting.asleep) {
            self.shared.changed.notify_one();
        }
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Ends the thread after what waits, or after the deadline.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(done) = self.done.lock().expect("nothing panics under this lock").take() {
            // A stalled sink at the end costs its last lines.
            let _ = done.recv_timeout(LOG_CLOSE_TIMEOUT);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics under this lock")
    }

    /// Writes what waits, until the sink is closed; after a gap it says how much is missing.
    fn write_all(&self, mut out: impl Write, style: Style) {
        let (mut batch, mut reported) = (String::new(), 0);
        while self.take(&mut batch) {
            let total = self.dropped.load(Ordering::Relaxed);
            if total > reported {
                let mut line = Line::new(style, Level::Warn, "log lines were dropped, the sink had stalled");
                line.number("count", total - reported);
                batch.push_str(&line.finish());
                reported = total;
            }
            // A closed stdout must not end the daemon; there is nowhere left to say so.
            let _ = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
            batch.clear();
            batch.shrink_to(LOG_BUFFER_BYTES);
        }
    }

    /// Exchanges what waits for the empty `batch`, whose memory takes the next lines. False: there is nothing
    /// and no more will come.
    ///
    /// After a write the next one is [`LOG_PAUSE`] away, so that under load lines don't wake this thread one
    /// by one: that cost a webhook more than making the line did.
    fn take(&self, batch: &mut String) -> bool {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting = self.pause(waiting);
        }
        while waiting.lines == 0 {
            if waiting.closed {
                return false;
            }
            waiting.asleep = true;
            waiting = self.changed.wait(waiting).expect("nothing panics under this lock");
        }
        waiting.asleep = false;
        std::mem::swap(&mut waiting.text, batch);
        waiting.lines = 0;
        true
    }

    /// Lets lines come together; only the end cuts it short.
    fn pause<'a>(&self, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        let cut_short = |waiting: &mut Waiting| !waiting.closed;
        let paused = self.changed.wait_timeout_while(waiting, LOG_PAUSE, cut_short);
        paused.expect("nothing panics under this lock").0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::SyncSender;

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
        sink.push("0\n");
        has_entered.recv().unwrap();
        for number in 1..=LOG_LINES_MAX + 7 {
            sink.push(&format!("{number}\n"));
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
