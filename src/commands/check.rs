//! `sluiced check`: would `serve` start, and with what?

use clap::ArgMatches;

use super::Failure;
use crate::backend;
use crate::catalog::{Catalog, Own};
use crate::cli::ServeFlags;
use crate::config::{ConfigError, resolve};
use crate::http::entrances::load_certificates;
use crate::live::Live;
use crate::verify::prove;

/// Prints every value with where it came from, every receiver with its URL, and what to look at.
///
/// # Errors
/// [`Failure::Config`] when `serve` wouldn't start, or a provider of one's own fails a vector of its own.
pub fn run(flags: &ServeFlags, matches: &ArgMatches) -> Result<(), Failure> {
    let mut config = resolve(flags, matches)?;
    let receivers = Live::compile(&config)?.receivers;
    let certificates = load_certificates(&config)?;
    config.warnings.extend(certificates.into_iter().flat_map(|(_, loaded)| loaded.warnings));
    println!("{:<26} {:<28} FROM", "KEY", "VALUE");
    for shown in &config.shown {
        println!("{:<26} {:<28} {}", shown.key, shown.value, shown.origin);
    }
    println!();
    check_vectors(&config.catalog)?;
    let scheme = if config.front_door.entrance.tls.is_some() { "https" } else { "http" };
    for (receiver, configured) in receivers.iter().zip(&config.receivers) {
        let base = config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", config.listen));
        println!("receiver {:<30} {}", configured.label(), configured.origin);
        println!("  URL     {base}{}", receivers.path_of(receiver));
        println!("  secrets {}", configured.secrets.len());
        for warning in receiver.verifier.warnings() {
            println!("  warning {warning}");
        }
    }
    for handler in &config.handlers {
        println!("handler  {:<30} order {}, {}", handler.name, handler.order, handler.describe());
    }
    for warning in config.warnings.iter().chain(&backend::warnings(&config.queue)) {
        println!("warning: {warning}");
    }
    if config.receivers.is_empty() {
        return Err(ConfigError(
            "there is no receiver; add one, e.g. --receiver github=env:GITHUB_SECRET or [[receivers]] in the file".into(),
        )
        .into());
    }
    println!("\nThe configuration is good.");
    Ok(())
}

/// Prints the providers of one's own, and judges what their rows say must become of requests.
fn check_vectors(catalog: &Catalog) -> Result<(), ConfigError> {
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
        println!("provider {:<30} {origin}\n  {vectors}", row.name);
    }
    Ok(())
}
