//! The process's own limits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Descriptors that are not senders' connections: the store, the logs, the ops listener.
const OTHER_FILES: u64 = 128;

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
