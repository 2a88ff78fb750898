//! Durations, sizes and times as people write them: `250ms`, `1GiB`, `2026-11-24T02:30:53Z`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

/// A duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`. A bare `0` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

/// A size: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`, or a bare number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A moment: RFC 3339, or whole Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HumanTime(pub Timestamp);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write a number with ms, s, m, h or d: 250ms");
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" if number == 0 => 1,
            _ => return Err(wrong()),
        };
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size; write a number with B, KiB, MiB, GiB or TiB: 25MiB");
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(wrong()),
        };
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

impl FromStr for HumanTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        seconds.or_else(|| text.parse().ok()).map(Self).ok_or_else(|| {
            format!("`{text}` is not a time; write 2026-11-24T02:30:53Z, or Unix seconds: 1795487453")
        })
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("0s"),
            ms if ms % 1_000 != 0 => write!(f, "{ms}ms"),
            ms => write!(f, "{}s", ms / 1_000),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.iter().find(|(shift, _)| self.0 > 0 && self.0.trailing_zeros() >= *shift) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a size such as \"25MiB\", or a number of bytes")]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(bytes) => Ok(Self(bytes)),
            Either::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_unix_seconds() {
        let time = |text: &str| text.parse::<HumanTime>().map(|time| time.0.as_second());
        for text in ["1700000000", "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00"] {
            assert_eq!(time(text), Ok(1_700_000_000), "{text}");
        }
        for text in ["", "now", "2023-11-14", "2023-11-14T22:13:20", "99999999999999999999", "1.5"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_and_sizes_read_as_written() {
        for (text, ms) in
            [("250ms", 250), ("0", 0), ("0s", 0), ("25s", 25_000), ("2m", 120_000), ("1 h", 3_600_000)]
        {
            assert_eq!(text.parse::<HumanDuration>().unwrap().0.as_millis(), ms, "{text}");
        }
        for (text, bytes) in [("1GiB", 1 << 30), ("25MiB", 25 << 20), ("512", 512), ("0", 0), ("3 KiB", 3072)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "5", "ms", "-1s", "1.5s", "1 week", "99999999999999999999s", "9999999999999999d"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
        for text in ["", "MiB", "1GB", "-1", "99999999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for bytes in [0, 1, 1023, 1 << 10, 25 << 20, (1 << 30) + 1, 10 << 30] {
            assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>().unwrap().0, bytes);
        }
        for ms in [0, 1, 999, 1_000, 61_000] {
            let duration = HumanDuration(Duration::from_millis(ms));
            assert_eq!(duration.to_string().parse::<HumanDuration>().unwrap(), duration);
        }
    }
}
