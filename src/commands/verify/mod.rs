//! `sluiced verify`: says why a captured request is accepted or refused, through the daemon's own code.

mod captured;
mod verdict;

use std::io::Read;

use jiff::Timestamp;

use super::{Failure, put_out, put_settings, read_secret};
use crate::bounds::CAPTURE_BYTES_MAX;
use crate::catalog::Row;
use crate::cli::VerifyFlags;
use crate::config::providers::unknown_provider;
use crate::config::{Known, resolve_known};
use crate::delivery::Delivery;
use crate::http::reply::{HttpReply, Problem, from_reply};
use crate::log::Outcome;
use crate::reason::Reason;
use crate::receivers;
use crate::verify::{Admission, CompileError, PublicUrl, ReceiverSettings, Verifier, hints};
use captured::Captured;
use verdict::{Answer, Verdict};

/// Judges one captured request as of `--at`, and prints what becomes of it.
///
/// # Errors
/// [`Failure::Running`] when it is refused; [`Failure::Usage`] for what can't be judged at all;
/// [`Failure::Config`] for a file that can't be used.
pub async fn run(flags: &VerifyFlags) -> Result<(), Failure> {
    let (name, id) = flags.receiver.split_once('/').unwrap_or((&flags.receiver, ""));
    let known = resolve_known(flags.config.as_deref(), name, id, flags.secret.is_empty())?;
    let row =
        known.catalog.find(name).ok_or_else(|| Failure::Usage(unknown_provider(&known.catalog, name)))?;
    let settings = settings(flags, &known)?;
    let verifier = Verifier::compile(row, &settings).map_err(|e| Failure::Usage(explain(&e)))?;
    let captured = Captured::parse(&read(&flags.request)?)
        .map_err(|e| Failure::Usage(format!("--request {}: {e}", flags.request)))?;
    let now = flags.at.map_or_else(Timestamp::now, |at| at.0);
    let verdict = judge(row, &settings, &verifier, captured, id, now).await;
    put_out(&if flags.json { format!("{}\n", verdict.json()) } else { verdict.to_string() })?;
    match verdict.reason {
        None => Ok(()),
        Some(reason) => Err(Failure::Running(format!("the request is refused: {}", reason.as_str()))),
    }
}

/// What the configuration says of the receiver, and over it what the flags say.
fn settings(flags: &VerifyFlags, known: &Known) -> Result<ReceiverSettings, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Usage(e.to_string());
    let mut settings = match &known.receiver {
        Some(receiver) => receivers::settings(receiver).map_err(|e| wrong(&e))?,
        None => ReceiverSettings::default(),
    };
    for source in &flags.secret {
        settings.secrets.push(read_secret(source)?);
    }
    put_settings(&mut settings, &flags.set)?;
    let url = match (&flags.url, &known.public_url) {
        (Some(url), _) => Some(PublicUrl::whole(url).map_err(|e| wrong(&format!("--url: {e}")))?),
        (None, Some(base)) => Some(PublicUrl::base(base).map_err(|e| wrong(&e))?),
        (None, None) => None,
    };
    settings.public_url = url;
    Ok(settings)
}

/// The way out, as this command has it.
fn explain(error: &CompileError) -> String {
    match error {
        CompileError::PublicUrlMissing { provider } => {
            format!("{provider} signs the URL that it calls: give --url, what the sender was given")
        }
        CompileError::SecretMissing { .. } => format!("{error}; give it with --secret"),
        _ => error.to_string(),
    }
}

fn read(from: &str) -> Result<Vec<u8>, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("--request {from}: {e}"));
    let source: Box<dyn Read> = match from {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(std::fs::File::open(path).map_err(|e| wrong(&e))?),
    };
    let mut raw = Vec::new();
    source.take(CAPTURE_BYTES_MAX + 1).read_to_end(&mut raw).map_err(|e| wrong(&e))?;
    if raw.len() as u64 > CAPTURE_BYTES_MAX {
        return Err(wrong(&format!("it is longer than {CAPTURE_BYTES_MAX} bytes")));
    }
    Ok(raw)
}

/// As the daemon would: the method first, then what the verifier says.
async fn judge(
    row: &Row,
    settings: &ReceiverSettings,
    verifier: &Verifier,
    captured: Captured,
    id: &str,
    now: Timestamp,
) -> Verdict {
    let delivery = Delivery {
        method: captured.method,
        uri: captured.target,
        headers: captured.headers,
        body: captured.body,
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        id: id.to_owned(),
        received_at: now,
    };
    let mut verdict = if verifier.allows(&delivery.method) {
        admit(row, settings, verifier, delivery, now).await
    } else {
        let allow = Some(verifier.allow());
        let problem = Problem { allow, ..Problem::new(Reason::MethodNotAllowed) };
        refused(&problem, problem.reply(), "the provider never sends it").await
    };
    verdict.note = captured.note;
    verdict
}

async fn admit(
    row: &Row,
    settings: &ReceiverSettings,
    verifier: &Verifier,
    delivery: Delivery,
    now: Timestamp,
) -> Verdict {
    match verifier.admit(delivery.clone(), now) {
        Admission::Event(verified) => Verdict {
            authentic: true,
            scheme: Some(verified.scheme().to_owned()),
            actions: verified.actions().to_vec(),
            delivery_id: verified.delivery_id().map(str::to_owned),
            ..ended(Outcome::Accepted, Answer::of(from_reply(verified.acknowledgement())).await)
        },
        Admission::Answered { reply, handshake, .. } => Verdict {
            authentic: row.handshakes.iter().any(|known| known.signed && known.name == handshake),
            actions: vec![handshake],
            ..ended(Outcome::Answered, Answer::of(from_reply(&reply)).await)
        },
        Admission::Refused(refusal) => {
            let problem = Problem { status: refusal.status(), ..Problem::new(refusal.reason) };
            let hints = hints(row, settings, &delivery, now);
            let reply = in_words_of(verifier, &problem);
            Verdict { hints, ..refused(&problem, reply, refusal.detail).await }
        }
        Admission::NeedsKey { .. } => {
            let problem = Problem::new(Reason::KeyUnavailable);
            refused(&problem, in_words_of(verifier, &problem), NOT_FETCHED).await
        }
    }
}

const NOT_FETCHED: &str = "it takes a key that the provider publishes, and this command fetches nothing: \
                           the daemon does";

/// The problem, in the words that the provider reads.
fn in_words_of(verifier: &Verifier, problem: &Problem<'_>) -> HttpReply {
    match verifier.failure(problem.reason.title()) {
        Some(failure) => problem.reply_with(&failure),
        None => problem.reply(),
    }
}

async fn refused(problem: &Problem<'_>, reply: HttpReply, detail: &'static str) -> Verdict {
    let outcome = if problem.reason.is_failure() { Outcome::Failed } else { Outcome::Refused };
    Verdict { reason: Some(problem.reason), detail: Some(detail), ..ended(outcome, Answer::of(reply).await) }
}

fn ended(outcome: Outcome, reply: Answer) -> Verdict {
    Verdict {
        authentic: false,
        outcome,
        reason: None,
        detail: None,
        scheme: None,
        actions: Vec::new(),
        delivery_id: None,
        reply,
        hints: Vec::new(),
        note: None,
    }
}
