//! The process's own limits.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Descriptors that are not senders' connections: the store, the logs, the ops listener.
const OTHER_FILES: u64 = 128;

/// glibc's: from this size on a block has a mapping of its own, which goes back to the system when it is freed.
const MMAP_THRESHOLD: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Keeps what was freed of large bodies from staying with the process: glibc raises its threshold with each large
/// block that is freed, to 32 MiB, and keeps those below it, which doubled the resident memory under 25 MiB bodies.
/// It reads a fixed threshold from the environment alone and before `main`, so the process starts itself again
/// with one, under the same pid; where it can't, it goes on as it is. Who has set one keeps it.
pub fn keep_large_blocks_apart() {
    let (name, value) = MMAP_THRESHOLD;
    if !cfg!(target_env = "gnu") || std::env::var_os(name).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(called) = arguments.next() {
        again.arg0(called);
    }
    // Returns only when it failed.
    let _ = again.args(arguments).env(name, value).exec();
}

/// Raises the limit on open files to what the connections need, as far as the process may. Warns when
/// that is not far enough, and takes fewer connections then: out of files, none could even be told so.
pub fn raise_open_files(limits: &mut Limits) -> Option<String> {
    let wanted = limits.connections_max + limits.rejections_max + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return None;
    }
    let raised = limit.maximum.unwrap_or(u64::MAX).min(wanted).max(current);
    let raised = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised,
        Err(_) => current,
    };
    if raised >= wanted {
        return None;
    }
    let configured = limits.connections_max;
    let room = raised.saturating_sub(OTHER_FILES).max(raised / 2).max(2);
    limits.rejections_max = limits.rejections_max.min(room / 5).max(1);
    limits.connections_max = (room - limits.rejections_max).min(configured);
    Some(format!(
        "the process may open {raised} files: {} connections are taken instead of {configured}; raise `ulimit -n` (LimitNOFILE= in systemd) to {wanted}, or lower limits.connections_max",
        limits.connections_max
    ))
}
