//! Every bound of this crate, with its reason.

use std::time::Duration;

/// When a publish ends at the latest: the spool in front of it holds a copy by then.
pub(crate) const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// How long one publish acknowledgement is waited for before the message is published again with the same
/// id. A healthy server answers in milliseconds, one in a cluster that elects a leader in seconds.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_millis(2500);

/// Pause before a message is published again whose first copy is still being stored.
pub(crate) const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// How often a subject that nobody takes is tried again, and after what pause: while a stream changes its
/// leader, or its server begins to stop, there is nobody for a moment.
pub(crate) const NOBODY_TRIES: u32 = 2;
/// See [`NOBODY_TRIES`].
pub(crate) const NOBODY_PAUSE: Duration = Duration::from_millis(75);

/// Messages that may wait for their acknowledgement: far more than a healthy server leaves waiting, few
/// enough to keep small what a frozen one piles up.
pub(crate) const IN_FLIGHT_MAX: usize = 8192;

/// Bytes of messages that may wait for their acknowledgement: half of what the daemon holds of bodies.
pub(crate) const IN_FLIGHT_BYTES: usize = 64 << 20;

/// What the semaphore counts bytes in, since its permits are few.
pub(crate) const IN_FLIGHT_UNIT: usize = 1 << 10;

/// Commands that wait for the connection's task. Whoever finds it full waits, each with a deadline.
pub(crate) const CLIENT_CAPACITY: usize = 2048;

/// How often the server is asked whether it lives. Two unanswered ones are one too many for the client, so
/// that a frozen server is noticed after three intervals.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);

/// One attempt to connect to one address, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One attempt to connect to one server: room for resolving its name, and for the second and third address of
/// it when nothing answers at the first.
pub(crate) const SERVER_TIMEOUT: Duration = Duration::from_secs(10);

/// First and longest pause between rounds of attempts; a server that is back should be found quickly, and
/// asking is cheap.
pub(crate) const RECONNECT_FIRST: Duration = Duration::from_millis(50);
/// See [`RECONNECT_FIRST`].
pub(crate) const RECONNECT_MAX: Duration = Duration::from_millis(500);

/// How often the connection's state is looked at, in case that its event was dropped.
pub(crate) const STATE_POLL: Duration = Duration::from_millis(100);

/// Answers that nobody waits for any more and that haven't come, as far as is known. The client library remembers
/// each until its connection ends, in some hundred bytes, so that the connection is renewed then.
pub(crate) const UNANSWERED_MAX: usize = 1 << 14;

/// Refusals of the server that are remembered, one per kind of request.
pub(crate) const DENIALS_MAX: usize = 64;

/// Consumers of a stream that are looked at to know whether one of them wants our messages.
pub(crate) const CONSUMERS_MAX: usize = 1 << 10;

/// Addresses that a server of a cluster has told about, tried after the configured ones.
pub(crate) const DISCOVERED_MAX: usize = 64;

/// One request to the JetStream API.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait that can be configured.
pub(crate) const OPTION_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a new connection, and a publish to a new destination, wait for the stream to be looked at.
pub(crate) const FIRST_LOOK: Duration = Duration::from_secs(2);

/// How often a stream that is as it should be is looked at again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often a stream that is missing, or can't be used, is looked at again.
pub(crate) const LOOK_AGAIN_SOON: Duration = Duration::from_secs(1);

/// The least time between two looks, whoever asks for one.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// `check` gives up after this.
pub(crate) const CHECK_DEADLINE: Duration = Duration::from_secs(10);

/// How long `close` waits for what is in flight.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// A variable's value in a subject: room for every receiver's name and id that people choose, while a
/// subject stays far below the server's limit of 4 KiB on a control line.
pub(crate) const SUBJECT_TOKEN_BYTES: usize = 64;

/// A subject template as configured.
pub(crate) const SUBJECT_TEMPLATE_BYTES: usize = 512;

/// The longest name that the server takes for a stream or a consumer.
pub(crate) const NAME_BYTES: usize = 255;

/// The server's default `max_payload`, until it has told its own.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;

/// What the longest headers take that a message of the format `context` has, rather more than less.
pub(crate) const HEADER_RESERVE: usize = 1 << 10;

/// What a dead letter's headers take beyond the message's own, rather more than less. No message is
/// published that couldn't become one.
pub(crate) const DEAD_RESERVE: usize = 3 << 10;

/// A dead letter's reason, which is a header.
pub(crate) const REASON_BYTES: usize = 1 << 10;

/// JetStream stores no headers longer than 64 KiB.
pub(crate) const HEADERS_MAX: usize = (64 << 10) - 1 - DEAD_RESERVE;

/// How long the server waits for a worker before it hands a message out again, until a worker has asked for
/// a lease.
pub(crate) const ACK_WAIT_FIRST: Duration = Duration::from_secs(60);

/// How long a worker trusts in the consumer's settings, which another worker may have changed.
pub(crate) const CONSUMER_FRESH: Duration = Duration::from_secs(10);

/// The longest lease: far beyond any work, and what it takes until a killed worker's message comes back.
pub(crate) const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest wait for a message in one request to the server; a longer one is several.
pub(crate) const PULL_WAIT: Duration = Duration::from_secs(30);

/// The most messages of one request to the server.
pub(crate) const PULL_MESSAGES: usize = 256;

/// A lease ends for its worker so much before the server may hand the message out again.
pub(crate) const LEASE_MARGIN: Duration = Duration::from_millis(50);

/// How long a worker's verdict is tried for, over a connection that comes back if need be.
pub(crate) const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// Pause before a verdict is sent again that nobody has answered.
pub(crate) const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// Messages whose releases a worker remembers.
pub(crate) const RELEASES_MAX: usize = 1 << 16;

/// A page of dead letters ends at so many bytes.
pub(crate) const DEAD_PAGE_BYTES: usize = 8 << 20;

/// A credentials or key file; real ones have a few KiB.
pub(crate) const SECRET_FILE_BYTES: u64 = 64 << 10;
