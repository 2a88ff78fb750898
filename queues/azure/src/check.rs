//! What `sluiced check --connect` finds out.

use jiff::Timestamp;

use crate::account::Account;
use crate::fault::Kind;
use crate::options::Options;
use crate::service::Service;
use crate::{bounds, name};

/// A SAS that ends sooner is worth a warning: somebody must make the next one.
const SAS_ENDS_SOON_DAYS: i64 = 14;

/// Asks the account for the queue, within ten seconds, and changes nothing. The warnings are what works but may
/// surprise.
///
/// # Errors
/// Why the queue can't be used: wrong options, nobody there, credentials refused, no queue and none is created.
pub async fn check(options: &Options) -> Result<Vec<String>, String> {
    let wrong = |error: crate::OptionsError| error.to_string();
    options.check().map_err(wrong)?;
    let account = Account::parse(&options.url).map_err(wrong)?;
    let mut warnings = warnings(options, &account);
    let service = Service::new(options).map_err(wrong)?;
    let queue = service.queue(&options.queue_name).map_err(wrong)?;
    match queue.count(bounds::CHECK_DEADLINE).await {
        Ok(_) => {}
        Err(fault) if fault.kind == Kind::NoQueue && options.declare => {
            warnings.push(format!("the queue {} doesn't exist yet and will be created", queue.name));
        }
        Err(fault) if fault.kind == Kind::NoQueue => {
            return Err(format!(
                "the queue {} doesn't exist, and declare = false; create it: az storage queue create --name {}",
                queue.name, queue.name
            ));
        }
        Err(fault) if fault.kind == Kind::NotPermitted => warnings.push(format!(
            "the queue {} can't be looked at, so whether it is there and takes messages is not known: {}",
            queue.name, fault.text
        )),
        Err(fault) => return Err(format!("{}: {}", service.address, fault.text)),
    }
    Ok(warnings)
}

/// What can be told without asking.
fn warnings(options: &Options, account: &Account) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Err(why) = name::poison(&options.queue_name) {
        warnings.push(format!("workers can't use this queue: {why}"));
    }
    if account.endpoint.scheme() == "http" && !account.is_loopback() {
        warnings
            .push(format!("{} is asked over http: messages cross the network in clear", account.address()));
    }
    if let Some(ends) = account.sas_ends() {
        warnings.extend(sas_warning(&ends, Timestamp::now()));
    }
    warnings
}

fn sas_warning(ends: &str, now: Timestamp) -> Option<String> {
    // A SAS may give the day alone; it ends when that begins.
    let at: Timestamp = ends.parse().or_else(|_| format!("{ends}T00:00:00Z").parse()).ok()?;
    let left = at.as_second() - now.as_second();
    match left / (24 * 60 * 60) {
        _ if left <= 0 => Some(format!("the SAS ended at {ends}")),
        days if days < SAS_ENDS_SOON_DAYS => Some(format!("the SAS ends at {ends}, in {days} days")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sas_that_ends_soon_is_warned_about() {
        let now: Timestamp = "2026-11-24T08:00:00Z".parse().unwrap();
        assert!(sas_warning("2026-11-24T07:59:59Z", now).unwrap().contains("ended at"));
        assert!(sas_warning("2026-11-27T09:00:00Z", now).unwrap().contains("in 3 days"));
        assert!(sas_warning("2026-11-27", now).unwrap().contains("in 2 days"));
        assert_eq!(sas_warning("2027-11-24T08:00:00Z", now), None);
        assert_eq!(sas_warning("whenever", now), None);
    }

    #[test]
    fn what_may_surprise_is_told_without_asking_anybody() {
        let options = Options {
            url: "QueueEndpoint=http://queues.example.com/acme;AccountName=acme;AccountKey=bWFkZSB1cA=="
                .into(),
            queue_name: "a".repeat(60),
            ..Options::default()
        };
        let warnings = warnings(&options, &Account::parse(&options.url).unwrap());
        assert!(warnings[0].contains("at most 56") && warnings[1].contains("in clear"), "{warnings:?}");
    }
}
