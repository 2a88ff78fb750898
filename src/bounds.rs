//! Every bound that isn't the backend's own, with its reason. What an operator may change is a
//! default here and a key of `[limits]`; see [`crate::config::Limits`].

use std::time::Duration;

/// GitHub's own cap on a payload, the largest among the providers.
pub const BODY_BYTES_MAX: u64 = 25 << 20;

/// Headers of a request, in number and in bytes: four times what any provider was seen to send.
pub const HEADERS_MAX: u64 = 100;
/// See [`HEADERS_MAX`]. Also the size of a connection's read buffer.
pub const HEADERS_BYTES_MAX: u64 = 64 << 10;
/// hyper's read buffer can't be smaller.
pub const HEADERS_BYTES_FLOOR: u64 = 8 << 10;

/// From the first byte of a request to the end of its headers; also from accept to the first byte.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of the headers to the end of the body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that comes more slowly than this, seen over [`BODY_RATE_GRACE`] or longer, is a slow-loris.
pub const BODY_RATE_MIN_BYTES_PER_S: u64 = 1 << 10;
/// A pause of one lost packet's retransmissions must not count as slow.
pub const BODY_RATE_GRACE: Duration = Duration::from_secs(5);

/// A keep-alive connection without a request. Longer than the pools of common senders keep theirs
/// (60 s), so that it is the sender that closes and never finds the connection just gone.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Open connections; 26 KiB each while idle, measured with 10,000 that had had an answer.
pub const CONNECTIONS_MAX: u64 = 10_000;
/// Connections past the bound that are being told so; more are dropped without a word.
pub const REJECTIONS_MAX: u64 = 256;

/// A chain of proxies in front of us; more entries than this are somebody's idea of an attack.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// A PROXY header behind its first 16 bytes: addresses, and what cloud providers add.
pub const PROXY_HEADER_BYTES_MAX: usize = 2 << 10;

/// A certificate's, a key's or a root store's file. The roots of common systems have 250 KiB.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// Room for one of a file that doesn't tell its length: a key fits.
pub const PEM_ROOM_BYTES: usize = 16 << 10;
/// A certificate that ends within this is warned about: whoever renews it once a month has missed a turn.
pub const CERTIFICATE_EXPIRY_WARNING: Duration = Duration::from_secs(21 * 24 * 3_600);
/// How often the files of certificates are looked at.
pub const CERTIFICATE_LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Addresses whose rates are remembered; about 3 MiB.
pub const RATE_ADDRESSES_MAX: usize = 65_536;
/// When there is no room for another one, those that needn't be remembered are looked for this often.
pub const RATE_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The highest rate: above it an interval would be shorter than clocks can tell.
pub const RATE_COUNT_MAX: u32 = 1_000_000;

/// Webhooks between the end of their body and their answer.
pub const IN_FLIGHT_MAX: u64 = 1_024;

/// Bodies held in memory, counted as their bytes arrive, encoded copies included.
pub const BODY_MEMORY_MAX: u64 = 128 << 20;
/// Bodies up to this are small: an eighth of the memory is kept for them.
pub const SMALL_BODY_BYTES: u64 = 64 << 10;

/// Streams that one HTTP/2 connection may have open.
pub const H2_STREAMS_MAX: u32 = 128;
/// Streams that were reset before we had looked at them; the connection ends past it (CVE-2023-44487).
pub const H2_PENDING_RESETS_MAX: usize = 20;
/// Streams that broke the protocol; the connection ends past it.
pub const H2_ERRORS_MAX: usize = 64;
/// By so many more requests cut off than answered a connection ends: a sender whose patience runs out resets
/// some, and only one that wants to cost us something goes on.
pub const H2_RESETS_MAX: u32 = 256;
/// A silent HTTP/2 peer is asked whether it is there, and has as long again to answer.
pub const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// What one HTTP/2 stream may send ahead of our reading it.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// What one HTTP/2 connection may send ahead of our reading it.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// After an answer that leaves part of the request unread, what still comes is read and thrown away
/// for so long and so much: closing at once would reset the connection under the answer.
pub const LINGER: Duration = Duration::from_secs(5);
/// See [`LINGER`].
pub const LINGER_BYTES_MAX: u64 = 64 << 20;
/// What is thrown away is read in pieces of this size.
pub const LINGER_READ_BYTES: usize = 8 << 10;

/// What a client is told to wait before it tries again.
pub const RETRY_AFTER_S: u64 = 5;

/// When stopping, an idle connection is kept for a request that may be on its way already.
pub const DRAIN_IDLE: Duration = Duration::from_millis(500);
/// The queue's share of stopping: what it needs at most to flush and close.
pub const QUEUE_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// `--drain-timeout`: below the 30 s that Kubernetes gives.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// `--ack-deadline`: see [`sluiced_queue::spool::bounds::ACK_DEADLINE`].
pub const ACK_DEADLINE: Duration = sluiced_queue::spool::bounds::ACK_DEADLINE;
/// Below it no broker across a network would ever be in time.
pub const ACK_DEADLINE_MIN: Duration = Duration::from_millis(10);
/// Above it most senders have given up.
pub const ACK_DEADLINE_MAX: Duration = Duration::from_secs(20);
/// `--spool-max`: half an hour of 500 messages a second of 1 KiB each.
pub const SPOOL_BYTES_MAX: u64 = 1 << 30;
/// One of the largest messages and the store's own tables must fit.
pub const SPOOL_BYTES_FLOOR: u64 = 1 << 20;
/// `drain` gives up after so long in which the broker took nothing.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
/// Of its bound in per cent: from there on the log says that the spool is filling.
pub const SPOOL_FILLING_PERCENT: [u64; 3] = [50, 80, 95];
/// `check --connect`: reaching the broker.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(12);

/// Connections that the kernel holds for us between two accepts.
pub const BACKLOG: u32 = 4_096;
/// Pause after an accept failed for want of file descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Log lines on their way to a sink that may have stalled; further ones are dropped and counted.
pub const LOG_LINES_MAX: usize = 16_384;
/// Memory that the log's two buffers keep; what a stalled sink made of them beyond it is given back.
pub const LOG_BUFFER_BYTES: usize = 64 << 10;
/// Between two writes of the log. A line waits no longer than this, and kill -9 costs no more.
pub const LOG_PAUSE: Duration = Duration::from_millis(5);
/// What a stalled sink may cost at the end.
pub const LOG_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Lines a second and reason for what anybody can cause; the rest is counted.
pub const LOG_REFUSALS_PER_S: u32 = 10;
/// A value that a sender chose is cut to this in a log line.
pub const LOG_VALUE_BYTES_MAX: usize = 256;
/// Actions in a log line.
pub const LOG_ACTIONS_MAX: usize = 16;
/// Under load one summary line in so long.
pub const LOG_SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// At debug level a refused delivery is judged a few dozen times more, to find the mistake that explains the
/// refusal: not with a body above this, or strangers could keep the daemon busy.
pub const HINTS_BODY_BYTES_MAX: usize = 256 << 10;

/// A secret's file or value.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;
/// Secrets that senders hand over to one receiver: each delivery is tried against all of them.
pub const CAPTURES_MAX: usize = 16;
/// The configuration file.
pub const CONFIG_BYTES_MAX: u64 = 64 << 20;

/// One answer on the ops listener.
pub const OPS_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections on the ops listener.
pub const OPS_CONNECTIONS_MAX: usize = 64;

/// Messages that `work --print` leases at a time.
pub const WORK_BATCH: usize = 64;
/// How long a worker that has died keeps its messages from others.
pub const WORK_LEASE: Duration = Duration::from_secs(30);
/// How long `work` waits for messages before it asks again whether it should end.
pub const WORK_WAIT: Duration = Duration::from_millis(500);
/// What a write that is under way may still take when `work` is told to stop.
pub const WORK_STOP_GRACE: Duration = Duration::from_secs(2);
/// Pause before a queue that isn't there is looked for again; the first after it couldn't be reached …
pub const WORK_RETRY: Duration = Duration::from_millis(500);
/// … and the longest: a queue that comes back is noticed within this.
pub const WORK_RETRY_CAP: Duration = Duration::from_secs(10);
/// `--concurrency`: each may be a process with a pipe, and a lease that is extended.
pub const WORK_CONCURRENCY_MAX: u64 = 1_024;
/// `--timeout`: what one message may take.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(60);
/// `--max-attempts`: with the delays below they span four minutes on average, eight and a half at most.
pub const WORK_ATTEMPTS_MAX: u32 = 10;
/// `--retry-first`: the delay after a first failure is at most this; it doubles with each further one …
pub const WORK_DELAY_FIRST: Duration = Duration::from_secs(1);
/// … up to `--retry-cap`.
pub const WORK_DELAY_CAP: Duration = Duration::from_secs(5 * 60);
/// For how long settling a message is tried again while the queue can't be reached: after that its
/// lease has ended anyway.
pub const WORK_SETTLE_TIMEOUT: Duration = WORK_LEASE;
/// Between SIGTERM and SIGKILL for a command that took too long.
pub const WORK_KILL_GRACE: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
pub const WORK_KILL_LOOK: Duration = Duration::from_millis(20);
/// A variable of a command. Linux takes 128 KiB for each, name included.
pub const WORK_VARIABLE_BYTES_MAX: usize = 120 << 10;
/// All variables that a command gets from us. Linux takes 2 MiB with the usual stack, of which the
/// worker's own environment and the arguments need some.
pub const WORK_VARIABLES_BYTES_MAX: usize = 1 << 20;
/// A header that `--forward` adds. Common servers take 8 KiB for all of them.
pub const WORK_HEADER_BYTES_MAX: usize = 4 << 10;
/// What is read of an answer to `--forward`, so that its connection can be used again; one that
/// says more is closed.
pub const WORK_REPLY_BYTES_MAX: usize = 64 << 10;
/// For how long is read: what the status says is known by then.
pub const WORK_REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// An unused connection of `send` or `--forward` is kept for so long: less than common servers keep theirs.
pub const CLIENT_IDLE: Duration = Duration::from_secs(5);
/// Dead letters that are read at a time.
pub const DEAD_PAGE: usize = 100;
/// One request of `send`, answer included.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// What `send` shows of an answer.
pub const SEND_REPLY_BYTES_MAX: usize = 64 << 10;
/// A captured request that `verify` reads: two of the largest bodies, and then some.
pub const CAPTURE_BYTES_MAX: u64 = 64 << 20;

/// How long `check --ready` waits for the daemon's answer: shorter than a container's health check may take.
pub const READY_TIMEOUT: Duration = Duration::from_secs(4);
/// What it reads of the answer; `/readyz?verbose` has a line for each of a few things.
pub const READY_REPLY_BYTES_MAX: usize = 16 << 10;
/// A key set or certificate: Google's certificates take 6 KiB.
pub const KEY_BYTES_MAX: usize = 256 << 10;
/// What one webhook waits for a key; providers wait 3 s and longer for their answer.
pub const KEY_DEADLINE: Duration = Duration::from_secs(5);
/// One fetch, from the name's resolution to the last byte.
pub const KEY_FETCH_TIMEOUT: Duration = Duration::from_secs(4);
/// One address of the host.
pub const KEY_CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Addresses of a host that are looked at.
pub const KEY_ADDRESSES_MAX: usize = 16;
/// Fetches at a time; senders can name certificates, and must not make us call out without end.
pub const KEY_FETCHES_MAX: usize = 16;
/// Addresses of one provider that never gave anything and are called within a window: providers have a handful
/// of keys, and a receiver with made-up ids must not use up what the operator's credentials are allowed there.
pub const KEY_UNKNOWN_MAX: u32 = 30;
/// That window.
pub const KEY_UNKNOWN_WINDOW: Duration = Duration::from_secs(60);
/// Documents in the cache, 256 KiB each at most.
pub const KEYS_MAX: usize = 128;
/// Documents that one webhook may ask for, newer versions included.
pub const KEY_ROUNDS_MAX: usize = 4;
/// A document that is used without asking again.
pub const KEY_FRESH: Duration = Duration::from_secs(3_600);
/// A document that is used while it can't be fetched anew: providers keep old keys for days.
pub const KEY_KEPT: Duration = Duration::from_secs(86_400);
/// A document so young that a key it doesn't have counts as unknown.
pub const KEY_SETTLED: Duration = Duration::from_secs(30);
/// How long before its end a bearer token isn't used any more: a fetch may take that long.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// Clients whose tokens are kept: one for each receiver that needs any.
pub const CLIENTS_MAX: usize = 1_024;
/// How often an address that confirms a subscription is called.
pub const VISITS_MAX: u32 = 4;
/// The pause before the second time; it doubles.
pub const VISIT_PAUSE: Duration = Duration::from_secs(2);
/// Pause after a fetch failed.
pub const KEY_RETRY_PAUSE: Duration = Duration::from_secs(5);
