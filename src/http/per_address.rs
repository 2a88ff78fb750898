//! How many connections one address has: no more than its bound, so that it leaves some to others.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::networks::share_of;

/// Counts the open connections of each address, an IPv6 address being counted as its /64. It remembers
/// no more addresses than there are connections.
#[derive(Debug)]
pub struct PerAddress {
    connections_max: u64,
    open: Mutex<HashMap<IpAddr, u64>>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    counted: Arc<PerAddress>,
    share: IpAddr,
}

impl PerAddress {
    /// So many each.
    pub fn new(connections_max: u64) -> Arc<Self> {
        Arc::new(Self { connections_max, open: Mutex::default() })
    }

    /// A place for one more connection of this address, if it has one left.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let share = share_of(address);
        let mut open = self.open.lock().expect("nothing panics under this lock");
        let count = open.entry(share).or_default();
        if *count >= self.connections_max {
            return None;
        }
        *count += 1;
        Some(Place { counted: self.clone(), share })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A poisoned lock would mean a panic in the arithmetic; there is nothing to give back then.
        let Ok(mut open) = self.counted.open.lock() else { return };
        if let Entry::Occupied(mut count) = open.entry(self.share) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_address_and_given_back() {
        let counted = PerAddress::new(2);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let held: Vec<_> = (0..2).map(|_| counted.enter(one).unwrap()).collect();
        assert!(counted.enter(one).is_none() && counted.enter(other).is_some());
        drop(held);
        assert!(counted.open.lock().unwrap().is_empty());
        assert!(counted.enter(one).is_some());
    }
}
