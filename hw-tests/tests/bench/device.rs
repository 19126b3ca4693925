//! A device below a folder, whose partitions are files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Bench, COMPATIBLE, Ended, hex, run, succeed, tool};

const PARTITIONS: [&str; 4] = ["root_a", "boot_a", "root_b", "boot_b"];
/// Room for a small release, its hash tree and its trailer.
const PARTITION_LEN: u64 = 12 << 20;
const ENVIRONMENT: [&str; 2] = ["boot/env/grubenv", "boot/env/grubenv.safe"];

/// The digest of every file that an update may change, by path.
pub(crate) type Snapshot = BTreeMap<String, String>;

pub(crate) struct Device<'b> {
    bench: &'b Bench,
    root: PathBuf,
}

impl<'b> Device<'b> {
    /// A device that nothing was ever installed on, and that trusts the key `release`.
    pub(crate) fn new(bench: &'b Bench, name: &str) -> Self {
        let device = Self { bench, root: bench.path(name) };
        device.write("usr/lib/gybe/config.toml", &config());
        let trust = "threshold = 1\n[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";
        device.write("usr/lib/gybe/trust.toml", trust);
        let key = fs::read_to_string(bench.public_key("release")).unwrap();
        device.write("usr/lib/gybe/release.pub", &key);
        device.write("proc/cmdline", "quiet\n");
        device.write("boot/env/README", "");
        fs::create_dir_all(device.path("dev")).unwrap();
        for name in PARTITIONS {
            device.resize(name, PARTITION_LEN);
        }
        device
    }

    /// A device that runs a release from slot A, committed.
    pub(crate) fn with(bench: &'b Bench, name: &str, source: &str) -> Self {
        let device = Self::new(bench, name);
        device.gybe(&["install", source, "--slot", "a"]).done();
        device.boot();
        device.gybe(&["commit"]).done();
        device
    }

    /// A device that was made before.
    pub(crate) fn at(bench: &'b Bench, name: &str) -> Self {
        Self { bench, root: bench.path(name) }
    }

    pub(crate) fn remove(self) {
        fs::remove_dir_all(self.root).unwrap();
    }

    /// Another device in the same state.
    pub(crate) fn copy(&self, name: &str) -> Self {
        let root = self.bench.path(name);
        succeed(tool("cp").args(["-a", "--sparse=always"]).arg(&self.root).arg(&root));
        Self { bench: self.bench, root }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn partition(&self, name: &str) -> PathBuf {
        self.path("dev").join(name)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn resize(&self, name: &str, len: u64) {
        fs::File::create(self.partition(name)).unwrap().set_len(len).unwrap();
    }

    /// Changes bytes of a partition in place.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.partition(name)).unwrap();
        change(&mut bytes);
        fs::write(self.partition(name), bytes).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut gybe = self.bench.program("gybe");
        gybe.arg("--root").arg(&self.root).args(arguments);
        gybe
    }

    pub(crate) fn gybe(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments))
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.gybe(&["status", "--json"]).done().json()
    }

    /// Switches the device on.
    pub(crate) fn boot(&self) {
        succeed(self.bench.program("gybe-loader-player").arg("--root").arg(&self.root));
    }

    /// What may not change when something is refused.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let partitions = PARTITIONS.iter().map(|name| format!("dev/{name}"));
        let files = partitions.chain(ENVIRONMENT.map(str::to_owned));
        files.map(|file| (file.clone(), digest(&self.path(&file)))).collect()
    }
}

fn digest(path: &Path) -> String {
    fs::read(path).map_or_else(|cause| cause.to_string(), |bytes| hex(&bytes))
}

/// The configuration of the devices here.
pub(crate) fn config() -> String {
    format!(
        "compatible = \"{COMPATIBLE}\"\n\
         [slot.a]\nroot = \"/dev/root_a\"\nboot = \"/dev/boot_a\"\n\
         [slot.b]\nroot = \"/dev/root_b\"\nboot = \"/dev/boot_b\"\n\
         [bootloader]\nkind = \"grub\"\nenvironment = \"/boot/env/grubenv\"\n"
    )
}
