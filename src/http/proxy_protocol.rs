//! The PROXY protocol, versions 1 and 2, as HAProxy's `proxy-protocol.txt` has it: the client's address in
//! front of everything else that a proxy passes on. Exactly the header is read; what follows may be TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::bounds::PROXY_HEADER_BYTES_MAX;

const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, its CRLF included.
const V1_BYTES_MAX: usize = 107;

/// Why no client address could be read.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection ended or broke.
    #[error("the proxy hung up: {0}")]
    Io(#[from] io::Error),
    /// It isn't the protocol.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Whom a proxy passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody: it speaks for itself, as its health checks do.
    Itself,
    /// Somebody whose address it doesn't know, or that has none, as on a Unix socket.
    Unknown,
    /// Whoever has this address.
    Address(IpAddr),
}

/// Reads the header.
///
/// # Errors
/// When it isn't a header of either version, or longer than the bound.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, ProxyError> {
    // Both versions have more bytes than these.
    let mut start = [0; V2_SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == V2_SIGNATURE {
        read_v2(stream).await
    } else if start.starts_with(b"PROXY ") {
        read_v1(stream, &start).await
    } else {
        Err(ProxyError::Malformed("no PROXY header"))
    }
}

async fn read_v1(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> Result<Source, ProxyError> {
    let mut line = start.to_vec();
    // Byte by byte, since the first byte behind the line is somebody else's.
    while !line.ends_with(b"\r\n") {
        if line.len() == V1_BYTES_MAX {
            return Err(ProxyError::Malformed("a PROXY line without an end"));
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line[..line.len() - 2]).ok_or(ProxyError::Malformed("a malformed PROXY line"))
}

fn parse_v1(line: &[u8]) -> Option<Source> {
    let text = std::str::from_utf8(line).ok()?;
    let parts: Vec<&str> = text.split(' ').collect();
    match parts.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(Source::Unknown),
        ["PROXY", family, source, destination, from, to] => {
            from.parse::<u16>().ok().and(to.parse::<u16>().ok())?;
            let address = |text: &str| match *family {
                "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
                "TCP6" => text.parse::<Ipv6Addr>().ok().map(|address| address.to_canonical()),
                _ => None,
            };
            address(destination)?;
            Some(Source::Address(address(source)?))
        }
        _ => None,
    }
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, ProxyError> {
    let version_and_command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if length > PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError::Malformed("a PROXY header over the bound"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    parse_v2(version_and_command, family, &rest).ok_or(ProxyError::Malformed("a malformed PROXY header"))
}

fn parse_v2(version_and_command: u8, family: u8, rest: &[u8]) -> Option<Source> {
    match (version_and_command, family) {
        // LOCAL, whatever stands behind it.
        (0x20, _) => Some(Source::Itself),
        // UNSPEC, and what must be taken as such where it isn't expected (section 2.2): UDP, Unix sockets.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(Source::Unknown),
        // TCP over IPv4: two addresses and two ports.
        (0x21, 0x11) if rest.len() >= 12 => {
            let source: [u8; 4] = rest[..4].try_into().ok()?;
            Some(Source::Address(source.into()))
        }
        // TCP over IPv6.
        (0x21, 0x21) if rest.len() >= 36 => {
            let source: [u8; 16] = rest[..16].try_into().ok()?;
            Some(Source::Address(IpAddr::from(source).to_canonical()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(bytes: &[u8]) -> Result<(String, Vec<u8>), String> {
        let mut left = bytes;
        let source = read(&mut left).await.map_err(|e| e.to_string())?;
        let source = match source {
            Source::Address(address) => address.to_string(),
            other => format!("{other:?}"),
        };
        Ok((source, left.to_vec()))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn version_1_is_read_and_not_a_byte_more() {
        for (header, source) in [
            ("PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n", "203.0.113.7"),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "2001:db8::7"),
            ("PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n", "203.0.113.7"),
            ("PROXY UNKNOWN\r\n", "Unknown"),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "Unknown"),
        ] {
            let (read, left) = parse(format!("{header}POST /").as_bytes()).await.unwrap();
            assert_eq!((read.as_str(), &left[..]), (source, &b"POST /"[..]), "{header}");
        }
    }

    #[tokio::test]
    async fn version_2_is_read_and_not_a_byte_more() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0, 80, 1, 187];
        let v6 = [&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets()[..], &[0; 20]].concat();
        let with_tlv = [&v4[..], &[0x04, 0, 1, 0]].concat();
        for (header, source) in [
            (v2(0x21, 0x11, &v4), "203.0.113.7"),
            (v2(0x21, 0x11, &with_tlv), "203.0.113.7"),
            (v2(0x21, 0x21, &v6), "2001:db8::7"),
            (v2(0x20, 0x00, &[]), "Itself"),
            (v2(0x20, 0x11, &v4), "Itself"),
            (v2(0x21, 0x00, &[1, 2, 3]), "Unknown"),
            (v2(0x21, 0x31, &[0; 216]), "Unknown"),
            (v2(0x21, 0x12, &v4), "Unknown"),
        ] {
            let (read, left) = parse(&[&header[..], b"\x16\x03"].concat()).await.unwrap();
            assert_eq!((read.as_str(), &left[..]), (source, &b"\x16\x03"[..]), "{header:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0, 80, 1, 187];
        for wrong in [
            b"POST / HTTP/1.1\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 56324\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 99999\r\n".to_vec(),
            b"PROXY TCP4  203.0.113.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n\r\n".to_vec(),
            [b"PROXY UNKNOWN ", &[b'x'; V1_BYTES_MAX][..], b"\r\n"].concat(),
            v2(0x21, 0x11, &v4[..8]),
            v2(0x21, 0x13, &v4),
            v2(0x21, 0x41, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x31, 0x11, &v4),
            v2(0x21, 0x11, &[&v4[..], &vec![0; PROXY_HEADER_BYTES_MAX]].concat()),
        ] {
            assert!(parse(&wrong).await.is_err(), "{:?}", String::from_utf8_lossy(&wrong));
        }
        assert!(parse(b"PROXY TCP4 203").await.unwrap_err().contains("hung up"));
    }
}
