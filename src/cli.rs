//! The command line. Every flag has a variable `SLUICED_<FLAG>`, and every flag of `serve` a key in
//! the configuration file; flags win over the environment, that over the file, that over defaults.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bounds;
use crate::log::{Format, Level};
use crate::units::{ByteSize, HumanDuration, HumanTime};

/// A queue-forwarding ingress daemon for webhooks.
#[derive(Debug, Parser)]
#[command(
    name = "sluiced",
    version,
    about = "A queue-forwarding ingress daemon for webhooks: verified, acknowledged when durable, worked off out of band.",
    before_help = "\
Examples:
  GITHUB_SECRET=… sluiced serve --receiver github=env:GITHUB_SECRET
  sluiced send github push --to http://127.0.0.1:8080 --secret env:GITHUB_SECRET
  sluiced work --exec ./handle.sh
  sluiced check --config sluiced.toml
  sluiced verify github --secret env:GITHUB_SECRET --request captured.http
  sluiced providers stripe",
    after_help = "\
Exit codes: 0 done, 1 failed while running, 2 usage, 78 configuration, 130/143 forced out."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    #[command(before_help = "\
Examples:
  sluiced serve --receiver github=env:GITHUB_SECRET
  sluiced serve --receiver stripe/eu=file:/run/secrets/stripe-eu --receiver slack=env:SLACK_SIGNING_SECRET
  sluiced serve --queue rabbitmq --queue-url env:AMQP_URL --receiver github=env:GITHUB_SECRET
  sluiced serve --config /etc/sluiced.toml --log-format json")]
    Serve(ServeFlags),
    /// Consume the queue
    #[command(
        before_help = "\
Examples:
  sluiced work --print                              one message a line, for ever
  sluiced work --print --exit-when-empty | jq .data
  sluiced work --concurrency 4 --exec python3 worker.py
  sluiced work --timeout 10s --forward http://127.0.0.1:3000/webhooks",
        override_usage = "sluiced work [OPTIONS] (--print | --forward <URL> | --exec <CMD>...)"
    )]
    Work(WorkFlags),
    /// Sign a webhook as the provider would and post it
    #[command(before_help = "\
Examples:
  sluiced send github push --to http://127.0.0.1:8080 --secret env:GITHUB_SECRET
  sluiced send stripe/eu invoice.paid --to http://127.0.0.1:8080 --secret file:stripe-eu --data invoice.json
  sluiced send github push --to http://127.0.0.1:8080 --secret env:GITHUB_SECRET --count 1000")]
    Send(SendFlags),
    /// Say why the daemon would accept or refuse a captured request
    #[command(
        before_help = "\
Examples:
  sluiced verify github --secret env:GITHUB_SECRET < captured.http
  sluiced verify stripe --secret text:whsec_… --request captured.http --at 2026-11-24T02:30:53Z
  sluiced verify twilio --secret env:AUTH_TOKEN --url https://hooks.example.com < captured.http
  sluiced verify billing/eu --config /etc/sluiced.toml --request captured.http --json

A captured request is what HTTP/1.1 sends: POST /path HTTP/1.1, headers, an empty line, the body.
Lines of its head may end in LF or CRLF. The body's bytes are judged as they are, but for chunks,
which are put together, and a line end after the body that Content-Length doesn't count.",
        after_help = "\
Exit codes: 0 authentic or a handshake to answer, 1 refused, 2 usage, 78 configuration."
    )]
    Verify(VerifyFlags),
    /// List the catalogue, or show one provider
    #[command(before_help = "\
Examples:
  sluiced providers
  sluiced providers stripe
  sluiced providers --json | jq -r '.[] | select(.replay == \"unprotected\") | .name'
  sluiced providers billing --config /etc/sluiced.toml")]
    Providers(ProvidersFlags),
    /// Validate the configuration and print where each value came from
    #[command(before_help = "\
Examples:
  sluiced check --config /etc/sluiced.toml
  sluiced check --receiver github=env:GITHUB_SECRET
  sluiced check --config /etc/sluiced.toml --ready     does the daemon that runs take webhooks?
  sluiced check --config /etc/sluiced.toml --connect   reaches the broker too")]
    Check(CheckFlags),
    /// Empty a data directory's spool into its broker, then exit
    #[command(
        before_help = "\
Examples:
  sluiced drain --config /etc/sluiced.toml
  sluiced drain --queue rabbitmq --queue-url env:AMQP_URL --data-dir /var/lib/sluiced
  sluiced drain --all --queue nats --queue-url nats://localhost:4222",
        after_help = "\
Exit codes: 0 the spool is empty, 1 something is left, 2 usage, 78 configuration or the daemon is running."
    )]
    Drain(DrainFlags),
    /// List, show, retry or purge dead letters
    #[command(before_help = "\
Examples:
  sluiced dead list
  sluiced dead show 12
  sluiced dead retry 12 13
  sluiced dead purge --all")]
    Dead {
        /// What to do with them.
        #[command(subcommand)]
        action: DeadAction,
    },
}

/// The flags that say which queue; for `serve`, `check`, `work` and `dead`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Queue")]
pub struct QueueFlags {
    /// Configuration file, TOML
    #[arg(long, env = "SLUICED_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where webhooks are queued: embedded, rabbitmq, nats or azure [default: embedded]
    #[arg(long, env = "SLUICED_QUEUE", value_name = "BACKEND")]
    pub queue: Option<String>,
    /// Where the broker is: a URL, Azure's connection string, or where that comes from: env:NAME or file:PATH
    #[arg(long, env = "SLUICED_QUEUE_URL", value_name = "URL|SOURCE", hide_env_values = true)]
    pub queue_url: Option<String>,
    /// The queue's name [default: webhooks]
    #[arg(long, env = "SLUICED_QUEUE_NAME", value_name = "NAME")]
    pub queue_name: Option<String>,
    /// Where the daemon keeps its files [default: ./sluiced-data]
    #[arg(long, env = "SLUICED_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// What an answer waits for: the broker, or the disk in front of it [default: queue]
    #[arg(long, env = "SLUICED_ACK", value_enum, value_name = "queue|spool")]
    pub ack: Option<AckFlag>,
    /// How long it waits for the broker before the disk is enough [default: 250ms]
    #[arg(long, env = "SLUICED_ACK_DEADLINE", value_name = "TIME")]
    pub ack_deadline: Option<HumanDuration>,
    /// Whether messages wait on disk while the broker is slow or away [default: on]
    #[arg(long, env = "SLUICED_SPOOL", value_enum, value_name = "on|off")]
    pub spool: Option<Switch>,
    /// What the spool may take of the disk [default: 1GiB]
    #[arg(long, env = "SLUICED_SPOOL_MAX", value_name = "SIZE")]
    pub spool_max: Option<ByteSize>,
}

/// `--ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AckFlag {
    /// The broker's confirmation; at the deadline, the disk's.
    Queue,
    /// The disk's.
    Spool,
}

impl From<AckFlag> for sluiced_queue::Ack {
    fn from(flag: AckFlag) -> Self {
        match flag {
            AckFlag::Queue => Self::Queue,
            AckFlag::Spool => Self::Spool,
        }
    }
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Switch {
    On,
    Off,
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        switch == Switch::On
    }
}

/// The flags of `drain`.
#[derive(Clone, Debug, Args)]
pub struct DrainFlags {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queue: QueueFlags,
    /// Also what was spooled for other destinations: all of it goes into the queue that the flags name
    #[arg(long)]
    pub all: bool,
    /// How log lines look, on stderr; auto is JSON unless that is a terminal [default: auto]
    #[arg(long, env = "SLUICED_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// The least grave lines that are written [default: info]
    #[arg(long, env = "SLUICED_LOG_LEVEL", value_enum, value_name = "LEVEL")]
    pub log_level: Option<Level>,
}

/// The flags of `check`.
#[derive(Clone, Debug, Default, Args)]
pub struct CheckFlags {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub serve: ServeFlags,
    /// Ask the daemon that runs with this configuration whether it is ready (/readyz of --ops-listen), and
    /// nothing else; for a container's health check
    #[arg(long)]
    pub ready: bool,
    /// Reach the broker too
    #[arg(long, conflicts_with = "ready")]
    pub connect: bool,
}

/// The flags of `serve` and `check`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeFlags {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queue: QueueFlags,
    /// Where webhooks come in [default: 127.0.0.1:8080]
    #[arg(long, env = "SLUICED_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where /livez, /readyz and /metrics are served, or `off` [default: 127.0.0.1:8081]
    #[arg(long, env = "SLUICED_OPS_LISTEN", value_name = "ADDR|off")]
    pub ops_listen: Option<String>,
    /// The base URL that senders know, for the URLs to paste at providers and for those that sign URLs
    #[arg(long, env = "SLUICED_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// A receiver and its secret (env:NAME, file:PATH or text:VALUE); repeat it for one receiver to
    /// give it several valid secrets; NAME alone where none is needed. In the environment:
    /// SLUICED_RECEIVER_NAME or SLUICED_RECEIVER_NAME__ID
    #[arg(long, value_name = "NAME[/ID][=SOURCE]")]
    pub receiver: Vec<String>,
    /// What a receiver's scheme needs besides, e.g. generic-hmac.header=text:X-Signature
    #[arg(long, env = "SLUICED_RECEIVER_SET", value_delimiter = '\n', value_name = "NAME[/ID].KEY=SOURCE")]
    pub receiver_set: Vec<String>,
    /// On SIGTERM, keep accepting for so long while not ready [default: 0s]
    #[arg(long, env = "SLUICED_DRAIN_DELAY", value_name = "TIME")]
    pub drain_delay: Option<HumanDuration>,
    /// On SIGTERM, how long what is in flight may take [default: 25s]
    #[arg(long, env = "SLUICED_DRAIN_TIMEOUT", value_name = "TIME")]
    pub drain_timeout: Option<HumanDuration>,
    /// How log lines look; auto is JSON unless stdout is a terminal [default: auto]
    #[arg(long, env = "SLUICED_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// The least grave lines that are written [default: info]
    #[arg(long, env = "SLUICED_LOG_LEVEL", value_enum, value_name = "LEVEL")]
    pub log_level: Option<Level>,
}

/// The flags of `work`.
#[derive(Clone, Debug, Args)]
pub struct WorkFlags {
    /// Write one message per line to stdout, as JSON with the body's exact bytes in bodyBase64;
    /// a message is acknowledged once its line is written
    #[arg(long, env = "SLUICED_PRINT", value_parser = FalseyValueParser::new())]
    pub print: bool,
    /// Post each message's original body and headers; a 2xx acknowledges it
    #[arg(long, env = "SLUICED_FORWARD", value_name = "URL")]
    pub forward: Option<String>,
    /// Run a command for each message, with the body on stdin and the rest in SLUICED_* variables; exit
    /// status 0 acknowledges it. Takes all words that follow, so it comes last. A single word with white
    /// space in it is a line for sh
    #[arg(long, env = "SLUICED_EXEC", value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub exec: Option<Vec<OsString>>,
    /// Messages at a time, with --exec and --forward
    #[arg(long, env = "SLUICED_CONCURRENCY", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=bounds::WORK_CONCURRENCY_MAX))]
    pub concurrency: u64,
    /// What one message may take
    #[arg(long, env = "SLUICED_TIMEOUT", value_name = "TIME", default_value_t = HumanDuration(bounds::WORK_TIMEOUT))]
    pub timeout: HumanDuration,
    /// After so many failures a message is a dead letter
    #[arg(long, env = "SLUICED_MAX_ATTEMPTS", value_name = "N", default_value_t = bounds::WORK_ATTEMPTS_MAX,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,
    /// The longest delay after a first failure; it doubles with each further one, and the delay is a random
    /// part of it
    #[arg(long, env = "SLUICED_RETRY_FIRST", value_name = "TIME", default_value_t = HumanDuration(bounds::WORK_DELAY_FIRST))]
    pub retry_first: HumanDuration,
    /// The longest delay after any failure
    #[arg(long, env = "SLUICED_RETRY_CAP", value_name = "TIME", default_value_t = HumanDuration(bounds::WORK_DELAY_CAP))]
    pub retry_cap: HumanDuration,
    /// End after so many messages
    #[arg(long, env = "SLUICED_LIMIT", value_name = "N")]
    pub limit: Option<u64>,
    /// End when nothing visible, leased or delayed is left
    #[arg(long, env = "SLUICED_EXIT_WHEN_EMPTY", value_parser = FalseyValueParser::new())]
    pub exit_when_empty: bool,
    /// How log lines look, on stderr; auto is JSON unless that is a terminal [default: auto]
    #[arg(long, env = "SLUICED_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// The least grave lines that are written [default: info]
    #[arg(long, env = "SLUICED_LOG_LEVEL", value_enum, value_name = "LEVEL")]
    pub log_level: Option<Level>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queue: QueueFlags,
}

/// What `dead` does.
#[derive(Debug, Subcommand)]
pub enum DeadAction {
    /// A table of all of them, the oldest first
    List(DeadFlags),
    /// One of them, with its message
    Show {
        /// As `dead list` names it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        flags: DeadFlags,
    },
    /// Put them back into the queue, their attempts forgotten
    Retry(DeadPick),
    /// Delete them for good
    Purge(DeadPick),
}

/// Which dead letters.
#[derive(Clone, Debug, Args)]
pub struct DeadPick {
    /// As `dead list` names them
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub ids: Vec<String>,
    /// All that are there when the command starts
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub flags: DeadFlags,
}

/// Where they are, and how they are shown.
#[derive(Clone, Debug, Args)]
pub struct DeadFlags {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queue: QueueFlags,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Those kept in the data directory; for the embedded queue that is all of them
    #[arg(long)]
    pub local: bool,
}

/// The flags of `send`.
#[derive(Clone, Debug, Args)]
pub struct SendFlags {
    /// The receiver: a provider's name, and an id where the receiver has one
    #[arg(value_name = "RECEIVER[/ID]")]
    pub receiver: String,
    /// The event's name
    pub event: Option<String>,
    /// The daemon's base URL, or a receiver's whole URL
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// The secret: env:NAME, file:PATH or text:VALUE
    #[arg(long, value_name = "SOURCE")]
    pub secret: String,
    /// The body, from a file or from stdin [default: a small sample]
    #[arg(long, value_name = "FILE|-")]
    pub data: Option<String>,
    /// A header besides, or instead of one that would be sent
    #[arg(long = "header", value_name = "K:V")]
    pub headers: Vec<String>,
    /// What the scheme needs besides the secret
    #[arg(long = "set", value_name = "KEY=SOURCE")]
    pub set: Vec<String>,
    /// Configuration file with providers of one's own
    #[arg(long, env = "SLUICED_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How many to send, each with a delivery id of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: u64,
}

/// The flags of `verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyFlags {
    /// The receiver: a provider's name, and an id where the receiver has one; it needn't be configured
    #[arg(value_name = "RECEIVER[/ID]")]
    pub receiver: String,
    /// The secret: env:NAME, file:PATH or text:VALUE; repeat it for several [default: the configured ones]
    #[arg(long, value_name = "SOURCE")]
    pub secret: Vec<String>,
    /// The captured request, raw HTTP/1.1
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    pub request: String,
    /// When it arrived: RFC 3339 or Unix seconds [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<HumanTime>,
    /// The whole URL that the sender was given; without a path the request's own path and query follow
    /// [default: the configured public_url]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// What the scheme needs besides the secret
    #[arg(long = "set", value_name = "KEY=SOURCE")]
    pub set: Vec<String>,
    /// Configuration file with providers of one's own and receivers' settings
    #[arg(long, env = "SLUICED_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The flags of `providers`.
#[derive(Clone, Debug, Args)]
pub struct ProvidersFlags {
    /// A provider's name or alias [default: all of them]
    pub name: Option<String>,
    /// Configuration file with providers of one's own
    #[arg(long, env = "SLUICED_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON: an array, or one object for one provider
    #[arg(long)]
    pub json: bool,
}
