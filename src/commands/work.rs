//! `sluiced work --print`: one message a line, acknowledged once it is written.

use std::io::{ErrorKind, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::ArgMatches;
use sluiced_queue::{ConsumeError, LeasedMessage, WebHookQueueConsumer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::signals::Signals;
use crate::backend;
use crate::bounds::{WORK_BATCH, WORK_LEASE, WORK_RETRY, WORK_STOP_GRACE, WORK_WAIT};
use crate::cli::WorkFlags;
use crate::config::{QueueConfig, resolve_queue};

/// Consumes the queue until the limit, until it is empty, or until a signal.
///
/// # Errors
/// [`Failure::Running`] when stdout is closed or the store can't be used; what was leased and not
/// written has gone back.
pub async fn run(flags: &WorkFlags, matches: &ArgMatches) -> Result<(), Failure> {
    let config = resolve_queue(&flags.queue, matches)?;
    let mut signals = Signals::new().map_err(Failure::Running)?;
    let stop = CancellationToken::new();
    let mut work = pin!(work(flags, &config, &stop));
    tokio::select! {
        result = &mut work => return result,
        _ = signals.next() => stop.cancel(),
    }
    tokio::select! {
        result = work => result,
        () = signals.force() => Ok(()),
    }
}

async fn work(flags: &WorkFlags, config: &QueueConfig, stop: &CancellationToken) -> Result<(), Failure> {
    let Some(consumer) = stop.run_until_cancelled(open(config)).await.transpose()? else { return Ok(()) };
    let mut left = flags.limit.unwrap_or(u64::MAX);
    while left > 0 && !stop.is_cancelled() {
        let max = WORK_BATCH.min(usize::try_from(left).unwrap_or(usize::MAX));
        let messages = match consumer.receive(max, WORK_LEASE, WORK_WAIT).await {
            Ok(messages) => messages,
            Err(ConsumeError::Failed(why)) => return Err(Failure::Running(why)),
            Err(error) => {
                eprintln!("sluiced: {error}; trying again");
                sleep(WORK_RETRY).await;
                continue;
            }
        };
        if messages.is_empty() {
            if flags.exit_when_empty && is_empty(&*consumer).await {
                return Ok(());
            }
            continue;
        }
        left -= messages.len() as u64;
        print_batch(&*consumer, messages, stop).await?;
    }
    Ok(())
}

/// Waits for a queue that isn't there yet: the daemon may not have started.
async fn open(config: &QueueConfig) -> Result<Arc<dyn WebHookQueueConsumer>, Failure> {
    let mut said = false;
    loop {
        if let Some(consumer) = backend::open_consumer(config).await? {
            return Ok(consumer);
        }
        if !said {
            let dir = crate::config::receivers::absolute(&config.data_dir);
            eprintln!("sluiced: there is no queue in {} yet; waiting for `sluiced serve`", dir.display());
            said = true;
        }
        sleep(WORK_RETRY).await;
    }
}

/// An error is never read as empty.
async fn is_empty(consumer: &dyn WebHookQueueConsumer) -> bool {
    consumer.backlog().await.is_ok_and(|backlog| backlog.is_empty())
}

/// Writes a batch and acknowledges what was written. The leases are extended as long as the write
/// takes: whoever reads our stdout may be slow. Told to stop, the write has a moment left.
async fn print_batch(
    consumer: &dyn WebHookQueueConsumer,
    messages: Vec<LeasedMessage>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut lines = Vec::with_capacity(messages.len());
    let mut held = Vec::with_capacity(messages.len());
    for message in messages {
        match message.print_line() {
            Ok(line) => {
                lines.push(line);
                held.push(message);
            }
            Err(error) => set_aside(consumer, &message, &error.to_string()).await,
        }
    }
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let writing = tokio::task::spawn_blocking(move || write_lines(&lines, &count));
    let late = async {
        stop.cancelled().await;
        sleep(WORK_STOP_GRACE).await;
    };
    let result = tokio::select! {
        done = writing => done.map_err(|e| Failure::Running(e.to_string()))?,
        () = extend(consumer, &held) => unreachable!("extends for ever"),
        () = late => Ok(()),
    };
    let (written, rest) = held.split_at(written.load(Ordering::Acquire));
    for message in written {
        acknowledge(consumer, message).await;
    }
    for message in rest {
        // Not to be released is to come back when the lease ends.
        let _ = consumer.release(message, Duration::ZERO, false).await;
    }
    result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => {
            Failure::Running("stdout was closed; what was not written is back in the queue".into())
        }
        _ => Failure::Running(format!(
            "can't write to stdout: {error}; what was not written is back in the queue"
        )),
    })
}

/// Keeps the leases alive, for ever.
async fn extend(consumer: &dyn WebHookQueueConsumer, held: &[LeasedMessage]) {
    loop {
        sleep(WORK_LEASE / 3).await;
        for message in held {
            // A lease that is lost means a second delivery, which at-least-once allows.
            let _ = consumer.extend(message, WORK_LEASE).await;
        }
    }
}

/// Writes and flushes line by line: how many are out is how many may be acknowledged.
fn write_lines(lines: &[Vec<u8>], written: &AtomicUsize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        out.write_all(line)?;
        out.write_all(b"\n")?;
        out.flush()?;
        written.fetch_add(1, Ordering::Release);
    }
    Ok(())
}

async fn acknowledge(consumer: &dyn WebHookQueueConsumer, message: &LeasedMessage) {
    if let Err(error) = consumer.acknowledge(message).await {
        eprintln!(
            "sluiced: a message was written and couldn't be acknowledged ({error}); it will come again"
        );
    }
}

/// A message that this reader can't read is kept for somebody who can.
async fn set_aside(consumer: &dyn WebHookQueueConsumer, message: &LeasedMessage, why: &str) {
    eprintln!("sluiced: message {} can't be read and is a dead letter now: {why}", message.tag);
    if let Err(error) = consumer.dead_letter(message, why).await {
        eprintln!("sluiced: message {} couldn't be set aside ({error}); it will come again", message.tag);
    }
}
