//! `sluiced check --ready`: does the daemon that runs take webhooks? For a container's health check.

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::{Failure, put_out};
use crate::bounds::{READY_REPLY_BYTES_MAX, READY_TIMEOUT};
use crate::client::{client, with_causes};
use crate::config::{Config, ConfigError};

/// Asks the ops listener's `/readyz` and prints what it says.
///
/// # Errors
/// [`Failure::Running`] unless it is ready; [`Failure::Config`] when the configuration has no ops listener to ask.
pub async fn run(config: &Config) -> Result<(), Failure> {
    let address = address(config.ops_listen.as_deref())?;
    let wrong = |why: String| Failure::Running(format!("not ready: http://{address}/readyz: {why}"));
    let url: Uri = format!("http://{address}/readyz?verbose").parse().map_err(|_| no_address(&address))?;
    let client = client(&url, 0).map_err(Failure::Running)?;
    let asked = async {
        let reply = client.get(url).await.map_err(|e| with_causes(&e))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), READY_REPLY_BYTES_MAX).collect().await;
        let body: Bytes = body.map_err(|e| with_causes(&*e))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let (status, text) = match timeout(READY_TIMEOUT, asked).await {
        Ok(reply) => reply.map_err(wrong)?,
        Err(_) => return Err(wrong(format!("no answer within {} s", READY_TIMEOUT.as_secs()))),
    };
    put_out(&text)?;
    if status == StatusCode::OK { Ok(()) } else { Err(wrong(status.to_string())) }
}

/// The ops listener as this machine reaches it: what listens on every address does on loopback too.
fn address(ops_listen: Option<&str>) -> Result<String, ConfigError> {
    let address = ops_listen
        .ok_or_else(|| ConfigError("--ready asks the ops listener, and ops_listen is \"off\"".into()))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| no_address(address))?;
    match host {
        _ if port == "0" => Err(no_address(address)),
        "0.0.0.0" | "" => Ok(format!("127.0.0.1:{port}")),
        "[::]" => Ok(format!("[::1]:{port}")),
        _ => Ok(address.to_owned()),
    }
}

fn no_address(address: &str) -> ConfigError {
    ConfigError(format!("--ready asks the ops listener, and {address} is no address that it could ask"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(address(Some("0.0.0.0:8081")).unwrap(), "127.0.0.1:8081");
        assert_eq!(address(Some("[::]:8081")).unwrap(), "[::1]:8081");
        assert_eq!(address(Some("10.0.0.7:1")).unwrap(), "10.0.0.7:1");
        assert_eq!(address(Some("localhost:8081")).unwrap(), "localhost:8081");
    }

    #[test]
    fn without_an_address_there_is_nobody_to_ask() {
        for ops_listen in [None, Some("127.0.0.1:0"), Some("8081")] {
            assert!(address(ops_listen).is_err(), "{ops_listen:?}");
        }
    }
}
