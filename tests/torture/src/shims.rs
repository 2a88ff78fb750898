//! The libraries that stand between the daemon and the kernel: compiled, and put into a command's environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wall clock, off by what a control file says.
const CLOCK: &str = "tests/torture/clock.c";
/// Calls on the store's files that fail or are late, as a control file says.
const FAILING: &str = "queues/embedded/tests/fault_shim.c";
/// What isn't synced, lost or torn.
const POWER: &str = "queues/embedded/tests/power/shim.c";

/// The compiled ones.
#[derive(Debug)]
pub struct Shims {
    clock: PathBuf,
    failing: PathBuf,
    power: PathBuf,
}

impl Shims {
    /// Compiles them into a directory.
    ///
    /// # Errors
    /// Says what the compiler said, or that there is none.
    pub fn compile(into: &Path) -> Result<Self, String> {
        Ok(Self {
            clock: compile(into, "clock", CLOCK)?,
            failing: compile(into, "failing", FAILING)?,
            power: compile(into, "power", POWER)?,
        })
    }

    /// Loads the clock, with its control file.
    pub fn load_clock(&self, command: &mut Command, control: &Path) {
        command.env("LD_PRELOAD", &self.clock).env("CLOCK_CONTROL", control);
    }

    /// Loads the clock and the one that makes calls fail, with its control file.
    pub fn load_failing(&self, command: &mut Command, control: &Path) {
        self.preload(command, &self.failing);
        command.env("SHIM_CONTROL", control);
    }

    /// Loads the clock and the one that loses what isn't synced in a store's directory, once `trigger` is there.
    pub fn load_power(&self, command: &mut Command, store: &Path, trigger: &Path, seed: u64) {
        self.preload(command, &self.power);
        command.env("POWER_DIR", store).env("POWER_TRIGGER", trigger).env("POWER_SEED", seed.to_string());
    }

    fn preload(&self, command: &mut Command, second: &Path) {
        let mut both = OsString::from(&self.clock);
        both.push(":");
        both.push(second);
        command.env("LD_PRELOAD", both);
    }
}

fn compile(into: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let library = into.join(format!("{name}.so"));
    let output = Command::new("cc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
        .args([&library, &workspace.join(source)])
        .output()
        .map_err(|error| format!("cc can't be started, which compiles {source}: {error}"))?;
    if output.status.success() {
        return Ok(library);
    }
    Err(format!("{source} doesn't compile: {}", String::from_utf8_lossy(&output.stderr)))
}
