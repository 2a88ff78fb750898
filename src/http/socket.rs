//! A connection's socket: what was read of it ahead, and an eye on what comes in.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::activity::Activity;
use super::own_words::{self, OwnRefusal};
use super::raw_head::RawHead;
use super::sent_frames::SentFrames;
use super::wire::Wire;
use crate::app::App;

/// What an HTTP/2 client that knows beforehand says first (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An answer that was held back: its status and its bytes.
pub type Held = (StatusCode, Vec<u8>);

/// The socket, with what was read of it ahead, and an eye on whether anything comes.
pub struct Socket {
    wire: Wire,
    read_ahead: Vec<u8>,
    activity: Arc<Activity>,
    raw_head: Arc<RawHead>,
    /// Whether hyper's own refusals are held back.
    holds_back: bool,
    held: Option<Held>,
    /// What goes out over HTTP/2.
    frames: Option<SentFrames>,
    late: Vec<u8>,
}

impl Socket {
    /// Wraps a connection on which HTTP begins.
    pub fn new(wire: Wire, activity: Arc<Activity>) -> Self {
        Self {
            wire,
            read_ahead: Vec::new(),
            activity,
            raw_head: RawHead::new(),
            holds_back: false,
            held: None,
            frames: None,
            late: Vec::new(),
        }
    }

    /// The head of the request that is being read.
    pub fn raw_head(&self) -> Arc<RawHead> {
        self.raw_head.clone()
    }

    /// Reads as far as it takes to tell HTTP/2 from HTTP/1; `None` when the time ran out.
    pub async fn speaks_h2(&mut self, app: &App) -> io::Result<Option<bool>> {
        let mut phase = app.phase.subscribe();
        let mut start = [0; H2_PREFACE.len()];
        let mut filled = 0;
        loop {
            let stopping = phase.borrow_and_update().idle_connections_end();
            let deadline = self.activity.deadline(stopping).unwrap_or_else(Instant::now);
            let read = tokio::select! {
                read = timeout_at(deadline, self.wire.read(&mut start[filled..])) => read,
                Ok(()) = phase.changed() => continue,
            };
            let n = match read {
                Err(_) => {
                    self.read_ahead = start[..filled].to_vec();
                    return Ok(None);
                }
                Ok(Ok(0)) => {
                    // Half a preface and no more: HTTP/1 will say what is wrong with it.
                    self.read_ahead = start[..filled].to_vec();
                    return if filled == 0 {
                        Err(io::ErrorKind::UnexpectedEof.into())
                    } else {
                        Ok(Some(false))
                    };
                }
                Ok(Ok(n)) => n,
                Ok(Err(error)) => return Err(error),
            };
            filled += n;
            self.note(&start[filled - n..filled]);
            if !H2_PREFACE.starts_with(&start[..filled]) || filled == H2_PREFACE.len() {
                self.read_ahead = start[..filled].to_vec();
                return Ok(Some(filled == H2_PREFACE.len() && start == H2_PREFACE));
            }
        }
    }
}

impl Socket {
    /// Whether the other end expects to be told of the end.
    pub fn says_goodbye(&self) -> bool {
        self.wire.says_goodbye()
    }

    /// From here on, holds back what hyper refuses by itself.
    pub fn hold_back(&mut self) {
        self.holds_back = true;
    }

    /// From here on, looks for streams that h2 resets by itself.
    pub fn watch_frames(&mut self) {
        self.frames = Some(SentFrames::default());
    }

    /// What was held back; nothing is from here on.
    pub fn take_held(&mut self) -> Option<Held> {
        self.holds_back = false;
        self.held.take()
    }

    /// Keeps an eye on bytes that went out.
    fn note_sent(&mut self, bufs: &[io::IoSlice<'_>], mut written: usize) {
        let Some(frames) = &mut self.frames else { return };
        for buf in bufs {
            let sent = written.min(buf.len());
            self.activity.refused(frames.follow(&buf[..sent]));
            written -= sent;
        }
    }

    /// Keeps an eye on bytes that came in. What belongs to a body begins no request.
    fn note(&self, bytes: &[u8]) {
        if self.activity.is_multiplexed() {
            return;
        }
        if self.raw_head.push(bytes) {
            self.activity.head_came();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read_ahead.is_empty() {
            let n = self.read_ahead.len().min(buf.remaining());
            buf.put_slice(&self.read_ahead[..n]);
            self.read_ahead.drain(..n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.note(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // What follows an answer that was held back shows that it was none of hyper's own.
        if let Some((_, bytes)) = this.held.take() {
            this.late.extend(bytes);
        }
        while !this.late.is_empty() {
            let n = ready!(Pin::new(&mut this.wire).poll_write(cx, &this.late))?;
            this.late.drain(..n);
        }
        let own = match bufs {
            [head] if this.holds_back => own_words::find(head).map(|own| (own, head)),
            _ => None,
        };
        match own {
            None => {
                let written = ready!(Pin::new(&mut this.wire).poll_write_vectored(cx, bufs))?;
                this.note_sent(bufs, written);
                Poll::Ready(Ok(written))
            }
            Some((OwnRefusal { at: 0, status }, head)) => {
                this.held = Some((status, head.to_vec()));
                Poll::Ready(Ok(head.len()))
            }
            Some((OwnRefusal { at, .. }, head)) => Pin::new(&mut this.wire).poll_write(cx, &head[..at]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
