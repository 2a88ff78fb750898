//! Every bound of the backend, with its reason.

use std::time::Duration;

/// The longest text of a message: Azure's own limit, counted after encoding.
pub(crate) const TEXT_BYTES_MAX: usize = 65_536;

/// The longest message before base64, which makes four bytes of three.
pub(crate) const MESSAGE_BYTES_MAX: usize = TEXT_BYTES_MAX / 4 * 3;

/// Sends under way at once unless configured. Each takes a connection of HTTP/1.1. At Azure's 10 to 20 ms a send
/// this is more than the 2,000 messages a second that one queue takes.
pub(crate) const SENDS_MAX: usize = 64;

/// The most that may be configured: each is a socket, and a process has 1,024 files on many systems.
pub(crate) const SENDS_LIMIT: usize = 512;

/// Sends under way and waiting for their turn. At 64 KiB each that is 64 MiB; past it a send fails at once.
pub(crate) const PENDING_MAX: usize = 1_024;

/// A publish ends by then unless configured, and late confirmations have until then to come.
pub(crate) const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// A send isn't begun with less time than this before its deadline.
pub(crate) const SEND_LEAST: Duration = Duration::from_millis(50);

/// A send that has had no answer for so long makes the watch ask whether anybody is there: Azure answers in
/// milliseconds, and a service that is frozen must be known to be before many deadlines are missed.
pub(crate) const STALL: Duration = Duration::from_secs(3);

/// Every call but a send is answered by then or given up.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// A probe is answered by then or counts as not answered. Shorter than a call, so that a frozen service is known
/// to be frozen within [`STALL`] and this.
pub(crate) const PROBE_DEADLINE: Duration = Duration::from_secs(3);

/// `check --connect` ends by then.
pub(crate) const CHECK_DEADLINE: Duration = Duration::from_secs(10);

/// The pause between two probes of a queue that doesn't answer grows from the first …
pub(crate) const PROBE_PAUSE_FIRST: Duration = Duration::from_millis(250);

/// … to this, jitter not counted: one small request a second is nothing to Azure, and an outage ends a second
/// later at most.
pub(crate) const PROBE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A send that was not permitted is tried again after this, when the queue answers otherwise: a probe reads, so
/// it can't tell when writing is permitted, and role assignments take minutes to spread.
pub(crate) const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Throttling is over when none was seen for so long: it comes and goes with each second's traffic, and each of
/// its turns would be a line in the log.
pub(crate) const THROTTLED_QUIET: Duration = Duration::from_secs(10);

/// One send is repeated so often for a server's error or throttling, within its deadline.
pub(crate) const RETRIES_MAX: usize = 5;

/// The pause before the first repetition …
pub(crate) const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(100);

/// … and the longest, unless Azure asks for a longer one.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// The longest pause that Azure may ask for. It asks for seconds; what is longer than any deadline is all the same.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// The longest answer that is read: a page of messages, with each character escaped as XML does it, six bytes for
/// one, and some room for what stands beside the text.
pub(crate) const ANSWER_BYTES_MAX: usize = PAGE_MAX * (TEXT_BYTES_MAX * 6 + 4_096);

/// A request waits so long for a token of Entra ID, which answers in tenths of a second. Less than
/// [`PROBE_DEADLINE`], so that the reason is known to be the token.
pub(crate) const TOKEN_WAIT: Duration = Duration::from_secs(2);

/// A token that is fetched with nobody waiting any more comes by then or not at all.
pub(crate) const TOKEN_DEADLINE: Duration = Duration::from_secs(30);

/// After a token didn't come, requests fail for so long with that and don't wait for the next.
pub(crate) const TOKEN_PAUSE: Duration = Duration::from_secs(1);

/// A connection is made within this or not at all; reqwest's own 20 s there would be most of a publish's deadline.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// No byte of an answer for so long ends a request. A publish's deadline may be configured up to this.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(120);

/// Idle connections are kept for so long: less than the minutes after which load balancers forget them silently.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// The kernel asks after so long whether the other side of a silent connection is still there.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The longest text of an error that is passed on: it goes into logs and answers.
pub(crate) const ERROR_TEXT_MAX: usize = 160;

/// Azure gives and shows no more messages at once.
pub(crate) const PAGE_MAX: usize = 32;

/// The longest visibility time-out that Azure knows: seven days.
pub(crate) const VISIBILITY_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// One `receive` takes no more: at 48 KiB each they are 48 MiB.
pub(crate) const RECEIVE_MAX: usize = 1_024;

/// While a worker waits, the first pause between two looks …
pub(crate) const POLL_FIRST: Duration = Duration::from_millis(100);

/// … and the longest. Each look is a request that Azure charges for: 2.6 million a month and worker.
pub(crate) const POLL_IDLE: Duration = Duration::from_secs(1);

/// Messages that one consumer has in hand, some 250 bytes each besides their text, which the worker holds.
pub(crate) const LEASES_MAX: usize = 65_536;

/// A lease that has ended is remembered for so long: until somebody else takes the message, its holder may still
/// settle it.
pub(crate) const LEASE_KEPT: Duration = Duration::from_secs(60 * 60);

/// How long a message is kept from others while it is copied to another queue: longer than all tries of that.
pub(crate) const MOVE_SECONDS: i32 = 60;

/// How long dead letters are kept from others while an operator looks at more than Azure shows at once, or searches
/// one among them. They are given back at the end; after a kill they come back by themselves by then.
pub(crate) const HOLD_SECONDS: i32 = 120;

/// The most dead letters that are searched or listed; beyond that somebody should work on them with a program.
pub(crate) const SEARCH_MAX: usize = 100_000;

/// The longest reason of a dead letter that is kept, in bytes.
pub(crate) const REASON_BYTES_MAX: usize = 1_024;
