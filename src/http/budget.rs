//! The memory that all bodies share. Counted as bytes arrive, so that a declared length costs nothing;
//! given back when the webhook is done.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::bounds::SMALL_BODY_BYTES;
use crate::networks::share_of;

/// Counts bytes of bodies and of their encoded copies.
///
/// Small bodies may use all of it, large ones seven eighths: senders of small webhooks are served
/// while somebody else's uploads fill the rest. One address may fill half with its large bodies, and
/// half with its small ones; an IPv6 address is counted as its /64.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: u64,
    large: u64,
    by_address: HashMap<IpAddr, Share>,
}

/// What one address holds.
#[derive(Debug, Default)]
struct Share {
    small: u64,
    large: u64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, used: Mutex::default() })
    }

    /// An account for one delivery of this client, empty at first.
    pub fn account(self: &Arc<Self>, client: IpAddr) -> Account {
        Account { budget: self.clone(), client: share_of(client), bytes: 0 }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.lock().expect("nothing panics under this lock").total
    }
}

/// What one delivery holds; gives it back when dropped.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    client: IpAddr,
    bytes: u64,
}

impl Account {
    /// Takes more bytes; `false`, and nothing taken, when they aren't to be had.
    #[must_use]
    pub fn charge(&mut self, bytes: u64) -> bool {
        let max = self.budget.bytes_max;
        let mut used = self.budget.used.lock().expect("nothing panics under this lock");
        let (before, after) = (self.bytes, self.bytes + bytes);
        let (was_large, is_large) = (before > SMALL_BODY_BYTES, after > SMALL_BODY_BYTES);
        let more_large = if was_large { bytes } else { after };
        let share = used.by_address.entry(self.client).or_default();
        let share_fits =
            if is_large { share.large + more_large <= max / 2 } else { share.small + bytes <= max / 2 };
        let large_fits = !is_large || used.large + more_large <= max - max / 8;
        if !share_fits || !large_fits || used.total + bytes > max {
            used.forget_if_empty(self.client);
            return false;
        }
        used.take(self.client, before);
        used.put(self.client, after);
        self.bytes = after;
        true
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // A poisoned lock would mean a panic in the arithmetic above; there is nothing to give back then.
        if let Ok(mut used) = self.budget.used.lock() {
            used.take(self.client, self.bytes);
            used.forget_if_empty(self.client);
        }
    }
}

impl Used {
    fn put(&mut self, client: IpAddr, bytes: u64) {
        let share = self.by_address.entry(client).or_default();
        self.total += bytes;
        if bytes > SMALL_BODY_BYTES {
            self.large += bytes;
            share.large += bytes;
        } else {
            share.small += bytes;
        }
    }

    fn take(&mut self, client: IpAddr, bytes: u64) {
        let share = self.by_address.entry(client).or_default();
        self.total -= bytes;
        if bytes > SMALL_BODY_BYTES {
            self.large -= bytes;
            share.large -= bytes;
        } else {
            share.small -= bytes;
        }
    }

    /// Keeps the map no longer than the open deliveries.
    fn forget_if_empty(&mut self, client: IpAddr) {
        if self.by_address.get(&client).is_some_and(|share| share.small == 0 && share.large == 0) {
            self.by_address.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 64 * SMALL_BODY_BYTES;

    fn address(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Budget::new(MAX);
        let mut account = budget.account(address(1));
        assert!(account.charge(10) && account.charge(SMALL_BODY_BYTES) && account.charge(1));
        assert_eq!(budget.used(), SMALL_BODY_BYTES + 11);
        drop(account);
        assert_eq!(budget.used(), 0);
        assert!(budget.used.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn an_eighth_is_kept_for_small_bodies() {
        let budget = Budget::new(MAX);
        let mut large: Vec<_> = (0..8).map(|n| budget.account(address(n))).collect();
        let granted = large.iter_mut().filter_map(|a| a.charge(8 * SMALL_BODY_BYTES).then_some(())).count();
        assert_eq!(granted, 7, "large bodies stop at seven eighths");
        let mut small: Vec<_> = (0..9).map(|n| budget.account(address(100 + n))).collect();
        let granted = small.iter_mut().filter_map(|a| a.charge(SMALL_BODY_BYTES).then_some(())).count();
        assert_eq!(granted, 8, "small ones fill the rest and no more");
    }

    #[test]
    fn one_address_has_half_for_large_bodies_and_is_not_cut_off_from_small_ones() {
        let budget = Budget::new(MAX);
        let mut large = budget.account(address(1));
        assert!(large.charge(MAX / 2));
        assert!(!budget.account(address(1)).charge(SMALL_BODY_BYTES + 1));
        assert!(budget.account(address(1)).charge(SMALL_BODY_BYTES), "a small one of the same address");
        assert!(budget.account(address(2)).charge(SMALL_BODY_BYTES + 1), "a large one of another");
    }

    #[test]
    fn a_refused_charge_takes_nothing() {
        let budget = Budget::new(MAX);
        let mut account = budget.account(address(1));
        assert!(account.charge(1));
        assert!(!account.charge(MAX));
        assert_eq!(budget.used(), 1);
    }
}
