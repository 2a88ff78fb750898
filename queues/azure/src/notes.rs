//! What is written beside a message, as further members at the end of its JSON object, since Azure has no message
//! headers: how often it was handed back without a failure, and why it died.
//!
//! Consumers ignore keys that they don't know, and the names are attributes as CloudEvents allow them. Every byte
//! before them stays what it was, and so does the message once they are taken off again.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use sluiced_queue::json::rfc3339_micros;

use crate::bounds;

/// The notes of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// How often a worker gave it back that hadn't failed: Azure counts those times as dequeued too.
    pub(crate) handed_back: u32,
    pub(crate) death: Option<Death>,
}

/// Why a message is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    pub(crate) died_at: Timestamp,
}

/// The members, of all that a message has.
#[derive(Deserialize)]
struct Members {
    sluicedhandedback: Option<u32>,
    sluicedreason: Option<String>,
    sluicedattempts: Option<u32>,
    sluiceddiedat: Option<String>,
}

/// What every note begins with; a message without it isn't parsed.
const MARK: &str = ",\"sluiced";

impl Notes {
    /// Takes the notes off a message. Nothing is taken off that isn't exactly as it would be written.
    pub(crate) fn take_off(message: Bytes) -> (Bytes, Self) {
        let none = Self::default();
        let marked = std::str::from_utf8(&message).is_ok_and(|text| text.contains(MARK));
        let Some(notes) = marked.then(|| Self::parse(&message)).flatten() else { return (message, none) };
        let written = notes.members();
        let Some(before) = message.strip_suffix(b"}").and_then(|text| text.strip_suffix(written.as_bytes()))
        else {
            return (message, none);
        };
        ([before, b"}"].concat().into(), notes)
    }

    /// A message with these notes, of at most `bounds::MESSAGE_BYTES_MAX` bytes. The reason is cut where it doesn't
    /// fit. `None` if nothing fits, or the message isn't a JSON object that could take them.
    pub(crate) fn put_on(&self, message: &[u8]) -> Option<Bytes> {
        let open = message.strip_suffix(b"}")?;
        let Members { sluicedhandedback, sluicedreason, sluicedattempts, sluiceddiedat } =
            serde_json::from_slice(message).ok()?;
        let taken = sluicedhandedback.is_some() || sluicedreason.is_some();
        if taken || sluicedattempts.is_some() || sluiceddiedat.is_some() || open.ends_with(b"{") {
            return None;
        }
        let room = bounds::MESSAGE_BYTES_MAX.checked_sub(message.len())?;
        let members = self.fitting(room)?;
        Some([open, members.as_bytes(), b"}"].concat().into())
    }

    fn parse(message: &[u8]) -> Option<Self> {
        let members: Members = serde_json::from_slice(message).ok()?;
        let death = match (members.sluicedreason, members.sluicedattempts, members.sluiceddiedat) {
            (Some(reason), Some(attempts), Some(at)) => {
                Some(Death { reason, attempts, died_at: at.parse().ok()? })
            }
            _ => None,
        };
        let handed_back = members.sluicedhandedback.unwrap_or(0);
        (handed_back > 0 || death.is_some()).then_some(Self { handed_back, death })
    }

    fn fitting(&self, room: usize) -> Option<String> {
        let mut notes = self.clone();
        let mut most = bounds::REASON_BYTES_MAX;
        loop {
            if let Some(death) = &mut notes.death {
                cut(&mut death.reason, most);
            }
            let members = notes.members();
            if members.len() <= room {
                return Some(members);
            }
            let reason = notes.death.as_ref().map_or(0, |death| death.reason.len());
            most = reason.checked_sub(1)?;
            // An escaped character takes up to six bytes; halving finds what fits in a few rounds.
            most -= most / 2;
        }
    }

    fn members(&self) -> String {
        let mut out = String::new();
        if self.handed_back > 0 {
            out.push_str(&format!(",\"sluicedhandedback\":{}", self.handed_back));
        }
        if let Some(Death { reason, attempts, died_at }) = &self.death {
            let reason = serde_json::to_string(reason).expect("a str is JSON");
            let died_at = rfc3339_micros(*died_at);
            out.push_str(&format!(
                ",\"sluicedreason\":{reason},\"sluicedattempts\":{attempts},\"sluiceddiedat\":\"{died_at}\""
            ));
        }
        out
    }
}

fn cut(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(reason: &str) -> Notes {
        let died_at = "2026-11-24T08:00:00.123456Z".parse().unwrap();
        Notes { handed_back: 0, death: Some(Death { reason: reason.into(), attempts: 3, died_at }) }
    }

    #[test]
    fn notes_go_on_and_come_off_and_leave_every_byte() {
        let messages: [&[u8]; 3] = [
            b"{\"receiver\":\"github\",\"data\":{ \"a\": 1.0e+2 ,\r\n\"a\":2}\n}",
            b"{\"specversion\":\"1.0\",\"data\":{\"sluicedreason\":\"x\",\"sluicedattempts\":1}}",
            b"{\"data\":\",\\\"sluicedreason\\\":\\\"no\\\"\",\"x\":{}}",
        ];
        for message in messages {
            let both = Notes { handed_back: 2, ..death("exit 1: no \"luck\"\n") };
            for notes in [Notes { handed_back: 1, death: None }, death(""), both] {
                let noted = notes.put_on(message).unwrap();
                assert!(noted.starts_with(&message[..message.len() - 1]));
                serde_json::from_slice::<serde_json::Value>(&noted).expect("still JSON");
                assert_eq!(Notes::take_off(noted), (Bytes::copy_from_slice(message), notes));
            }
        }
    }

    #[test]
    fn what_a_sender_wrote_is_never_taken_for_a_note() {
        let messages: [&'static [u8]; 6] = [
            b"{\"data\":{\"a\":1,\"sluicedreason\":\"x\",\"sluicedattempts\":1,\"sluiceddiedat\":\"2026-11-24T08:00:00Z\"}}",
            b"{\"data\":1,\"sluicedhandedback\":1 }",
            b"{\"data\":1, \"sluicedhandedback\":1}",
            b"{\"data\":1,\"sluicedhandedback\":1,\"more\":2}",
            b"{\"data\":1,\"sluicedreason\":\"half\"}",
            b",\"sluicedhandedback\":1}",
        ];
        for message in messages {
            let message = Bytes::from_static(message);
            assert_eq!(Notes::take_off(message.clone()), (message, Notes::default()));
        }
    }

    #[test]
    fn what_is_no_object_or_has_such_members_takes_no_notes() {
        for message in
            [&b"[]"[..], b"{}", b"text}", b"", b"\xff}", b"{\"a\":1,\"sluicedattempts\":7}", b"{\"a\":1} "]
        {
            assert_eq!(death("x").put_on(message), None, "{}", String::from_utf8_lossy(message));
        }
    }

    #[test]
    fn a_reason_is_cut_to_what_fits() {
        let long = death(&"ä\u{1}".repeat(4_000));
        let (message, notes) = Notes::take_off(long.put_on(b"{\"a\":1}").unwrap());
        assert_eq!(&message[..], b"{\"a\":1}");
        let reason = notes.death.unwrap().reason;
        assert!((1_000..=bounds::REASON_BYTES_MAX).contains(&reason.len()), "{}", reason.len());

        let full = |free: usize| {
            let length = bounds::MESSAGE_BYTES_MAX - free;
            format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8)).into_bytes()
        };
        let tight = long.put_on(&full(200)).unwrap();
        assert!(tight.len() <= bounds::MESSAGE_BYTES_MAX);
        let (message, notes) = Notes::take_off(tight);
        assert_eq!(message, full(200));
        assert!(!notes.death.unwrap().reason.is_empty());
        assert_eq!(long.put_on(&full(50)), None, "not even the rest fits");
    }
}
