//! The shims (`tests/fault_shim.c`, `tests/power/shim.c`): compiled, and loaded into children.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The rules and the log of one child's shim.
pub(crate) struct Shim {
    dir: tempfile::TempDir,
}

impl Shim {
    pub(crate) fn new() -> Self {
        Self { dir: crate::common::dir() }
    }

    /// Loads it into a child. The log makes every call slower.
    pub(crate) fn load_into(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library(&FAULTS, "tests/fault_shim.c", "fault_shim"))
            .env("SHIM_CONTROL", self.path("control"))
            .env("SHIM_LOG", self.path("log"));
    }

    /// From now on; see the C file. None: everything is carried out.
    pub(crate) fn rules(&self, rules: &str) {
        // Renamed into place: the child must never read half of it.
        fs::write(self.path("control.new"), rules).unwrap();
        fs::rename(self.path("control.new"), self.path("control")).unwrap();
    }

    /// How many calls of a kind succeeded on a file so far.
    pub(crate) fn count(&self, call_and_file: &str) -> usize {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().filter(|line| line.starts_with(call_and_file) && !line.ends_with(" -1")).count()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Loads the power shim into a child: see the C file.
pub(crate) fn load_power(command: &mut Command, dir: &Path, seed: u64, log: &Path) {
    command
        .env("LD_PRELOAD", library(&POWER, "tests/power/shim.c", "power_shim"))
        .env("POWER_DIR", dir)
        .env("POWER_SEED", seed.to_string())
        .env("POWER_LOG", log);
}

static FAULTS: OnceLock<PathBuf> = OnceLock::new();
static POWER: OnceLock<PathBuf> = OnceLock::new();

/// Compiled once in each process.
fn library(compiled: &'static OnceLock<PathBuf>, source: &str, name: &str) -> &'static Path {
    compiled.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let library = dir.join(format!("{name}.so"));
        // Another process may compile it too: each under a name of its own, then renamed.
        let own = dir.join(format!("{name}.{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&own, &source])
            .status()
            .expect("a C compiler, as the build needs one too");
        assert!(compiled.success(), "the shim doesn't compile");
        fs::rename(&own, &library).unwrap();
        library
    })
}
