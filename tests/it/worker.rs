//! A worker: reads the queue through `sluiced work --print`.

use std::path::Path;
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::daemon::sluiced;

/// All messages that are in the queue, taken out of it.
pub fn drain(dir: &Path) -> Vec<Value> {
    let output = work(dir, &["--exit-when-empty"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs `work --print` to its end.
pub fn work(dir: &Path, args: &[&str]) -> Output {
    sluiced().args(["work", "--print", "--data-dir"]).arg(dir).args(args).output().unwrap()
}

/// The exact bytes of a message's body.
pub fn body(message: &Value) -> Vec<u8> {
    STANDARD.decode(message["bodyBase64"].as_str().expect("bodyBase64")).unwrap()
}
