//! What was sent and what became of it, and what of it was delivered.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bounds::NAMED_MAX;
use crate::webhook;

/// One webhook, as its sender saw it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its delivery id.
    pub id: String,
    /// How often at least a byte of it was sent.
    pub attempts: u32,
    /// When its last attempt began.
    pub began: Instant,
    /// From there to the 2xx, if it got one.
    pub acknowledged: Option<Duration>,
    /// Its other answers; 0 is none.
    pub refusals: Vec<u16>,
}

/// What the reader found of what was sent.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Different webhooks that were sent.
    pub sent: usize,
    /// Those that got a 2xx.
    pub acknowledged: usize,
    /// Different webhooks that came out of the queue.
    pub delivered: usize,
    /// Acknowledged and not delivered.
    pub lost: Vec<String>,
    /// Copies beyond as many as the sender had sent: the id of each.
    pub duplicates: Vec<String>,
    /// Copies beyond the first that the sender had sent as well: it had no 2xx for one that was taken.
    pub resent: usize,
    /// Messages that aren't, byte for byte, what was sent: the reader's words on each.
    pub altered: Vec<String>,
    /// Messages of earlier rounds.
    pub strays: usize,
    /// Answers other than 2xx, and how often.
    pub refusals: Vec<(u16, usize)>,
}

/// What of a message is looked at.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "deliveryId")]
    delivery: String,
    #[serde(borrow)]
    data: &'a RawValue,
    /// What `sluiced work --print` adds: its lines have no line breaks, so that `data` isn't verbatim there.
    #[serde(rename = "bodyBase64")]
    body: Option<String>,
    receiver: String,
    actions: Vec<String>,
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    query: String,
    headers: HashMap<String, Vec<String>>,
}

/// Compares what was sent with what came out. `round` begins the ids of this one.
pub fn judge(round: &str, sent: &[Sent], messages: &[Vec<u8>]) -> Verdict {
    let mut verdict = Verdict { sent: sent.len(), ..Verdict::default() };
    let mut copies: HashMap<String, u32> = HashMap::new();
    for message in messages {
        match id_of(message) {
            Ok(id) if id.starts_with(round) => *copies.entry(id).or_default() += 1,
            Ok(_) => verdict.strays += 1,
            Err(why) => verdict.altered.push(why),
        }
    }
    verdict.delivered = copies.len();
    let mut refusals: HashMap<u16, usize> = HashMap::new();
    for webhook in sent {
        let found = copies.remove(&webhook.id).unwrap_or_default();
        if webhook.acknowledged.is_some() {
            verdict.acknowledged += 1;
            if found == 0 {
                verdict.lost.push(webhook.id.clone());
            }
        }
        let beyond = found.saturating_sub(webhook.attempts) as usize;
        verdict.duplicates.extend(std::iter::repeat_n(&webhook.id, beyond).cloned());
        verdict.resent += found.min(webhook.attempts).saturating_sub(1) as usize;
        for status in &webhook.refusals {
            *refusals.entry(*status).or_default() += 1;
        }
    }
    verdict.altered.extend(copies.into_keys().map(|id| format!("{id} was never sent")));
    verdict.refusals = refusals.into_iter().collect();
    verdict.refusals.sort_unstable();
    verdict
}

/// The id of a message that is what was sent; else what is wrong with it.
fn id_of(bytes: &[u8]) -> Result<String, String> {
    let message: Message = serde_json::from_slice(bytes)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)])))?;
    let id = message.delivery;
    let sent = webhook::body(&id);
    let same = match &message.body {
        Some(text) => STANDARD.decode(text).is_ok_and(|body| body == sent),
        None => message.data.get().as_bytes() == sent.trim_ascii_end(),
    };
    let again = [id.clone(), format!("again {id}")];
    let wrong = if !same {
        Some("its body")
    } else if message.request.headers.get(webhook::HEADER).map(Vec::as_slice) != Some(&again) {
        Some("its headers")
    } else if message.request.query != format!("torture={id}") {
        Some("its query")
    } else if (message.receiver.as_str(), message.actions.as_slice())
        != ("github", [webhook::event(&id)].as_slice())
    {
        Some("its receiver or action")
    } else {
        None
    };
    wrong.map_or(Ok(id.clone()), |what| Err(format!("{id}: {what}")))
}

impl Verdict {
    /// Whether a promise was broken.
    pub fn is_broken(&self) -> bool {
        !self.lost.is_empty() || !self.altered.is_empty()
    }

    /// Some of what was lost or altered, for whoever looks for it.
    pub fn named(&self) -> String {
        let some = |all: &[String]| all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        format!("lost: [{}], altered: [{}]", some(&self.lost), some(&self.altered))
    }

    /// Adds another round's figures.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.lost.extend(other.lost);
        self.duplicates.extend(other.duplicates);
        self.resent += other.resent;
        self.altered.extend(other.altered);
        self.strays += other.strays;
        for (status, count) in other.refusals {
            match self.refusals.iter_mut().find(|(known, _)| *known == status) {
                Some((_, sum)) => *sum += count,
                None => self.refusals.push((status, count)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: &str, attempts: u32, acknowledged: bool) -> Sent {
        let acknowledged = acknowledged.then_some(Duration::from_millis(1));
        let refusals = if acknowledged.is_some() { vec![] } else { vec![503] };
        Sent { id: id.into(), attempts, began: Instant::now(), acknowledged, refusals }
    }

    fn message(id: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            r#"{{"receiver":"github","actions":["{}"],"deliveryId":"{id}","request":{{"query":"torture={id}",
            "headers":{{"x-torture":["{id}","again {id}"]}}}},"data":"#,
            webhook::event(id)
        );
        [head.as_bytes(), body, b"}"].concat()
    }

    fn good(id: &str) -> Vec<u8> {
        message(id, &webhook::body(id))
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost() {
        let sent = [sent("a-1", 1, true), sent("a-2", 1, true), sent("a-3", 1, false)];
        let verdict = judge("a-", &sent, &[good("a-1")]);
        assert_eq!(verdict.lost, ["a-2"]);
        assert_eq!((verdict.sent, verdict.acknowledged, verdict.delivered), (3, 2, 1));
        assert!(verdict.is_broken());
        assert_eq!(verdict.refusals, [(503, 1)]);
    }

    #[test]
    fn copies_that_the_sender_did_not_send_are_duplicates() {
        let sent = [sent("a-1", 1, true), sent("a-2", 2, true)];
        let verdict = judge("a-", &sent, &[good("a-1"), good("a-1"), good("a-2"), good("a-2"), good("a-2")]);
        assert_eq!(verdict.duplicates, ["a-1", "a-2"]);
        assert_eq!((verdict.resent, verdict.is_broken()), (1, false));
    }

    #[test]
    fn a_byte_that_is_another_a_header_that_is_gone_and_a_stranger_are_altered() {
        let mut body = webhook::body("a-1");
        let at = body.len() / 2;
        body[at] = if body[at] == b'0' { b'1' } else { b'0' };
        let header = String::from_utf8(good("a-2")).unwrap().replace("again ", "");
        let messages = [message("a-1", &body), header.into_bytes(), good("a-3"), b"{}".to_vec(), good("b-1")];
        let verdict = judge("a-", &[sent("a-1", 1, true), sent("a-2", 1, true)], &messages);
        assert_eq!((verdict.altered.len(), verdict.strays, verdict.lost.len()), (4, 1, 2));
    }

    #[test]
    fn the_body_that_a_worker_prints_in_base64_counts() {
        let mut line: serde_json::Value = serde_json::from_slice(&good("a-1")).unwrap();
        line["bodyBase64"] = STANDARD.encode(webhook::body("a-1")).into();
        let verdict = judge("a-", &[sent("a-1", 1, true)], &[line.to_string().into_bytes()]);
        assert!(!verdict.is_broken(), "{}", verdict.named());
        line["bodyBase64"] = STANDARD.encode("{}").into();
        assert!(judge("a-", &[sent("a-1", 1, true)], &[line.to_string().into_bytes()]).is_broken());
    }
}
