//! From a row and a receiver's settings to a verifier: everything that can be wrong is found here.

use std::sync::Arc;

use http::Method;

use super::acknowledgement::{Acknowledgement, Failure};
use super::error::CompileError;
use super::events::Events;
use super::handshake::{self, Handshake};
use super::mask::Mask;
use super::scheme::Scheme;
use super::settings::{ReceiverSettings, Scope};
use super::source::Source;
use super::verifier::Verifier;
use super::warning;
use crate::catalog::{self, Row, VerifyBy};

impl Verifier {
    /// Everything that can be wrong with row and settings is found here.
    pub fn compile(row: &Row, settings: &ReceiverSettings) -> Result<Self, CompileError> {
        let scope = Scope::new(row, &settings.settings)?;
        let chosen = choose(row, settings, &scope)?;
        let schemes = compile_schemes(row, settings, &scope, &chosen)?;
        let handshakes = compile_handshakes(row, &scope)?;
        check_needs(row, settings, &schemes, &handshakes)?;
        let methods = handshake::methods(&row.methods)?;
        Ok(Self {
            provider: row.name.clone(),
            allow: allow(&methods, &handshakes),
            methods,
            content_types: row.content_types.clone(),
            public_url: settings.public_url.clone(),
            warnings: warning::all(row, settings, &chosen, &schemes),
            schemes,
            handshakes,
            events: Events::compile(row, &scope)?,
            masks: masks(row, &scope)?,
            acknowledgement: Acknowledgement::compile(&row.acknowledgement, &scope)?,
            failure: row.failure.as_ref().map(Failure::compile).transpose()?,
            refusal_status: row.refusal_status.map(handshake::status).transpose()?,
        })
    }
}

/// The schemes that the receiver accepts: those it names, or those that needn't be asked for.
fn choose<'r>(
    row: &'r Row,
    settings: &ReceiverSettings,
    scope: &Scope<'_>,
) -> Result<Vec<&'r catalog::Scheme>, CompileError> {
    let known = || row.schemes.iter().map(|scheme| scheme.name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(names) = &settings.schemes else {
        let mut usual: Vec<_> = row.schemes.iter().filter(|scheme| !is_on_request(scheme)).collect();
        for scheme in &row.schemes {
            let value = |name: &Option<String>| name.as_deref().map(|name| scope.value(name)).transpose();
            let (needed, unwanted) = (value(&scheme.needs)?, value(&scheme.unless)?);
            if needed.is_some_and(<[u8]>::is_empty) || unwanted.is_some_and(|value| !value.is_empty()) {
                usual.retain(|usual| usual.name != scheme.name);
            }
        }
        let nothing = || CompileError::SchemeNotChosen { provider: row.name.clone(), known: known() };
        return if usual.is_empty() { Err(nothing()) } else { Ok(usual) };
    };
    if names.is_empty() {
        return Err(CompileError::SchemeNotChosen { provider: row.name.clone(), known: known() });
    }
    let named = |name: &String| {
        let unknown =
            || CompileError::SchemeUnknown { provider: row.name.clone(), name: name.clone(), known: known() };
        row.schemes.iter().find(|scheme| scheme.name.eq_ignore_ascii_case(name)).ok_or_else(unknown)
    };
    names.iter().map(named).collect()
}

/// A row can't turn verification off: that takes the receiver's word.
fn is_on_request(scheme: &catalog::Scheme) -> bool {
    scheme.on_request || scheme.verify == VerifyBy::None
}

fn compile_schemes(
    row: &Row,
    settings: &ReceiverSettings,
    scope: &Scope<'_>,
    chosen: &[&catalog::Scheme],
) -> Result<Vec<Scheme>, CompileError> {
    let mut schemes = Vec::with_capacity(chosen.len());
    for scheme in chosen {
        let compiled = Scheme::compile(scheme, scope, &settings.secrets, settings.tolerance)
            .map_err(|error| error.within(&row.name, &format!("scheme {}", scheme.name)))?;
        schemes.push(compiled.map_err(|problem| CompileError::SecretUnusable {
            provider: row.name.clone(),
            problem: format!("{problem} (scheme {})", scheme.name),
        })?);
    }
    Ok(schemes)
}

fn compile_handshakes(row: &Row, scope: &Scope<'_>) -> Result<Vec<Handshake>, CompileError> {
    let mut handshakes = Vec::with_capacity(row.handshakes.len());
    for handshake in &row.handshakes {
        let within = |error: CompileError| error.within(&row.name, &format!("handshake {}", handshake.name));
        let needs = handshake.needs.as_deref().map(|name| scope.value(name)).transpose().map_err(within)?;
        if needs.is_none_or(|setting| !setting.is_empty()) {
            handshakes.push(Handshake::compile(handshake, scope).map_err(within)?);
        }
    }
    Ok(handshakes)
}

/// Whether the receiver has the secret and the URL that schemes and handshakes can't do without.
fn check_needs(
    row: &Row,
    settings: &ReceiverSettings,
    schemes: &[Scheme],
    handshakes: &[Handshake],
) -> Result<(), CompileError> {
    let needs_secret =
        schemes.iter().any(Scheme::needs_secret) || handshakes.iter().any(Handshake::needs_key);
    let captures = handshakes.iter().any(|handshake| handshake.capture.is_some());
    if settings.secrets.is_empty() && needs_secret && !captures {
        let what =
            if row.secret.is_empty() { "what the sender signs with".to_owned() } else { row.secret.clone() };
        return Err(CompileError::SecretMissing { provider: row.name.clone(), what });
    }
    if settings.secrets.iter().any(|secret| secret.bytes().is_empty()) {
        let problem = "it is empty".to_owned();
        return Err(CompileError::SecretUnusable { provider: row.name.clone(), problem });
    }
    let needs_url = schemes.iter().any(Scheme::needs_url) || handshakes.iter().any(Handshake::needs_url);
    if needs_url && settings.public_url.is_none() {
        return Err(CompileError::PublicUrlMissing { provider: row.name.clone() });
    }
    Ok(())
}

fn allow(methods: &[Method], handshakes: &[Handshake]) -> String {
    let all = methods.iter().chain(handshakes.iter().flat_map(|handshake| &handshake.methods));
    let mut names: Vec<&str> = all.map(Method::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// What is always masked, what any scheme of the row reads as a credential (one that isn't accepted is a
/// credential still), and what the row names.
fn masks(row: &Row, scope: &Scope<'_>) -> Result<Arc<[Mask]>, CompileError> {
    let mut masks = Mask::always().to_vec();
    for scheme in row.schemes.iter().filter(|scheme| scheme.verify == VerifyBy::Token) {
        for from in scope.expand_all(&scheme.from)? {
            masks.extend(Mask::of(&Source::parse(&from)?));
        }
    }
    for text in scope.expand_all(&row.mask)? {
        masks.push(Mask::parse(&text)?);
    }
    let mut unique: Vec<Mask> = Vec::with_capacity(masks.len());
    for mask in masks {
        if !unique.contains(&mask) {
            unique.push(mask);
        }
    }
    Ok(unique.into())
}
