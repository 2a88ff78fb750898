//! Where the brokers' programs are. `tests/run` puts them there.

use std::path::{Path, PathBuf};

/// NATS: what `SLUICED_TEST_NATS` names, the one that comes from PyPI (2.15), or the one in the PATH.
pub(crate) fn nats() -> PathBuf {
    let own = clients().join(".venv/bin/nats-server");
    std::env::var_os("SLUICED_TEST_NATS")
        .map(PathBuf::from)
        .or_else(|| Some(own).filter(|path| path.exists()))
        .or_else(|| in_path("nats-server"))
        .unwrap_or_else(|| missing("nats-server"))
}

/// The directory of RabbitMQ's own scripts: what `SLUICED_TEST_RABBITMQ` names, or Debian's. The wrappers in
/// the PATH won't do, because they change the user and the directory.
pub(crate) fn rabbitmq_scripts() -> PathBuf {
    if let Some(dir) = std::env::var_os("SLUICED_TEST_RABBITMQ") {
        return dir.into();
    }
    let versions = std::fs::read_dir("/usr/lib/rabbitmq/lib").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("sbin")).filter(|dir| dir.is_dir()).max();
    newest.unwrap_or_else(|| missing("rabbitmq-server"))
}

/// Erlang's port mapper.
pub(crate) fn epmd() -> PathBuf {
    in_path("epmd").unwrap_or_else(|| missing("epmd"))
}

/// Azurite's queue service: a script for `node`.
pub(crate) fn azurite() -> PathBuf {
    let script = clients().join("node_modules/azurite/dist/src/queue/main.js");
    if script.exists() { script } else { missing("azurite") }
}

/// `node`.
pub(crate) fn node() -> PathBuf {
    in_path("node").unwrap_or_else(|| missing("node"))
}

/// Where other languages' libraries are installed: `tests/clients`, or what `SLUICED_TEST_CLIENTS` names.
fn clients() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("clients");
    std::env::var_os("SLUICED_TEST_CLIENTS").map_or_else(own, PathBuf::from)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn missing(name: &str) -> ! {
    panic!("{name} isn't installed: run `tests/run` once, which installs all that the tests need");
}
