//! HTTP/2 by hand: frames that no library would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::client::{GITHUB_PATH, connect};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0x00;
pub const HEADERS: u8 = 0x01;
pub const RST_STREAM: u8 = 0x03;
pub const SETTINGS: u8 = 0x04;
pub const PING: u8 = 0x06;
pub const GOAWAY: u8 = 0x07;
pub const CONTINUATION: u8 = 0x09;
pub const END_STREAM: u8 = 0x01;
pub const END_HEADERS: u8 = 0x04;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that isn't in any table (RFC 7541, section 6.2.2); both of less than 127 bytes.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// What every POST to GitHub's receiver begins with.
pub fn post_headers() -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are in the static table.
    [vec![0x83, 0x86], header(":path", GITHUB_PATH), header(":authority", "t")].concat()
}

/// A connection that has begun, with these settings.
pub fn open(address: SocketAddr, settings: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).unwrap();
    stream
}

/// Frames until the connection ends: kind, stream, payload.
pub fn read_all(stream: &mut TcpStream) -> Vec<(u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        frames.push((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload));
    }
    frames
}
