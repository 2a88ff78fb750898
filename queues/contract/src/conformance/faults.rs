//! What happens to messages when something happens to the broker, or to the way there.

use std::time::Duration;

use super::load::Load;
use super::tools::{collect, insist, publish, until_not_ready, until_ready};
use super::{Destination, Fault, Rig, Setup, messages};
use crate::handler::EnqueueError;

/// Enough to have many in flight when it happens.
const PUBLISHERS: usize = 64;

/// How long faults last: long enough for several attempts to reconnect.
const OUTAGE: Duration = Duration::from_secs(2);

/// After this nothing is on its way any more.
const SETTLED: Duration = Duration::from_millis(500);

/// How often a connection is cut; each time after another number of bytes.
const CUTS: u64 = 12;

/// Killed under load and started again: nothing with a receipt is missing, and publishing goes on by itself.
pub(super) async fn killed_broker(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let mut load = Load::start(&handler, PUBLISHERS, rig.facts());
    load.until_more(500).await;
    rig.inflict(Fault::Killed).await;
    until_not_ready(&*handler).await;
    let receipts = load.receipts();
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(load.receipts(), receipts, "receipts without a broker");
    rig.mend().await;
    load.until_more(500).await;
    until_ready(&*handler).await;
    let (receipts, _) = load.stop().await;
    let consumer = rig.consumer(Destination::Usual).await;
    collect(&consumer, receipts).await;
}

/// Not there when the handler starts: that is no error, and publishing begins by itself when it comes.
pub(super) async fn absent_broker(rig: &mut dyn Rig) {
    rig.inflict(Fault::Absent).await;
    let handler = rig.handler(Setup::default()).await;
    until_not_ready(&*handler).await;
    let deadline = rig.facts().publish_deadline;
    let error = publish(&*handler, &messages::message(), deadline).await.expect_err("there is no broker");
    assert_absent(&error);
    tokio::time::sleep(OUTAGE).await;
    rig.mend().await;
    let message = messages::message();
    let _ = insist(&*handler, &message).await;
    until_ready(&*handler).await;
    let consumer = rig.consumer(Destination::Usual).await;
    collect(&consumer, [message.message_id]).await;
}

/// Frozen under load: every publish ends in time, and publishing goes on by itself after the thaw.
pub(super) async fn frozen_broker(rig: &mut dyn Rig) {
    outlasted(rig, Fault::Frozen).await;
}

/// A network that swallows everything, and then doesn't any more.
pub(super) async fn stalled_connection(rig: &mut dyn Rig) {
    outlasted(rig, Fault::Stalled).await;
}

async fn outlasted(rig: &mut dyn Rig, fault: Fault) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let mut load = Load::start(&handler, PUBLISHERS, rig.facts());
    load.until_more(500).await;
    rig.inflict(fault).await;
    // What was confirmed before that may still be on its way.
    tokio::time::sleep(SETTLED).await;
    let receipts = load.receipts();
    // So that those in flight reach their deadlines, which the load insists on.
    tokio::time::sleep(rig.facts().publish_deadline + OUTAGE).await;
    assert_eq!(load.receipts(), receipts, "receipts of a broker that is {fault:?}");
    let deadline = rig.facts().publish_deadline;
    let error =
        publish(&*handler, &messages::message(), deadline).await.expect_err("nobody confirms anything");
    assert_absent(&error);
    rig.mend().await;
    load.until_more(500).await;
    until_ready(&*handler).await;
    let (receipts, failed) = load.stop().await;
    assert!(failed > 0, "nothing failed: it wasn't {fault:?} under load");
    let consumer = rig.consumer(Destination::Usual).await;
    collect(&consumer, receipts).await;
}

/// The connection ends in the middle of a message, or between two, over and over: what has a receipt is there.
pub(super) async fn cut_publish(rig: &mut dyn Rig) {
    cut(rig, Fault::CutUp).await;
}

/// The connection ends before a confirmation is back: no receipt is made up.
pub(super) async fn cut_confirmation(rig: &mut dyn Rig) {
    cut(rig, Fault::CutDown).await;
}

async fn cut(rig: &mut dyn Rig, fault: impl Fn(u64) -> Fault) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let mut load = Load::start(&handler, PUBLISHERS, rig.facts());
    for round in 0..CUTS {
        load.until_more(100).await;
        // Spread over the length of a few messages, or of a few dozen confirmations.
        rig.inflict(fault(1 + round * 337)).await;
    }
    load.until_more(100).await;
    let (receipts, _) = load.stop().await;
    let consumer = rig.consumer(Destination::Usual).await;
    collect(&consumer, receipts).await;
}

fn assert_absent(error: &EnqueueError) {
    let kind = matches!(error, EnqueueError::Unavailable(_) | EnqueueError::TimedOut { .. });
    assert!(kind, "time may mend it, and the error must say so: {error:?}");
}
