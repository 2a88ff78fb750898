//! What every backend must do, as cases that its tests run against a real queue. In reading order:
//!
//! * [`Rig`]: what a backend's tests build: its queue, and the faults that it can have.
//! * `cases`: the list of them; [`conformance!`](crate::conformance!) turns them into tests.
//! * `publishing`, `faults`, `leases`, `letters`: the cases themselves.
//! * `messages`, `load`, `tools`: what they have in common.
//!
//! A case fails by panicking, as a test does.

mod cases;
mod faults;
mod leases;
mod letters;
mod load;
mod messages;
mod publishing;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::consumer::WebHookQueueConsumer;
use crate::dead::DeadLetterStore;
use crate::format::Format;
use crate::handler::{Durable, WebHookQueueHandler};

pub use cases::{CASES, run};

/// A backend with a real queue behind it, as the cases need it. Handlers reach the queue by a way of their
/// own, which faults can hit; consumers and dead letters by another, so that they tell what is really there.
#[async_trait(?Send)]
pub trait Rig {
    /// What the cases must know of the backend.
    fn facts(&self) -> Facts;

    /// Gets ready for the next case: names that nothing has used yet, and no fault.
    async fn renew(&mut self);

    /// A queue handler, connected or not yet.
    async fn handler(&mut self, setup: Setup) -> Arc<dyn WebHookQueueHandler>;

    /// A consumer of the queue of handlers with this destination; of none that is missing.
    async fn consumer(&mut self, destination: Destination) -> Arc<dyn WebHookQueueConsumer>;

    /// The dead letters of the usual queue.
    async fn dead_letters(&mut self) -> Arc<dyn DeadLetterStore>;

    /// Brings a fault about. A rig whose backend can't have it excuses the cases that need it.
    async fn inflict(&mut self, fault: Fault) {
        panic!("{} can't be {fault:?}: excuse this case, with the reason", self.facts().backend);
    }

    /// Ends all faults that last; the queue is up on return. Handlers made before recover by themselves.
    async fn mend(&mut self) {}
}

/// What the cases must know of a backend.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its name.
    pub backend: &'static str,
    /// The forms that it carries.
    pub formats: &'static [Format],
    /// What its receipts say.
    pub durable: Durable,
    /// When a publish ends at the latest, as the rig sets it for every handler.
    pub publish_deadline: Duration,
    /// How many bytes a message may have beyond the limit that handlers name and still be taken: where headers
    /// count, which differ from message to message, the limit leaves room for the longest. 0 elsewhere.
    pub limit_reserve: usize,
}

/// How a queue handler is to be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// The form of its messages.
    pub format: Format,
    /// Where they go.
    pub destination: Destination,
    /// With what it logs in.
    pub credentials: Credentials,
}

/// Where messages go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// The default queue handler's.
    #[default]
    Usual,
    /// Another handler's, on the same broker.
    Other,
    /// One that isn't there, and that the handler may not create. [`Rig::mend`] creates it.
    Missing,
}

/// What a handler logs in with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The right ones.
    #[default]
    Right,
    /// Wrong ones. [`Rig::mend`] makes the broker accept them.
    Wrong,
}

/// What can happen to a queue on the other side of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The broker's process is killed. Lasts.
    Killed,
    /// The broker is shut down in order, or was never started. Lasts.
    Absent,
    /// The broker's process stands still, its connections open. Lasts.
    Frozen,
    /// The network swallows what handlers and broker send each other. Lasts.
    Stalled,
    /// The handlers' connections are reset after so many bytes more towards the broker.
    CutUp(u64),
    /// The same after so many bytes more from the broker: a confirmation is lost on the way.
    CutDown(u64),
    /// The consumers' connections are reset; theirs alone.
    ConsumersCut,
}

/// Tests out of cases: each test is a list of cases that share one rig, one after the other, so that a broker
/// that starts slowly starts once for all of them. Every case must stand in a test or be excused, with the reason.
///
/// ```ignore
/// sluiced_queue::conformance! {
///     rig: || NatsRig::start(),
///     tests: { round_trip: [round_trip], leases: [lease_end, extended_lease] },
///     excused: { frozen_broker: "why this backend can't have it" },
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    (
        rig: $rig:expr,
        tests: { $($test:ident: [$($case:ident),* $(,)?]),* $(,)? },
        excused: { $($excused:ident: $why:literal),* $(,)? } $(,)?
    ) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let mut rig = ($rig)().await;
                $crate::conformance::run(&mut rig, &[$(stringify!($case)),*]).await;
            }
        )*

        mod excused {
            $(
                #[test]
                #[ignore = $why]
                fn $excused() {
                    panic!("doesn't apply: {}", $why);
                }
            )*
        }

        #[test]
        fn every_case_runs_or_is_excused() {
            let mut here = vec![$($(stringify!($case),)*)* $(stringify!($excused)),*];
            here.sort_unstable();
            let mut all: Vec<&str> = $crate::conformance::CASES.iter().map(|case| case.name).collect();
            all.sort_unstable();
            assert_eq!(here, all);
        }
    };
}
