//! A worker: reads the queue through `sluiced work --print`.

use std::io::{BufRead, BufReader};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::daemon::sluiced;

/// All messages that are in the queue, taken out of it.
pub fn drain(dir: &Path) -> Vec<Value> {
    let mut messages = Vec::new();
    drain_each(dir, |message| messages.push(message));
    messages
}

/// The same one by one, for many.
pub fn drain_each(dir: &Path, mut each: impl FnMut(Value)) {
    let mut child = command(dir, &["--exit-when-empty"]).stdout(Stdio::piped()).spawn().unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        each(serde_json::from_str(&line.unwrap()).unwrap());
    }
    assert!(child.wait().unwrap().success());
}

/// Runs `work --print` to its end.
pub fn work(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// A worker under way; killed when dropped.
pub struct Worker(Child);

impl Worker {
    /// Starts one; its output is to be read.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        Self(command(dir, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

impl Deref for Worker {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Worker {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `work --print` on a data directory.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = sluiced();
    command.args(["work", "--print", "--data-dir"]).arg(dir).args(args);
    command
}

/// The exact bytes of a message's body.
pub fn body(message: &Value) -> Vec<u8> {
    STANDARD.decode(message["bodyBase64"].as_str().expect("bodyBase64")).unwrap()
}
