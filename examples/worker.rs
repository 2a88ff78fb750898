//! A worker of one's own, on the embedded queue: takes messages, does each event's work once, acknowledges.
//!
//!     cargo run --example worker -- ./sluiced-data ./done
//!
//! Delivery is at least once, so it remembers which `messageId`s it has worked off. Here the work is to write
//! a file of that name, so the work and its note are one step. With a database, put the id into a table with a
//! unique key, in the transaction that does the work.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluiced_embedded::EmbeddedConsumer;
use sluiced_queue::{WebHookQueueConsumer, WebHookQueueContext};

/// Longer than the work ever takes; otherwise call `extend` meanwhile.
const LEASE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(data_dir), Some(done)) = (args.next(), args.next()) else {
        return Err("usage: worker DATA_DIR DONE_DIR".into());
    };
    let queue = EmbeddedConsumer::open(&data_dir, "webhooks")?;
    fs::create_dir_all(&done)?;
    // Until the queue is empty; a service would go on for ever.
    while !queue.backlog().await?.is_empty() {
        for message in queue.receive(10, LEASE, Duration::from_secs(1)).await? {
            match message.context().map_err(Into::into).and_then(|context| work(&done, &context)) {
                Ok(()) => queue.acknowledge(&message).await?,
                Err(why) if message.attempt >= 5 => queue.dead_letter(&message, &why.to_string()).await?,
                Err(_) => queue.release(&message, Duration::from_secs(10), true).await?,
            }
        }
    }
    Ok(())
}

/// Done twice, it is done once: a file that is there was written by an earlier attempt, whole.
fn work(done: &Path, context: &WebHookQueueContext) -> Result<(), Box<dyn Error>> {
    let file = done.join(context.message_id.to_string());
    if file.exists() {
        return Ok(());
    }
    let unfinished = file.with_extension("unfinished");
    fs::write(&unfinished, context.data.bytes())?;
    fs::rename(&unfinished, &file)?;
    println!("{} {} {}", context.receiver, context.actions.join(","), context.message_id);
    Ok(())
}
