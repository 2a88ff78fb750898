//! One keep-alive connection with at most one webhook on it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};

use sluiced_benches::bounds;

use crate::webhook::Webhook;

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    webhook: Webhook,
    inbox: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Idle,
    /// So many bytes are gone.
    Sending(usize),
    Awaiting,
}

/// What has come of a look at a connection.
pub(crate) enum Progress {
    /// Nothing yet.
    None,
    /// The answer, with its status.
    Answered(u16),
    /// The server has closed it, with or without a webhook on it.
    Closed { under_way: bool },
}

impl Connection {
    pub(crate) fn open(to: SocketAddr, webhook: Webhook) -> io::Result<Self> {
        Ok(Self { stream: connect(to)?, webhook, inbox: Vec::new(), state: State::Idle })
    }

    /// Another one in its place.
    pub(crate) fn reopen(&mut self, to: SocketAddr) -> io::Result<()> {
        self.stream = connect(to)?;
        self.inbox.clear();
        self.state = State::Idle;
        Ok(())
    }

    /// Begins to send the webhook of this number. Its answer can't be there yet, and isn't looked for.
    pub(crate) fn send(&mut self, number: u64) -> Progress {
        self.webhook.number(number);
        self.state = State::Sending(0);
        let sent = self.send_on();
        self.progress(sent.map(|()| Progress::None))
    }

    /// Goes on as far as it goes.
    pub(crate) fn look(&mut self) -> Progress {
        let progress = self.send_on().and_then(|()| self.receive());
        self.progress(progress)
    }

    fn progress(&self, result: io::Result<Progress>) -> Progress {
        match result {
            Ok(progress) => progress,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::None,
            Err(_) => Progress::Closed { under_way: !matches!(self.state, State::Idle) },
        }
    }

    fn send_on(&mut self) -> io::Result<()> {
        while let State::Sending(sent) = self.state {
            self.state = match sent + self.write(sent)? {
                sent if sent == self.webhook.head.len() + self.webhook.body.len() => State::Awaiting,
                sent => State::Sending(sent),
            };
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Progress> {
        loop {
            let mut buffer = [0; bounds::ANSWER_BYTES_MAX];
            let read = self.stream.read(&mut buffer)?;
            if read == 0 || matches!(self.state, State::Idle) {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(status) = self.take(&buffer[..read])? {
                self.state = State::Idle;
                self.inbox.clear();
                return Ok(Progress::Answered(status));
            }
        }
    }

    fn write(&mut self, sent: usize) -> io::Result<usize> {
        let Webhook { head, body, .. } = &self.webhook;
        let written = match sent.checked_sub(head.len()) {
            None => self.stream.write_vectored(&[IoSlice::new(&head[sent..]), IoSlice::new(body)])?,
            Some(of_body) => self.stream.write(&body[of_body..])?,
        };
        if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(written) }
    }

    /// The status, once the answer is whole. Most come in one piece, which needn't be kept.
    fn take(&mut self, piece: &[u8]) -> io::Result<Option<u16>> {
        if self.inbox.is_empty()
            && let Some(status) = status_of_whole(piece)?
        {
            return Ok(Some(status));
        }
        self.inbox.extend_from_slice(piece);
        if self.inbox.len() > bounds::ANSWER_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        status_of_whole(&self.inbox)
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// An answer's status if all of it is there. Servers that are measured here give a length.
fn status_of_whole(answer: &[u8]) -> io::Result<Option<u16>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| ErrorKind::InvalidData)?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = end + 4 + length.ok_or(ErrorKind::InvalidData)?;
    Ok((answer.len() >= whole).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 401 Unauthorized\r\ndate: now\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..answer.len() {
            assert_eq!(status_of_whole(&answer[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(status_of_whole(answer).unwrap(), Some(401));
        assert!(status_of_whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
