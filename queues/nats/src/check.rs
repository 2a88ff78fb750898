//! `check --connect`: whether the servers let us in, and what is worth a warning.

use std::time::Duration;

use crate::bounds;
use crate::link::{Down, Link};
use crate::options::{Destination, Options};
use crate::settings::Settings;
use crate::stream::{self, Found};
use crate::target::Target;

/// Reaches the servers, and looks at the stream without changing anything. Gives warnings, one text each.
///
/// # Errors
/// Why webhooks couldn't be made durable now.
pub async fn check(options: &Options) -> Result<Vec<String>, String> {
    let settings = Settings::of(options).map_err(|error| error.to_string())?;
    let target = Target::of(options, &Destination::default()).map_err(|error| error.to_string())?;
    let late = || format!("no answer within {} s", bounds::CHECK_DEADLINE.as_secs());
    let looked = tokio::time::timeout(bounds::CHECK_DEADLINE, look(&settings, options, &target)).await;
    looked.unwrap_or_else(|_| Err(late()))
}

async fn look(settings: &Settings, options: &Options, target: &Target) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    let mut reached: Option<Link> = None;
    let attempts = settings.addresses.iter().map(|address| Link::connect(settings, address));
    for attempt in futures_util::future::join_all(attempts).await {
        match attempt {
            Ok(link) => reached = reached.or(Some(link)),
            Err(Down { why, .. }) => warnings.push(why),
        }
    }
    let Some(link) = reached else { return Err(warnings.join("; ")) };
    let name = &target.stream;
    match stream::find(&link, name).await {
        Found::Stream(seen) => {
            if let Some(unfit) = stream::unfit(&seen, &target.subject.filter) {
                return Err(unfit.why);
            }
            let found = stream::warnings(&seen.info, target.wanted(), options);
            warnings.extend(found.into_iter().map(|warning| format!("stream {name}: {warning}")));
        }
        Found::Missing if options.declare => {
            let found = stream::power_safety(target.wanted(), options);
            warnings.push(format!("stream {name} doesn't exist; it is created when the daemon starts"));
            warnings.extend(found.into_iter().map(|warning| format!("stream {name}: {warning}")));
        }
        Found::Missing => {
            return Err(format!("stream {name} doesn't exist; create it, or set declare = true"));
        }
        Found::Forbidden(text) => warnings.push(format!("stream {name} can't be looked at: {text}")),
        Found::Trouble(why) => return Err(format!("stream {name}: {why}")),
    }
    let max = link.max_payload();
    if max < bounds::MAX_PAYLOAD {
        warnings.push(format!(
            "the server takes {max} bytes at most (`max_payload`); longer webhooks are refused with 413"
        ));
    }
    // Let go of the connection before its tasks' runtime ends.
    let _ = tokio::time::timeout(Duration::from_secs(1), link.client.drain()).await;
    Ok(warnings)
}
