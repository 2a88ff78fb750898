//! JetStream's own API over a plain connection: what an operator would do to a stream with another tool.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bounds::COMMAND_DEADLINE;

/// The stream of `--queue-name webhooks`.
pub const STREAM: &str = "WEBHOOKS";

/// How many messages it holds; `None` when there is no such stream.
pub async fn messages(server: SocketAddr) -> Result<Option<u64>, String> {
    let info = ask(server, &format!("STREAM.INFO.{STREAM}"), &json!({})).await?;
    if info["error"]["code"] == 404 {
        return Ok(None);
    }
    let count = info["state"]["messages"].as_u64();
    count.map(Some).ok_or_else(|| format!("no number of messages in {info}"))
}

/// Deletes it.
pub async fn delete(server: SocketAddr) -> Result<(), String> {
    answered(ask(server, &format!("STREAM.DELETE.{STREAM}"), &json!({})).await?)
}

/// Lets it hold no more than it has, or as many as it likes.
pub async fn set_full(server: SocketAddr, full: bool) -> Result<(), String> {
    let info = ask(server, &format!("STREAM.INFO.{STREAM}"), &json!({})).await?;
    if info["error"]["code"] == 404 {
        return Ok(());
    }
    let mut config = info["config"].clone();
    let most = if full { info["state"]["messages"].as_i64().unwrap_or(1).max(1) } else { -1 };
    config["max_msgs"] = json!(most);
    answered(ask(server, &format!("STREAM.UPDATE.{STREAM}"), &config).await?)
}

fn answered(answer: Value) -> Result<(), String> {
    if answer["error"].is_null() { Ok(()) } else { Err(answer.to_string()) }
}

async fn ask(server: SocketAddr, what: &str, payload: &Value) -> Result<Value, String> {
    let asked = timeout(COMMAND_DEADLINE, converse(server, what, payload.to_string())).await;
    asked
        .map_err(|_| "no answer in time".to_owned())
        .and_then(|answer| answer.map_err(|error| error.to_string()))
        .map_err(|why| format!("JetStream, asked for {what}: {why}"))
}

async fn converse(server: SocketAddr, what: &str, payload: String) -> std::io::Result<Value> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    let request = format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB _INBOX.torture 1\r\n\
         PUB $JS.API.{what} _INBOX.torture {}\r\n{payload}\r\n",
        payload.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.starts_with("PING") {
            stream.write_all(b"PONG\r\n").await?;
        } else if line.starts_with("MSG ") {
            let bytes = line.trim_end().rsplit(' ').next().and_then(|text| text.parse().ok());
            let mut answer = vec![0; bytes.unwrap_or_default()];
            stream.read_exact(&mut answer).await?;
            return Ok(serde_json::from_slice(&answer)?);
        } else if line.starts_with("-ERR") {
            return Err(std::io::Error::other(line));
        }
    }
}
