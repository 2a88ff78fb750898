//! The list of cases, and how they are run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Rig, faults, leases, letters, publishing};

/// No case takes longer; one that does hangs.
const CASE_DEADLINE: Duration = Duration::from_secs(110);

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Something that every backend must do.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    run: for<'a> fn(&'a mut dyn Rig) -> Running<'a>,
}

macro_rules! cases {
    ($($module:ident::$name:ident,)*) => {
        /// All there are.
        pub const CASES: &[Case] =
            &[$(Case { name: stringify!($name), run: |rig| Box::pin($module::$name(rig)) }),*];
    };
}

cases! {
    publishing::round_trip,
    publishing::many_at_once,
    publishing::too_large,
    publishing::missing_destination,
    publishing::refused_credentials,
    publishing::fan_out,
    publishing::closing,
    faults::killed_broker,
    faults::absent_broker,
    faults::frozen_broker,
    faults::stalled_connection,
    faults::cut_publish,
    faults::cut_confirmation,
    leases::waiting_for_work,
    leases::shared_work,
    leases::acknowledged_work,
    leases::lease_end,
    leases::dead_worker,
    leases::extended_lease,
    leases::release_at_once,
    leases::release_unfailed,
    leases::delayed_retry,
    leases::backlog_counts,
    letters::dead_letter_life,
    letters::dead_letter_pages,
}

/// Runs the cases of these names one after the other, and then fails if one of them did.
///
/// # Panics
/// With the names of those that failed, and why.
pub async fn run(rig: &mut dyn Rig, names: &[&str]) {
    let mut failed = Vec::new();
    for name in names {
        let case = CASES.iter().find(|case| case.name == *name).expect("a case of this name");
        let began = Instant::now();
        rig.renew().await;
        let outcome = match tokio::time::timeout(CASE_DEADLINE, caught((case.run)(rig))).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("hangs: not done within {CASE_DEADLINE:?}")),
        };
        println!("{} {name} ({:.1?})", if outcome.is_ok() { "passed" } else { "FAILED" }, began.elapsed());
        failed.extend(outcome.err().map(|why| format!("{name}: {why}")));
        rig.mend().await;
    }
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), names.len(), failed.join("\n"));
}

/// A panic as an error, so that the other cases still run.
async fn caught(mut case: Running<'_>) -> Result<(), String> {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Poll::Ready(Err(text.unwrap_or_else(|| "panicked".into())))
        }
    })
    .await
}
