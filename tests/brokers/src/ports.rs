//! Ports that no two tests share, in this process or in others.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::bounds::{PORT_FIRST, PORT_LAST};

/// A port of loopback that is ours until this value is dropped, whether anything listens there or not.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The lock on it says "taken" to other tests, and ends with this process whatever happens.
    _lock: File,
}

impl Port {
    /// Takes one that nobody has and nothing listens on.
    ///
    /// # Panics
    /// When there is none.
    pub fn take() -> Self {
        static TAKEN: AtomicU16 = AtomicU16::new(0);
        let locks = locks();
        let span = PORT_LAST - PORT_FIRST + 1;
        // Processes begin at different places, so that they seldom meet.
        let begin = (std::process::id() % u32::from(span)) as u16;
        for _ in 0..span {
            let step = TAKEN.fetch_add(1, Ordering::Relaxed);
            let number = PORT_FIRST + (begin.wrapping_mul(97).wrapping_add(step)) % span;
            let lock = File::create(locks.join(number.to_string())).expect("a lock file can be made");
            if lock.try_lock().is_ok() && is_free(number) {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port between {PORT_FIRST} and {PORT_LAST} is free");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// Epmd and the like listen on all addresses, so all of them are asked for.
fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok()
}

fn locks() -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("sluiced-test-ports-{uid}"));
    fs::create_dir_all(&dir).expect("a directory for lock files can be made");
    dir
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_taken_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::take()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_port_that_something_listens_on_is_left_alone() {
        let port = Port::take();
        assert!(is_free(port.number()));
        let _listener = TcpListener::bind(port.address()).unwrap();
        assert!(!is_free(port.number()));
    }
}
