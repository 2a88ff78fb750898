//! `sluiced send`: signs a webhook as the provider would, and posts it.

use std::io::Read;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use jiff::Timestamp;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Failure, put_out, put_settings, read_secret};
use crate::bounds::{SEND_REPLY_BYTES_MAX, SEND_TIMEOUT};
use crate::cli::SendFlags;
use crate::client::{HttpClient, client, web_url, with_causes};
use crate::config::providers::{resolve_catalog, unknown_provider};
use crate::verify::{OutgoingRequest, PublicUrl, ReceiverSettings, Verifier};

/// Posts `--count` webhooks, one after the other, each with a delivery id of its own.
///
/// # Errors
/// [`Failure::Usage`] for what can't be signed; [`Failure::Config`] for a file that can't be used;
/// [`Failure::Running`] unless every answer was a 2xx.
pub async fn run(flags: &SendFlags) -> Result<(), Failure> {
    let url = target(flags)?;
    let verifier = verifier(flags, &url)?;
    let body = flags.data.as_deref().map(read_data).transpose()?;
    let headers = flags.headers.iter().map(|h| header(h)).collect::<Result<Vec<_>, _>>()?;
    let client = client(&url.parse().map_err(|_| wrong_target(flags))?, 1).map_err(Failure::Running)?;
    let mut refused = 0;
    for number in 1..=flags.count {
        let id = Uuid::now_v7().to_string();
        let signed = verifier
            .sign(flags.event.as_deref(), body.clone(), &url, Timestamp::now(), &id)
            .map_err(|e| Failure::Usage(e.to_string()))?;
        let (status, text) = post(&client, signed, &headers).await?;
        if !status.is_success() {
            refused += 1;
        }
        if flags.count == 1 || !status.is_success() {
            put_out(&format!("{status} {text}\n"))?;
        }
        if flags.count > 1 && number == flags.count {
            let accepted = flags.count - refused;
            put_out(&format!("{} sent, {accepted} accepted, {refused} refused\n", flags.count))?;
        }
    }
    if refused > 0 { Err(Failure::Running("not every webhook was accepted".into())) } else { Ok(()) }
}

/// The receiver's URL: as given, or a base URL with the receiver's path.
fn target(flags: &SendFlags) -> Result<String, Failure> {
    let uri = web_url(&flags.to).ok_or_else(|| wrong_target(flags))?;
    if uri.path() == "/" && uri.query().is_none() {
        Ok(format!("{}/api/webhooks/incoming/{}", flags.to.trim_end_matches('/'), flags.receiver))
    } else {
        Ok(flags.to.clone())
    }
}

fn wrong_target(flags: &SendFlags) -> Failure {
    Failure::Usage(format!("--to {}: write a URL, e.g. http://127.0.0.1:8080", flags.to))
}

fn verifier(flags: &SendFlags, url: &str) -> Result<Verifier, Failure> {
    let name = flags.receiver.split('/').next().unwrap_or_default();
    let catalog = resolve_catalog(flags.config.as_deref())?;
    let row = catalog.find(name).ok_or_else(|| Failure::Usage(unknown_provider(&catalog, name)))?;
    let wrong = |e: &dyn std::fmt::Display| Failure::Usage(e.to_string());
    let mut settings = ReceiverSettings {
        secrets: vec![read_secret(&flags.secret)?],
        public_url: Some(PublicUrl::whole(url).map_err(|e| wrong(&e))?),
        ..ReceiverSettings::default()
    };
    put_settings(&mut settings, &flags.set)?;
    Verifier::compile(row, &settings).map_err(|e| wrong(&e))
}

fn read_data(from: &str) -> Result<Bytes, Failure> {
    let wrong = |e| Failure::Usage(format!("--data {from}: {e}"));
    if from == "-" {
        let mut data = Vec::new();
        std::io::stdin().read_to_end(&mut data).map_err(wrong)?;
        return Ok(data.into());
    }
    std::fs::read(from).map(Bytes::from).map_err(wrong)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        Some((name.trim().parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| Failure::Usage(format!("--header {text}: write NAME:VALUE")))
}

/// Posts one and gives the status and what the answer says.
async fn post(
    client: &HttpClient,
    signed: OutgoingRequest,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<(StatusCode, String), Failure> {
    let url = signed.url.clone();
    let mut request = Request::new(Full::new(signed.body));
    *request.method_mut() = signed.method;
    *request.uri_mut() = signed.url.parse().map_err(|e| Failure::Usage(format!("{url}: {e}")))?;
    *request.headers_mut() = with_given(signed.headers, headers);
    let exchange = async {
        let response = client.request(request).await.map_err(|e| explain(&url, &e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), SEND_REPLY_BYTES_MAX).collect().await;
        let text = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
        Ok((status, text))
    };
    timeout(SEND_TIMEOUT, exchange)
        .await
        .map_err(|_| Failure::Running(format!("{url} didn't answer within {} s", SEND_TIMEOUT.as_secs())))?
}

/// A given header takes the place of a signed one of that name.
fn with_given(mut signed: HeaderMap, given: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    for (name, _) in given {
        signed.remove(name);
    }
    for (name, value) in given {
        signed.append(name, value.clone());
    }
    signed
}

fn explain(url: &str, error: &hyper_util::client::legacy::Error) -> Failure {
    let text = with_causes(error);
    let hint = if error.is_connect() { "; is the daemon running, and is this its address?" } else { "" };
    Failure::Running(format!("{url}: {text}{hint}"))
}
