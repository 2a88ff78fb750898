//! Every bound of the store, with its reason.

use std::time::Duration;

/// The queue's own bound on disk unless configured: pages in use plus write-ahead log.
pub const QUEUE_BYTES_MAX: u64 = 10 << 30;

/// Appends stop when less of the disk is free: other programs need some, and so do the workers, whose
/// acknowledgements are what gives space back.
pub const FREE_PERCENT_MIN: u8 = 5;

/// The longest message unless configured: a body of 25 MiB as text with every byte escaped in JSON
/// doubles, and in base64 beside its verbatim self it is 58 MiB.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// An append that isn't durable by then is answered; the sender comes again. Longer than any disk
/// that works needs, shorter than the ten seconds that most senders wait.
pub const APPEND_DEADLINE: Duration = Duration::from_secs(5);

/// One commit takes at most so many messages: the bound of webhooks in flight in the daemon.
pub const BATCH_MESSAGES_MAX: usize = 1024;

/// One commit takes at most so many bytes (but always one message), so that a small message behind
/// large ones waits for a few dozen milliseconds of writing and no longer.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Messages that wait for the writer, in bytes. While a disk is frozen their senders give up, but
/// the messages stay here; so the bound is the store's own. Two of the longest fit.
pub const PENDING_BYTES_MAX: usize = 128 << 20;

/// What the shortest message counts towards [`PENDING_BYTES_MAX`], so that it bounds their number too
/// (8,192).
pub const PENDING_CHARGE_MIN: usize = 16 << 10;

/// Room for `Close` behind a full inbox.
pub const INBOX_SLACK: usize = 8;

/// A partition, the table that holds bodies, is sealed at so many messages …
pub const PARTITION_MESSAGES_MAX: u64 = 65_536;

/// … or at so many bytes. Dropping a table reads its pages, and appends wait meanwhile: with messages
/// of 1 KiB, 64 MiB took 43 ms and 16 MiB took 6 ms, which is no more than a disk's own hiccups.
pub const PARTITION_BYTES_MAX: u64 = 16 << 20;

/// A sealed partition with few messages left is emptied into the current one after this long: younger
/// ones are usually just being worked off.
pub const STRAGGLER_AGE: Duration = Duration::from_secs(60);

/// A partition is worth emptying when at most one part in so many of its bytes is left: moving
/// rewrites what is left to free the rest.
pub const STRAGGLER_SHARE: u64 = 16;

/// Messages moved in one transaction.
pub const STRAGGLER_MESSAGES_MAX: usize = 1024;

/// The write-ahead log is checkpointed by the writer itself from here on, because only then nobody
/// appends meanwhile, so that the log can start over. Also the length it is cut to.
pub const WAL_BYTES_MAX: u64 = 64 << 20;

/// How long the writer waits for readers of the log to end, so that it can start over; senders wait
/// meanwhile. Readers take less than a millisecond, but there is always another. Tried again with the
/// next round of maintenance.
pub const RESTART_DEADLINE: Duration = Duration::from_millis(20);

/// In a small store the log may take one part in so many of the store's bound, and no more: the log
/// counts, and must not be what fills it.
pub const WAL_SHARE: u64 = 4;

/// A worker checkpoints a log longer than this: only when no daemon runs it ever grows so far.
pub const WAL_BYTES_WORKER: u64 = WAL_BYTES_MAX + (16 << 20);

/// How many transactions a worker makes between two looks at the length of the log.
pub const WORKER_COMMITS_PER_LOOK: u64 = 64;

/// The rhythm of the maintenance thread. A checkpoint each time, if there is something: small ones
/// often keep the log short and each of them cheap.
pub const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(100);

/// How often finished partitions, free pages and stragglers are looked for: every so many rounds.
pub const SWEEP_ROUNDS: u64 = 10;

/// How often old dead letters are looked for: every so many rounds.
pub const PURGE_ROUNDS: u64 = 600;

/// Claims of message ids in one store: twelve a second for a day. Past it the oldest are given up, so that
/// what comes back later than that is queued once more; nothing is ever left out for want of room.
pub const CLAIMS_MAX: u64 = 1 << 20;

/// What a claim takes on disk: 65 bytes were measured, its place in the index by time included; ids are
/// hashes and come in no order, so pages may be emptier than that.
pub const CLAIM_BYTES: u64 = 128;

/// In a small store claims may take one part in so many of the store's bound, and no more: messages come first.
pub const CLAIM_SHARE: u64 = 8;

/// Claims deleted in one transaction besides as many as it adds. Appends wait meanwhile, and each lies in
/// another page: among a million of them, 70 µs each on a busy machine.
pub const CLAIMS_PER_STEP: u64 = 256;

/// The longest that a claim may be held. Longer than any sender retries; sums stay far from overflow.
pub const CLAIM_AGE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Dead letters are kept this long.
pub const DEAD_LETTER_AGE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Dead letters deleted in one transaction, so that appends never wait long for it.
pub const PURGE_MESSAGES_MAX: usize = 256;

/// Free pages up to so many bytes stay in the file: the next partitions will use them.
pub const FREE_BYTES_KEPT: u64 = 64 << 20;

/// Pages given back to the file system in one transaction: 1 MiB.
pub const VACUUM_PAGES: u32 = 128;

/// A writer that failed to write, and is idle, tries again this often to find out whether it can.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The space is measured at least this often while messages come …
pub const SPACE_INTERVAL: Duration = Duration::from_millis(50);

/// … and after so many bytes.
pub const SPACE_BYTES: u64 = 1 << 20;

/// A commit that takes longer makes the store not ready: the disk is frozen, or nearly so.
pub const COMMIT_SLOW: Duration = Duration::from_secs(2);

/// How long a transaction waits for its turn. Others' transactions take milliseconds; a partition
/// being dropped from a slow disk may take a second.
pub const BUSY_DEADLINE: Duration = Duration::from_secs(4);

/// The first waits for a turn are this short, for most transactions are; see `connection`.
pub const BUSY_WAIT_FIRST: Duration = Duration::from_micros(100);

/// Later waits for a turn.
pub const BUSY_WAIT: Duration = Duration::from_millis(1);

/// How long `close` waits for the writer and for the maintenance thread.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// A worker's call is answered within this, whatever happens: the turn, and a read of what was leased.
pub const CONSUMER_DEADLINE: Duration = Duration::from_secs(15);

/// Calls that wait for a worker's thread.
pub const DESK_INBOX: usize = 1024;

/// Acknowledgements and the like in one transaction.
pub const DESK_BATCH: usize = 256;

/// One `receive` leases at most so many messages.
pub const RECEIVE_MESSAGES_MAX: usize = 1024;

/// One `receive` stops after so many bytes (but gives one message at least).
pub const RECEIVE_BYTES_MAX: u64 = 64 << 20;

/// The longest lease and the longest delay: a week. Longer than any job; sums of milliseconds stay
/// far from overflow.
pub const LEASE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A claim of the process that has the spool, in milliseconds: it ends with the process. A hundred years are
/// longer than any clock ever jumps.
pub const SPOOL_LEASE_MS: i64 = 100 * 366 * 24 * 3_600_000;

/// Expired leases that one transaction turns back into visible messages.
pub const EXPIRED_PER_RECEIVE: usize = 256;

/// How often an idle `receive` looks: at first …
pub const POLL_FIRST: Duration = Duration::from_millis(20);

/// … and after a while.
pub const POLL_IDLE: Duration = Duration::from_millis(100);

/// A file up to this length is read whole when it is opened, to find damage. It takes about 0.05 s;
/// longer files get the cheap checks only, and each message's own checksum when it is leased.
pub const QUICK_CHECK_BYTES_MAX: u64 = 64 << 20;

/// How often the pid in the lock file is looked for: its owner writes it just after locking.
pub const LOCK_PID_TRIES: u32 = 20;

/// The wait between two such looks.
pub const LOCK_PID_WAIT: Duration = Duration::from_millis(5);

/// Page cache of each connection. A batch of [`BATCH_BYTES_MAX`] fits.
pub const CACHE_KIB: u32 = 10 << 10;

/// Prepared statements kept by each connection; partitions have statements of their own.
pub const STATEMENTS_MAX: usize = 64;

/// The deadline for a count of what is in the queue.
pub const DEPTH_DEADLINE: Duration = Duration::from_secs(2);

/// Dead letters that one `list` names.
pub const DEAD_LIST_MAX: usize = 1000;

/// A page of dead letters, messages included, ends after so many bytes (but has one letter at least).
pub const DEAD_PAGE_BYTES_MAX: u64 = 8 << 20;
