//! What h2 doesn't tell: that it has reset a stream for breaking the protocol. It is read from the frames
//! that go out.

const HEAD_BYTES: usize = 9;
const RST_STREAM: u8 = 0x03;
/// RFC 9113, section 7: PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR.
const FAULTS: [u8; 4] = [0x1, 0x3, 0x6, 0x9];

/// Follows frames as they are written, in pieces of any size.
#[derive(Debug, Default)]
pub struct SentFrames {
    /// The head of the frame that is being written, and of a reset its code.
    seen: Vec<u8>,
    /// What is left of the frame, and of no interest.
    skip: usize,
}

impl SentFrames {
    /// Takes bytes that were written; gives the number of streams that were reset by them for breaking the
    /// protocol.
    pub fn follow(&mut self, mut bytes: &[u8]) -> u32 {
        let mut faults = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = self.wanted() - self.seen.len();
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.seen.extend_from_slice(taken);
            bytes = rest;
            if self.seen.len() == self.wanted() {
                faults += u32::from(self.end());
            }
        }
        faults
    }

    /// Bytes of a frame that are looked at: its head, and of a reset its code too.
    fn wanted(&self) -> usize {
        HEAD_BYTES + if self.seen.get(3) == Some(&RST_STREAM) { 4 } else { 0 }
    }

    /// All that is looked at is there: whether it is a reset for a fault.
    fn end(&mut self) -> bool {
        let length = u32::from_be_bytes([0, self.seen[0], self.seen[1], self.seen[2]]) as usize;
        self.skip = length - (self.seen.len() - HEAD_BYTES).min(length);
        let fault = self
            .seen
            .get(HEAD_BYTES..)
            .is_some_and(|code| code.len() == 4 && code[..3] == [0; 3] && FAULTS.contains(&code[3]));
        self.seen.clear();
        fault
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
            let faults: u32 = sent.chunks(size).map(|piece| frames.follow(piece)).sum();
            assert_eq!(faults, 2, "in pieces of {size}");
        }
    }
}
