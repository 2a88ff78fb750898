//! Judges a system-call trace: was every webhook's message synced before its 200 was written?
//!
//! The trace is that of `strace -f -yy` of a daemon to which one sender sent one webhook after the
//! other, so that the n-th 200 belongs to the n-th delivery.

use std::collections::HashMap;

/// The write-ahead log, as `-yy` names it behind its descriptor.
const LOG: &str = "/queue.db-wal>";

/// How the promise was broken for a delivery.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// Its message was never written to the log.
    NotWritten,
    /// It was written, and no sync that began after that succeeded.
    NotSynced,
    /// Its 200 was on its way before that sync returned.
    AnsweredTooSoon,
    /// There was no 200 for it.
    NotAnswered,
}

/// One call, from the line where it begins to the line where it returns.
#[derive(Debug)]
struct Call {
    name: String,
    text: String,
    begins: usize,
    /// `None` while it has not returned.
    returns: Option<(usize, bool)>,
}

/// The deliveries for which the promise was broken, in order. Delivery ids must not contain each other.
pub fn broken_promises<'d>(trace: &str, deliveries: &[&'d str]) -> Vec<(&'d str, Broken)> {
    let calls = calls(trace);
    let mut answers = calls.iter().filter(|call| call.is_answer());
    let mut broken = Vec::new();
    for delivery in deliveries {
        let answered = answers.next().map(|call| call.begins);
        if let Err(how) = judge(&calls, delivery, answered) {
            broken.push((*delivery, how));
        }
    }
    broken
}

/// Whether every step, a call's name and a part of its arguments, began after the step before it had returned
/// well; else the first that didn't.
pub fn in_order<'s>(trace: &str, steps: &[(&'s str, &'s str)]) -> Result<(), (&'s str, &'s str)> {
    let calls = calls(trace);
    let mut since = 0;
    for step in steps {
        let is_step = |call: &&Call| {
            call.begins >= since && call.name.starts_with(step.0) && call.text.contains(step.1)
        };
        since = calls.iter().filter(is_step).find_map(Call::succeeded).ok_or(*step)?;
    }
    Ok(())
}

fn judge(calls: &[Call], delivery: &str, answered: Option<usize>) -> Result<(), Broken> {
    let answered = answered.ok_or(Broken::NotAnswered)?;
    let written = calls
        .iter()
        .filter(|call| call.is_write_of(delivery))
        .find_map(Call::succeeded)
        .ok_or(Broken::NotWritten)?;
    let synced = calls
        .iter()
        .filter(|call| call.is_sync() && call.begins > written)
        .find_map(Call::succeeded)
        .ok_or(Broken::NotSynced)?;
    if synced < answered { Ok(()) } else { Err(Broken::AnsweredTooSoon) }
}

impl Call {
    fn is_write_of(&self, delivery: &str) -> bool {
        self.name.starts_with("pwrite") && self.text.contains(LOG) && self.text.contains(delivery)
    }

    fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync") && self.text.contains(LOG)
    }

    fn is_answer(&self) -> bool {
        matches!(self.name.as_str(), "sendto" | "sendmsg" | "write" | "writev")
            && self.text.contains("<TCP")
            && self.text.contains("\"HTTP/1.1 200 ")
    }

    /// The line where it returned, if it returned no error.
    fn succeeded(&self) -> Option<usize> {
        self.returns.and_then(|(line, ok)| ok.then_some(line))
    }
}

/// Puts `<unfinished ...>` and `<... resumed>` lines together again.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: HashMap<&str, usize> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some(at) = unfinished.remove(thread) else { continue };
            calls[at].text.push_str(resumed);
            calls[at].returns = Some((number, succeeds(resumed)));
            continue;
        }
        let Some((name, _)) = rest.split_once('(') else { continue };
        let returns = if rest.ends_with("<unfinished ...>") {
            unfinished.insert(thread, calls.len());
            None
        } else {
            Some((number, succeeds(rest)))
        };
        calls.push(Call { name: name.to_owned(), text: rest.to_owned(), begins: number, returns });
    }
    calls
}

fn succeeds(line: &str) -> bool {
    line.rsplit_once(" = ").is_some_and(|(_, value)| value.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = r#"7 pwrite64(12</d/queue.db-wal>, "{\"deliveryId\":\"d1\"}", 19, 32) = 19"#;
    const SYNC: &str = "7 fdatasync(12</d/queue.db-wal>) = 0";
    const ANSWER: &str = r#"8 writev(19<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base="HTTP/1.1 200 OK\r\n", iov_len=17}], 1) = 17"#;

    fn judge(lines: &[&str]) -> Vec<(&'static str, Broken)> {
        broken_promises(&lines.join("\n"), &["d1"])
    }

    #[test]
    fn steps_follow_each_other_or_the_first_that_does_not_is_named() {
        let trace = [WRITE, SYNC, ANSWER].join("\n");
        let (write, sync, answer) = (("pwrite", "d1"), ("fdatasync", "wal>"), ("write", "200 OK"));
        assert_eq!(in_order(&trace, &[write, sync, answer]), Ok(()));
        assert_eq!(in_order(&trace, &[sync, write]), Err(write));
        assert_eq!(in_order(&[WRITE, ANSWER].join("\n"), &[write, sync, answer]), Err(sync));
    }

    #[test]
    fn written_synced_answered_is_how_it_should_be() {
        assert_eq!(judge(&[WRITE, SYNC, ANSWER]), []);
    }

    #[test]
    fn a_sync_left_out_is_reported() {
        assert_eq!(judge(&[WRITE, ANSWER]), [("d1", Broken::NotSynced)]);
    }

    #[test]
    fn an_answer_before_the_commit_is_reported() {
        assert_eq!(judge(&[ANSWER, WRITE, SYNC]), [("d1", Broken::AnsweredTooSoon)]);
        assert_eq!(judge(&[WRITE, ANSWER, SYNC]), [("d1", Broken::AnsweredTooSoon)]);
    }

    #[test]
    fn an_answer_while_the_sync_is_under_way_is_reported() {
        let begun = "7 fdatasync(12</d/queue.db-wal> <unfinished ...>";
        let done = "7 <... fdatasync resumed>) = 0";
        assert_eq!(judge(&[WRITE, begun, ANSWER, done]), [("d1", Broken::AnsweredTooSoon)]);
        assert_eq!(judge(&[WRITE, begun, done, ANSWER]), []);
    }

    #[test]
    fn a_sync_that_came_too_early_or_failed_or_was_of_another_file_does_not_count() {
        let failed = "7 fdatasync(12</d/queue.db-wal>) = -1 EIO (Input/output error)";
        let other = "7 fdatasync(11</d/queue.db>) = 0";
        for sync in [failed, other] {
            assert_eq!(judge(&[WRITE, sync, ANSWER]), [("d1", Broken::NotSynced)], "{sync}");
        }
        assert_eq!(judge(&[SYNC, WRITE, ANSWER]), [("d1", Broken::NotSynced)]);
    }

    #[test]
    fn a_webhook_that_was_never_written_or_answered_is_reported() {
        assert_eq!(judge(&[SYNC, ANSWER]), [("d1", Broken::NotWritten)]);
        assert_eq!(judge(&[WRITE, SYNC]), [("d1", Broken::NotAnswered)]);
    }

    #[test]
    fn each_answer_belongs_to_its_own_delivery() {
        let second = WRITE.replace("d1", "d2");
        let trace = [WRITE, SYNC, ANSWER, &second, ANSWER].join("\n");
        assert_eq!(broken_promises(&trace, &["d1", "d2"]), [("d2", Broken::NotSynced)]);
    }
}
