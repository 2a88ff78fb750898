//! What h2 doesn't tell: that it has reset a stream for breaking the protocol, or refused one for its headers. It
//! is read from the frames that go out.

const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 0x01;
const RST_STREAM: u8 = 0x03;
const END_STREAM: u8 = 0x01;
/// RFC 9113, section 7: PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR.
const FAULTS: [u8; 4] = [0x1, 0x3, 0x6, 0x9];
/// A status alone takes five bytes; in front of it stand two changes of the table's size at most.
const LONE_STATUS_BYTES_MAX: usize = 16;
/// Of `:status` in the static table (RFC 7541, appendix A).
const STATUS: u8 = 8;

/// What goes out that h2 decided by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Streams that were reset for breaking the protocol.
    pub faults: u32,
    /// Requests whose headers are longer than h2 keeps.
    pub oversized: u32,
}

/// Follows frames as they are written, in pieces of any size.
#[derive(Debug, Default)]
pub struct SentFrames {
    /// The head of the frame that is being written, and what is looked at of its payload.
    seen: Vec<u8>,
    /// What is left of the frame, and of no interest.
    skip: usize,
    /// The stream that was refused last for its headers: it may be reset as well.
    oversized: Option<[u8; 4]>,
}

impl SentFrames {
    /// Takes bytes that were written.
    pub fn follow(&mut self, mut bytes: &[u8]) -> Refused {
        let mut refused = Refused::default();
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = self.wanted() - self.seen.len();
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.seen.extend_from_slice(taken);
            bytes = rest;
            if self.seen.len() == self.wanted() {
                self.end(&mut refused);
            }
        }
        refused
    }

    /// Bytes of a frame that are looked at: its head; the code of a reset; an answer's headers, if they may be a
    /// status alone.
    fn wanted(&self) -> usize {
        let length = self.length();
        match self.seen.get(3..5) {
            Some([RST_STREAM, _]) if length >= 4 => HEAD_BYTES + 4,
            Some([HEADERS, flags]) if flags & END_STREAM != 0 && length <= LONE_STATUS_BYTES_MAX => {
                HEAD_BYTES + length
            }
            _ => HEAD_BYTES,
        }
    }

    fn length(&self) -> usize {
        self.seen.first_chunk::<3>().map_or(0, |&[a, b, c]| u32::from_be_bytes([0, a, b, c]) as usize)
    }

    /// All that is looked at is there.
    fn end(&mut self, refused: &mut Refused) {
        self.skip = self.length() - (self.seen.len() - HEAD_BYTES);
        let stream = [self.seen[5], self.seen[6], self.seen[7], self.seen[8]];
        let payload = &self.seen[HEAD_BYTES..];
        if self.seen[3] == HEADERS {
            if is_lone_status(payload) {
                self.oversized = Some(stream);
                refused.oversized += 1;
            }
        } else if let [0, 0, 0, code] = payload
            && FAULTS.contains(code)
            && self.oversized != Some(stream)
        {
            refused.faults += 1;
        }
        self.seen.clear();
    }
}

/// Whether a header block is one field, which can only be a status. An answer of ours has a date at least, so that
/// this is h2's own: 431, the only one that it gives.
fn is_lone_status(mut block: &[u8]) -> bool {
    while let [0x20..=0x3f, rest @ ..] = block {
        let more = block[0] == 0x3f;
        let long = rest.iter().take_while(|byte| **byte & 0x80 != 0).count();
        block = if more { rest.get(long + 1..).unwrap_or_default() } else { rest };
    }
    match block {
        // A field that is in the table.
        [0x80..=0xff] => true,
        // A value of its own, to be kept or not; its length fits seven bits.
        [name, length, value @ ..] => {
            matches!(name & 0xf0, 0x40 | 0x00 | 0x10)
                && name & 0x0f == STATUS
                && usize::from(length & 0x7f) == value.len()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn resets_for_faults_are_counted_however_the_bytes_are_cut() {
        let looks_like_one = frame(RST_STREAM, &[0, 0, 0, 1]);
        let sent = [
            frame(4, &[]),
            frame(0, &looks_like_one),
            frame(RST_STREAM, &[0, 0, 0, 1]),
            frame(RST_STREAM, &[0, 0, 0, 0]),
            frame(RST_STREAM, &[0, 0, 0, 8]),
            frame(1, &[7; 200]),
            frame(RST_STREAM, &[0, 0, 0, 6]),
        ]
        .concat();
        for size in 1..sent.len() {
            let mut frames = SentFrames::default();
            let faults: u32 = sent.chunks(size).map(|piece| frames.follow(piece).faults).sum();
            assert_eq!(faults, 2, "in pieces of {size}");
        }
    }

    #[test]
    fn a_status_alone_is_told_from_an_answer_of_ours() {
        let on = |stream: u8, kind: u8, flags: u8, payload: &[u8]| {
            [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream], payload].concat()
        };
        let own = [
            &[0x48, 0x82, 0x68, 0x17][..],
            &[0xbe],
            &[0x20, 0x48, 3, b'4', b'3', b'1'],
            &[0x3f, 0xe1, 0x1f, 0x08, 1, 7],
        ];
        let sent: Vec<u8> = own.iter().flat_map(|block| on(1, HEADERS, 0x5, block)).collect();
        let ours =
            [&[0x88, 0xbe][..], &[0x88, 0xbe, 0xbf], &[0x48, 0x82, 0x68, 0x17, 0xbe], &[0x88; 60], &[]];
        let ours: Vec<u8> = ours.iter().flat_map(|block| on(3, HEADERS, 0x5, block)).collect();
        // With a body behind it, it is no answer of h2's own.
        let ours = [ours, on(5, HEADERS, 0x4, &[0xbe])].concat();
        // The first of these belongs to what was refused already.
        let resets = [on(1, RST_STREAM, 0, &[0, 0, 0, 1]), on(3, RST_STREAM, 0, &[0, 0, 0, 1])].concat();
        let all = [sent, ours, resets].concat();
        for size in 1..all.len() {
            let mut frames = SentFrames::default();
            let refused: Vec<Refused> = all.chunks(size).map(|piece| frames.follow(piece)).collect();
            let count = |of: fn(&Refused) -> u32| refused.iter().map(of).sum::<u32>();
            assert_eq!((count(|r| r.oversized), count(|r| r.faults)), (4, 1), "in pieces of {size}");
        }
    }
}
