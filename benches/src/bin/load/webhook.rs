//! A push of GitHub's, ready to be sent: of one to the next only the delivery's id changes, which isn't signed.

use std::net::SocketAddr;
use std::rc::Rc;

use sluiced_benches::github;

/// Digits of the id that count up.
const COUNT_DIGITS: usize = 12;

/// The bytes of a request. Those of one body share it.
pub(crate) struct Webhook {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Rc<[u8]>,
    count_at: usize,
}

/// What all webhooks of a run have in common.
pub(crate) struct Kind<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) secret: &'a str,
    /// Tells the ids of one run from those of another.
    pub(crate) run: u64,
}

impl Webhook {
    pub(crate) fn new(kind: &Kind<'_>, body: Rc<[u8]>) -> Self {
        let signature = github::sign(&github::key(kind.secret), &body);
        let run = format!("{:016x}", kind.run);
        let (first, rest) = run.split_at(8);
        let (second, third) = rest.split_at(4);
        let before = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: GitHub-Hookshot/044aadd\r\n\
             Content-Length: {}\r\nAccept: */*\r\nContent-Type: application/json\r\n\
             X-GitHub-Event: push\r\nX-GitHub-Hook-ID: 292430182\r\n\
             X-GitHub-Hook-Installation-Target-ID: 79929171\r\n\
             X-GitHub-Hook-Installation-Target-Type: repository\r\n\
             X-Hub-Signature: sha1=7d38cdd689735b008b3c702edd92eea23791c5f6\r\n\
             {}: {signature}\r\nX-GitHub-Delivery: {first}-{second}-{third}-8000-",
            kind.path,
            kind.to,
            body.len(),
            github::SIGNATURE,
        );
        let count_at = before.len();
        let mut head = before.into_bytes();
        head.extend_from_slice(&[b'0'; COUNT_DIGITS]);
        head.extend_from_slice(b"\r\n\r\n");
        Self { head, body, count_at }
    }

    /// Gives it the id of this number.
    pub(crate) fn number(&mut self, mut number: u64) {
        for digit in self.head[self.count_at..self.count_at + COUNT_DIGITS].iter_mut().rev() {
            *digit = b"0123456789abcdef"[(number & 15) as usize];
            number >>= 4;
        }
    }
}

/// JSON in the shape of a push: nested objects, short strings and numbers, as many commits as fit.
pub(crate) fn body(size: usize, salt: usize) -> Rc<[u8]> {
    let mut json = format!(
        "{{\"ref\":\"refs/heads/main\",\"after\":\"{salt:040x}\",\"forced\":false,\
         \"repository\":{{\"id\":{},\"full_name\":\"acme/widgets\",\"private\":true}},\"commits\":[",
        186_853_002 + salt
    );
    let mut number = 0_u64;
    loop {
        let commit = format!(
            "{{\"id\":\"{:040x}\",\"message\":\"Turn the {number}th widget\\nand say \\\"why\\\"\",\
             \"timestamp\":\"2026-11-24T02:30:53Z\",\"author\":{{\"name\":\"Ada\",\"email\":\"ada@example.com\"}},\
             \"added\":[\"src/widget_{number}.rs\"],\"removed\":[],\"distinct\":true}},",
            number * 7_919 + salt as u64
        );
        if json.len() + commit.len() + 16 > size {
            break;
        }
        json += &commit;
        number += 1;
    }
    if json.ends_with(',') {
        json.pop();
    }
    json += "],\"pad\":\"";
    let end = "\"}";
    let pad = size.saturating_sub(json.len() + end.len());
    json.extend(std::iter::repeat_n('x', pad));
    json += end;
    json.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_the_size_asked_for_and_differ() {
        for size in [256, 1_024, 10_240, 262_144] {
            let one = body(size, 3);
            assert_eq!(one.len(), size);
            serde_json::from_slice::<serde_json::Value>(&one).unwrap();
            assert_ne!(one, body(size, 4));
        }
    }

    #[test]
    fn the_id_alone_changes() {
        let kind = Kind { to: ([127, 0, 0, 1], 80).into(), path: "/hook", secret: "s", run: 0xabc };
        let mut webhook = Webhook::new(&kind, body(300, 0));
        let mut numbered = |number| {
            webhook.number(number);
            String::from_utf8(webhook.head.clone()).unwrap()
        };
        let (one, other) = (numbered(0x12), numbered(0xffff_ffff_fff3));
        assert!(one.ends_with("X-GitHub-Delivery: 00000000-0000-0abc-8000-000000000012\r\n\r\n"), "{one}");
        assert_eq!(one.replace("000000000012", "fffffffffff3"), other);
    }
}
