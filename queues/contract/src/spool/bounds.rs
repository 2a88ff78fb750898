//! Every bound of the spool, with its reason.

use std::time::Duration;

/// `--ack-deadline` unless configured: senders wait ten seconds and longer, but a slow acknowledgement ties
/// up their connections and ours.
pub const ACK_DEADLINE: Duration = Duration::from_millis(250);

/// A publish whose webhook was answered from the spool is waited for until so long after it began; then the
/// drain takes the message.
pub const LATE_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of messages in publishes that outlived their webhook's answer. Past it a publish is given up and
/// the drain takes the message. Comes on top of the memory for bodies.
pub const LATE_BYTES_MAX: usize = 32 << 20;

/// What the shortest of them counts towards [`LATE_BYTES_MAX`], so that it bounds their number too (4,096).
pub const LATE_CHARGE_MIN: usize = 8 << 10;

/// When the disk can't take a message at its deadline, the broker gets so much longer.
pub const LAST_RESORT: Duration = Duration::from_secs(2);

/// After so many missed deadlines in a row the broker isn't tried any more for each message.
pub const MISSES_MAX: u32 = 5;

/// While the broker is away or slow: a probe a second, jitter included.
pub const PROBE_DELAY: Duration = Duration::from_millis(700);

/// While the broker refuses: the first delay; each further one is twice as long …
pub const REFUSED_DELAY: Duration = Duration::from_secs(1);

/// … up to this, and as much again at random. An operator who has mended it sees it go on within it.
pub const REFUSED_DELAY_MAX: Duration = Duration::from_secs(5);

/// One entry that the broker refuses while it takes others is left alone for so long at first …
pub const ENTRY_DELAY: Duration = Duration::from_secs(2);

/// … and for so long at last, and as much again at random.
pub const ENTRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// So many refusals in a row are no longer one entry's fault.
pub const REFUSALS_MAX: u32 = 3;

/// How often the broker's connection is looked at while it is down: the drain begins that soon after it is
/// back.
pub const HEALTH_LOOK: Duration = Duration::from_millis(100);

/// How often the store is looked at for entries that another process put there (`sluiced dead retry`).
pub const STORE_LOOK: Duration = Duration::from_secs(2);

/// Pause after the store couldn't be read or written.
pub const STORE_RETRY: Duration = Duration::from_secs(1);

/// Entries on their way to the broker: as many keep it as busy as it gets, and no queue of them builds up
/// in front of live traffic.
pub const IN_FLIGHT_MAX: usize = 64;

/// Bytes of entries on their way to the broker, besides one that is longer than that: on a slow line such a one
/// may take all its time, again and again, and must not be in the others' way. Each is in memory three times:
/// as stored, decoded, encoded.
pub const IN_FLIGHT_BYTES_MAX: u64 = 8 << 20;

/// Entries that the drain knows by number, waiting for their turn or for a late confirmation.
pub const WINDOW_MAX: usize = 8_192;

/// Entries that wait until their route isn't refused any more; by number alone, some 40 MiB at most. A spool of
/// 1 GiB has hardly more.
pub const PARKED_MAX: usize = 1 << 20;

/// Refused routes that are known. Past it each refused message has a backoff of its own.
pub const ROUTES_MAX: usize = 1_024;

/// Entries that are asked of the store at a time.
pub const CLAIM_MAX: usize = 1_024;

/// A live publish that takes longer than this part of its deadline is slow: the drain then makes way.
pub const SLOW_PART: u32 = 2;

/// The drain makes way for live traffic once in so long: its last step must have had time to help.
pub const YIELD_INTERVAL: Duration = Duration::from_millis(100);

/// After it made way the drain takes no more for so long.
pub const YIELD_REST: Duration = Duration::from_secs(1);
