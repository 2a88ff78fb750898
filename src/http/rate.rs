//! Rate limits: so many a second, minute or hour, spread evenly, with one period's worth at once.
//!
//! A limit remembers one moment for each of those it counts: when what was taken so far would be paid back
//! (the generic cell rate algorithm). Who has paid back everything needn't be remembered.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, de};

use crate::bounds::{RATE_ADDRESSES_MAX, RATE_COUNT_MAX, RATE_SWEEP_INTERVAL};
use crate::networks::share_of;

/// So many in a period: `100/s`, `600/m`, `5000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a rate; write a number from 1 to {RATE_COUNT_MAX} and /s, /m or /h: 100/s"
            )
        };
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let period = Duration::from_secs(match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(wrong()),
        });
        if !(1..=RATE_COUNT_MAX).contains(&count) {
            return Err(wrong());
        }
        Ok(Self { count, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Rate {
    /// Takes one; `Err` with the time until there is one again, and nothing taken.
    fn take(self, paid_back: &mut Instant, now: Instant) -> Result<(), Duration> {
        let one = self.period / self.count;
        let owed = paid_back.saturating_duration_since(now);
        let allowed = self.period.saturating_sub(one);
        if owed > allowed {
            return Err(owed - allowed);
        }
        *paid_back = now + owed + one;
        Ok(())
    }
}

/// A limit on one thing.
#[derive(Debug)]
pub struct Limit {
    rate: Rate,
    paid_back: Mutex<Instant>,
}

impl Limit {
    /// Nothing taken yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, paid_back: Mutex::new(Instant::now()) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// The time until there is one again.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        self.rate.take(&mut self.paid_back.lock().expect("nothing panics under this lock"), now)
    }
}

/// A limit on each address, an IPv6 address being counted as its /64.
///
/// So many addresses are remembered and no more. When there is no room for another, those that aren't
/// remembered share one limit: a sender with a thousand networks gets no more by it than by one.
#[derive(Debug)]
pub struct AddressLimit {
    rate: Rate,
    addresses_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    paid_back: HashMap<IpAddr, Instant>,
    shared: Instant,
    swept: Instant,
}

impl AddressLimit {
    /// Nothing taken yet.
    pub fn new(rate: Rate) -> Self {
        Self::bounded(rate, RATE_ADDRESSES_MAX)
    }

    fn bounded(rate: Rate, addresses_max: usize) -> Self {
        let now = Instant::now();
        let table = Table { paid_back: HashMap::new(), shared: now, swept: now };
        Self { rate, addresses_max, table: Mutex::new(table) }
    }

    /// Takes one for an address.
    ///
    /// # Errors
    /// The time until there is one again.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = share_of(address);
        let mut table = self.table.lock().expect("nothing panics under this lock");
        if let Some(paid_back) = table.paid_back.get_mut(&address) {
            return self.rate.take(paid_back, now);
        }
        if table.paid_back.len() >= self.addresses_max {
            table.sweep(now);
        }
        if table.paid_back.len() >= self.addresses_max {
            return self.rate.take(&mut table.shared, now);
        }
        self.rate.take(table.paid_back.entry(address).or_insert(now), now)
    }
}

impl Table {
    /// Forgets those that have paid back, which takes a look at all of them: not at every request.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= RATE_SWEEP_INTERVAL {
            self.swept = now;
            self.paid_back.retain(|_, paid_back| *paid_back > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4((0xcb00_0000 + number).into())
    }

    #[test]
    fn one_periods_worth_at_once_and_then_evenly() {
        let limit = Limit::new(rate("10/s"));
        let start = Instant::now();
        assert_eq!((0..100).filter(|_| limit.take(start).is_ok()).count(), 10);
        let wait = limit.take(start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(limit.take(start + wait - Duration::from_millis(1)).is_err());
        assert!(limit.take(start + wait).is_ok() && limit.take(start + wait).is_err());
        let later = start + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| limit.take(later).is_ok()).count(), 10, "no more than one period's");
    }

    #[test]
    fn one_an_hour_is_one_an_hour() {
        let limit = Limit::new(rate("1/h"));
        let start = Instant::now() + Duration::from_secs(1);
        assert!(limit.take(start).is_ok());
        assert_eq!(limit.take(start).unwrap_err(), Duration::from_secs(3_600));
    }

    #[test]
    fn each_address_has_its_own() {
        let limit = AddressLimit::new(rate("2/s"));
        let now = Instant::now();
        for number in 0..50 {
            let taken = (0..5).filter(|_| limit.take(address(number), now).is_ok()).count();
            assert_eq!(taken, 2);
        }
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert_eq!((0..100).filter(|n| limit.take(v6(*n), now).is_ok()).count(), 2, "a /64 is one");
    }

    #[test]
    fn past_the_bound_newcomers_share_one_limit_and_the_known_keep_theirs() {
        let limit = AddressLimit::bounded(rate("2/m"), 100);
        let now = Instant::now();
        for number in 0..100 {
            assert!(limit.take(address(number), now).is_ok());
        }
        let newcomers = (100..1_000).filter(|n| limit.take(address(*n), now).is_ok()).count();
        assert_eq!(newcomers, 2, "never open");
        assert_eq!(limit.table.lock().unwrap().paid_back.len(), 100);
        assert!(limit.take(address(7), now).is_ok(), "its second");
        assert!(limit.take(address(7), now).is_err());
        // Once the old ones have paid back, there is room again.
        let later = now + Duration::from_secs(61);
        assert!(limit.take(address(1_001), later).is_ok());
        assert_eq!(limit.table.lock().unwrap().paid_back.len(), 1);
    }

    #[test]
    fn rates_are_read_and_shown() {
        for text in ["100/s", "600/m", "5000/h"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for wrong in ["", "100", "100/d", "0/s", "-1/s", "1000001/s", "1.5/s", "/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
