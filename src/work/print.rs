//! `--print`: one message a line, acknowledged once it is written.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluiced_queue::LeasedMessage;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::WorkError;
use super::intake::{Intake, Queue};
use crate::bounds::{WORK_BATCH, WORK_STOP_GRACE};

/// Prints until the limit, until the queue is empty, or until told to stop.
///
/// # Errors
/// When stdout can't be written to, or the queue can't be used any more.
pub async fn print(
    mut intake: Intake,
    limit: Option<u64>,
    exit_when_empty: bool,
    stop: &CancellationToken,
) -> Result<(), WorkError> {
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0 && !stop.is_cancelled() {
        let max = WORK_BATCH.min(usize::try_from(left).unwrap_or(usize::MAX));
        let messages = intake.receive(max, stop).await?;
        if messages.is_empty() && exit_when_empty && intake.is_empty().await {
            return Ok(());
        }
        left -= messages.len() as u64;
        print_batch(&intake.queue(), messages, stop).await?;
    }
    Ok(())
}

/// Writes a batch and acknowledges what was written. The leases are kept as long as the write takes:
/// whoever reads our stdout may be slow. Told to stop, the write has a moment left.
async fn print_batch(
    queue: &Queue,
    messages: Vec<LeasedMessage>,
    stop: &CancellationToken,
) -> Result<(), WorkError> {
    let (lines, held) = readable(queue, messages).await;
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let writing = tokio::task::spawn_blocking(move || write_lines(&lines, &count));
    let late = async {
        stop.cancelled().await;
        sleep(WORK_STOP_GRACE).await;
    };
    let result = tokio::select! {
        done = writing => done.map_err(|e| WorkError::Output(e.to_string()))?,
        never = queue.hold_all(&held) => never,
        () = late => Ok(()),
    };
    let (written, rest) = held.split_at(written.load(Ordering::Acquire));
    for message in written {
        if let Err(error) = queue.acknowledge(message).await {
            let why = format!("written, and couldn't be acknowledged: {error}");
            queue.report().lost(message, None, &why);
        }
    }
    for message in rest {
        queue.give_back(message).await;
    }
    result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => WorkError::OutputClosed,
        _ => WorkError::Output(error.to_string()),
    })
}

/// The lines, and the messages that they are of. A message that this reader can't read is kept for somebody
/// who can.
async fn readable(queue: &Queue, messages: Vec<LeasedMessage>) -> (Vec<Vec<u8>>, Vec<LeasedMessage>) {
    let (mut lines, mut held) = (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
    for message in messages {
        match message.print_line() {
            Ok(line) => {
                lines.push(line);
                held.push(message);
            }
            Err(error) => set_aside(queue, &message, &error.to_string()).await,
        }
    }
    (lines, held)
}

async fn set_aside(queue: &Queue, message: &LeasedMessage, why: &str) {
    match queue.bury(message, why).await {
        Ok(()) => queue.report().buried(message, None, why),
        Err(error) => queue.report().lost(message, None, &error.to_string()),
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
