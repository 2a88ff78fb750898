//! Signed times: where they are, what they look like, and how old they may be.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::admission::Refusal;
use super::error::CompileError;
use super::settings::Scope;
use super::source::Source;
use crate::catalog::{TimestampRule, Tolerance};
use crate::reason::Reason;

/// A compiled rule.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) place: Place,
    unit: Unit,
    tolerance: Tolerance,
}

/// Where the time is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A source of its own.
    Source(Source),
    /// Within the signature's value, under that key.
    Signature(String),
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Seconds,
    Milliseconds,
    Iso8601,
    Rfc1123,
}

impl Clock {
    /// Compiles a row's rule; `None` when its source comes out empty.
    pub(super) fn compile(
        rule: &TimestampRule,
        scope: &Scope<'_>,
        tolerance: Option<Duration>,
    ) -> Result<Option<Self>, CompileError> {
        let from = scope.expand(&rule.from)?;
        if from.is_empty() {
            return Ok(None);
        }
        let place = match from.strip_prefix("signature:") {
            Some(key) => Place::Signature(key.to_owned()),
            None => Place::Source(Source::parse(&from)?),
        };
        let tolerance = tolerance.map_or(rule.tolerance, Tolerance::Within);
        Ok(Some(Self { place, unit: Unit::named(&scope.expand(&rule.unit)?)?, tolerance }))
    }

    /// Whether old ones are refused.
    pub(super) fn is_bounded(&self) -> bool {
        matches!(self.tolerance, Tolerance::Within(_))
    }

    /// Reads the raw text and refuses what is too far from now, either way; the boundary is within.
    pub(super) fn judge(&self, raw: &[u8], now: Timestamp) -> Result<(), Refusal> {
        let time = std::str::from_utf8(raw).ok().and_then(|text| self.unit.parse(text));
        let time =
            time.ok_or(Refusal::new(Reason::TimestampMalformed, "the timestamp isn't of the scheme's unit"))?;
        let Tolerance::Within(tolerance) = self.tolerance else { return Ok(()) };
        let age = now.duration_since(time);
        match (age.unsigned_abs() <= tolerance, age.is_negative()) {
            (true, _) => Ok(()),
            (false, true) => {
                Err(Refusal::new(Reason::TimestampOutOfTolerance, "the timestamp is in the future"))
            }
            (false, false) => Err(Refusal::new(Reason::TimestampOutOfTolerance, "the timestamp is too old")),
        }
    }

    /// The time as the provider writes it.
    pub(super) fn write(&self, time: Timestamp) -> String {
        match self.unit {
            Unit::Seconds => time.as_second().to_string(),
            Unit::Milliseconds => time.as_millisecond().to_string(),
            Unit::Iso8601 => time.to_string(),
            Unit::Rfc1123 => time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        }
    }

    /// Whether the provider writes it as a number in JSON.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.unit, Unit::Seconds | Unit::Milliseconds)
    }
}

impl Unit {
    fn named(name: &str) -> Result<Self, CompileError> {
        Ok(match name {
            "s" => Self::Seconds,
            "ms" => Self::Milliseconds,
            "iso8601" => Self::Iso8601,
            "rfc1123" => Self::Rfc1123,
            _ => return Err(CompileError::unknown("unit of time", name, "s, ms, iso8601, rfc1123")),
        })
    }

    fn parse(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Seconds => Timestamp::from_second(integer(text)?).ok(),
            Self::Milliseconds => {
                let milliseconds = SignedDuration::from_millis(integer(text)?);
                Timestamp::from_duration(milliseconds).ok()
            }
            // Without an offset it is UTC: Orb writes it so.
            Self::Iso8601 => {
                text.parse().ok().or_else(|| TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok())
            }
            Self::Rfc1123 => jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok(),
        }
    }
}

/// Digits only: a sign, a fraction or white space is not what a provider sends.
fn integer(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(unit: &str) -> Clock {
        Clock {
            place: Place::Signature(String::new()),
            unit: Unit::named(unit).unwrap(),
            tolerance: Tolerance::DEFAULT,
        }
    }

    fn judge(unit: &str, raw: &str, now: &str) -> Option<Reason> {
        clock(unit).judge(raw.as_bytes(), now.parse().unwrap()).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn the_boundary_is_within() {
        let raw = "1700000000";
        assert_eq!(judge("s", raw, "2023-11-14T22:18:20Z"), None);
        assert_eq!(judge("s", raw, "2023-11-14T22:18:20.000001Z"), Some(Reason::TimestampOutOfTolerance));
        assert_eq!(judge("s", raw, "2023-11-14T22:08:20Z"), None);
        assert_eq!(judge("s", raw, "2023-11-14T22:08:19Z"), Some(Reason::TimestampOutOfTolerance));
    }

    #[test]
    fn reads_every_unit_and_writes_it() {
        let now = "2023-11-14T22:13:20Z";
        let texts = [
            ("s", "1700000000"),
            ("ms", "1700000000000"),
            ("iso8601", "2023-11-14T22:13:20Z"),
            ("rfc1123", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ];
        for (unit, text) in texts {
            assert_eq!(judge(unit, text, now), None, "{unit}");
            assert_eq!(clock(unit).write(now.parse().unwrap()), text);
        }
        assert_eq!(judge("iso8601", "2023-11-14T15:13:20.123456789-07:00", now), None);
        assert_eq!(judge("iso8601", "2023-11-14T22:13:20.123456", now), None);
    }

    #[test]
    fn refuses_what_is_no_time() {
        for raw in ["", "x", "-1", "+1", "1.5", " 1", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(judge("s", raw, "2023-11-14T22:13:20Z"), Some(Reason::TimestampMalformed), "{raw}");
        }
    }
}
