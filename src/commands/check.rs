//! `sluiced check`: would `serve` start, and with what?

use std::fmt::Write;

use clap::ArgMatches;

use super::{Failure, put_out, ready};
use crate::backend;
use crate::bounds::CONNECT_TIMEOUT;
use crate::catalog::{Catalog, Own};
use crate::cli::CheckFlags;
use crate::config::{Config, ConfigError, QueueConfig, resolve};
use crate::http::entrances::load_certificates;
use crate::live::Live;
use crate::receivers::Receivers;
use crate::verify::prove;

/// Prints every value with where it came from, every receiver with its URL, and what to look at.
///
/// # Errors
/// [`Failure::Config`] when `serve` wouldn't start, or a provider of one's own fails a vector of its own;
/// [`Failure::Running`] when the broker was to be reached and can't be.
pub async fn run(flags: &CheckFlags, matches: &ArgMatches) -> Result<(), Failure> {
    let mut config = resolve(&flags.serve, matches)?;
    if flags.ready {
        return ready::run(&config).await;
    }
    backend::check(&config.queue, &config.handlers)?;
    let receivers = Live::compile(&config)?.receivers;
    let certificates = load_certificates(&config)?;
    config.warnings.extend(certificates.into_iter().flat_map(|(_, loaded)| loaded.warnings));
    let mut page = String::new();
    let judged = judge(&config, &receivers, &mut page);
    put_out(&page)?;
    judged?;
    match flags.connect {
        true => connect(&config.queue).await,
        false => Ok(()),
    }
}

fn judge(config: &Config, receivers: &Receivers, page: &mut String) -> Result<(), Failure> {
    say(page, format_args!("{:<26} {:<28} FROM", "KEY", "VALUE"));
    for shown in &config.shown {
        say(page, format_args!("{:<26} {:<28} {}", shown.key, shown.value, shown.origin));
    }
    say(page, format_args!(""));
    check_vectors(&config.catalog, page)?;
    let scheme = if config.front_door.entrance.tls.is_some() { "https" } else { "http" };
    for (receiver, configured) in receivers.iter().zip(&config.receivers) {
        let base = config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", config.listen));
        say(page, format_args!("receiver {:<30} {}", configured.label(), configured.origin));
        say(page, format_args!("  URL     {base}{}", receivers.path_of(receiver)));
        say(page, format_args!("  secrets {}", configured.secrets.len()));
        for warning in receiver.verifier().warnings() {
            say(page, format_args!("  warning {warning}"));
        }
    }
    for handler in &config.handlers {
        say(
            page,
            format_args!("handler  {:<30} order {}, {}", handler.name, handler.order, handler.describe()),
        );
    }
    for warning in config.warnings.iter().chain(&backend::warnings(&config.queue)) {
        say(page, format_args!("warning: {warning}"));
    }
    if config.receivers.is_empty() {
        return Err(ConfigError(
            "there is no receiver; add one, e.g. --receiver github=env:GITHUB_SECRET or [[receivers]] in the file".into(),
        )
        .into());
    }
    say(page, format_args!("\nThe configuration is good."));
    Ok(())
}

async fn connect(config: &QueueConfig) -> Result<(), Failure> {
    let reached = tokio::time::timeout(CONNECT_TIMEOUT, backend::check_connect(config)).await;
    let late = || Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
    let warnings = reached.unwrap_or_else(|_| late());
    let warnings =
        warnings.map_err(|why| Failure::Running(format!("{} can't be used: {why}", config.backend)))?;
    let mut page = String::new();
    for warning in warnings {
        say(&mut page, format_args!("warning: {warning}"));
    }
    say(&mut page, format_args!("The queue is there."));
    put_out(&page)?;
    Ok(())
}

/// Prints the providers of one's own, and judges what their rows say must become of requests.
fn check_vectors(catalog: &Catalog, page: &mut String) -> Result<(), ConfigError> {
    for Own { row, origin } in catalog.own() {
        let failed: Vec<String> = row
            .vectors
            .iter()
            .filter_map(|vector| prove(row, vector).err().map(|why| format!("{:?}: {why}", vector.name)))
            .collect();
        if !failed.is_empty() {
            let failed = failed.join("; ");
            return Err(ConfigError(format!(
                "{origin}: the provider `{}` fails its vector {failed}",
                row.name
            )));
        }
        let vectors = match row.vectors.len() {
            0 => "no vectors: add one, so that `check` can tell whether the row is right".to_owned(),
            1 => "its vector passes".to_owned(),
            count => format!("its {count} vectors pass"),
        };
        say(page, format_args!("provider {:<30} {origin}\n  {vectors}", row.name));
    }
    Ok(())
}

fn say(page: &mut String, line: std::fmt::Arguments<'_>) {
    // A text takes whatever is written into it.
    let _ = writeln!(page, "{line}");
}
