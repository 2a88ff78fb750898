//! Commands in a mount namespace of their own, where a directory is a small disk, or can't be written.
//! Root makes one as it is; anybody else becomes root in a user namespace first.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A command in front of which `mounts`, a shell script with the directory in `$dir`, is run.
pub fn with_mounts(mounts: &str, dir: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        wrapped.arg("--map-root-user");
    }
    let script = format!("dir=$1; shift; {mounts} && exec \"$@\"");
    wrapped.args(["--mount", "sh", "-ec", &script, "sh"]).arg(dir);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// A command in the namespaces of a process.
pub fn inside(pid: u32, command: &Command) -> Command {
    let mut wrapped = Command::new("nsenter");
    if !rustix::process::geteuid().is_root() {
        wrapped.args(["--user", "--preserve-credentials"]);
    }
    wrapped.args(["--mount", "--target", &pid.to_string(), "--"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped
}

/// A path as a process sees it.
pub fn seen_by(pid: u32, path: &Path) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("root").join(path.strip_prefix("/").unwrap())
}
