//! One daemon to a directory: a lock that the kernel lets go of when its holder dies, however.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

use rustix::fs::FlockOperation;

use crate::bounds;
use crate::open_error::OpenError;

/// The lock, held until it is dropped. It goes with the threads that write, not with the handle that
/// callers hold: while one of them can still write, no other daemon may begin.
#[derive(Debug)]
pub(crate) struct ServeLock {
    _file: File,
}

impl ServeLock {
    /// Takes the lock at `path` and writes our process id into the file, for whoever comes second.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let io = |error| OpenError::io(path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // Not ours to empty before we hold the lock.
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked { pid: read_pid(path), path: path.to_path_buf() });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        // Only a courtesy: a daemon must be able to start on a full disk, to answer 503 and to recover.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// The holder writes its id just after it took the lock, so an empty file is looked at again.
fn read_pid(path: &Path) -> Option<u32> {
    for _ in 0..bounds::LOCK_PID_TRIES {
        if let Some(pid) = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()) {
            return Some(pid);
        }
        thread::park_timeout(bounds::LOCK_PID_WAIT);
    }
    None
}
