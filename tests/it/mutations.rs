//! A signed webhook with bytes changed, dropped, doubled and cut, a few thousand times: the daemon never
//! falls over, never hangs, never blames itself, and never queues a body that was not signed.

use std::io::Write;
use std::net::Shutdown;

use crate::attack::assert_clean;
use crate::client::{GITHUB, connect, github_request, read_answer, send_raw};
use crate::daemon::Daemon;
use crate::worker::{body, drain};

const MUTATIONS: u64 = 3_000;
const BODY: &[u8] = b"{\"the\":\"signed body\"}";

#[test]
fn no_mutation_gets_an_unsigned_body_in() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let whole = github_request("mutated", BODY);
    let mut accepted = 0;
    for seed in 1..=MUTATIONS {
        let mut stream = connect(daemon.address);
        // It may be refused before all is sent.
        let _ = stream.write_all(&mutated(&whole, &mut Dice(seed)));
        let _ = stream.shutdown(Shutdown::Write);
        while let Some(answer) = read_answer(&mut stream) {
            accepted += usize::from(answer.status == 200);
            assert!(answer.status < 500, "mutation {seed}: {answer:?}");
        }
    }
    let answer = send_raw(daemon.address, &github_request("after", BODY)).expect("it serves on");
    assert_eq!(answer.status, 200);
    let text = daemon.stop();
    assert_clean(&text);
    assert!(!text.contains("panicked"), "{text}");
    let messages = drain(dir.path());
    assert_eq!(messages.len(), accepted + 1, "as many as got a 200");
    assert!(messages.iter().all(|message| body(message) == BODY));
    println!("{accepted} of {MUTATIONS} mutations left the webhook authentic");
    assert!(accepted > 0, "some bytes of a head don't matter");
}

/// Numbers that are the same in each run (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn mutated(whole: &[u8], dice: &mut Dice) -> Vec<u8> {
    const INTERESTING: &[u8] = b"\0\t\n\r :,;=%/?#\x7f\x80\xff0aZ";
    let mut bytes = whole.to_vec();
    // The low bits of a small seed are nearly constant at first.
    dice.below(2);
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let other = INTERESTING[dice.below(INTERESTING.len())];
        match dice.below(6) {
            0 => bytes[at] = other,
            1 => bytes.insert(at, other),
            2 => drop(bytes.remove(at)),
            3 => bytes[at] ^= 1 << dice.below(8),
            4 => {
                let end = (at + dice.below(40)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            _ => bytes.truncate(at.max(8)),
        }
    }
    bytes
}
