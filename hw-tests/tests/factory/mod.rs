//! Images for factory disks, and what lies on a disk.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::bench::{Bench, COMPATIBLE, succeed};

const BLOCK_LEN: usize = 4096;

/// What an image says of its device: enough for a disk with this loader.
pub(crate) fn configure(bench: &Bench, stage: &Path, loader: &str) {
    let environment = match loader {
        "grub" => "environment = \"/run/gybe/env/grubenv\"",
        _ => "file = \"/run/gybe/env/gybe.env\"",
    };
    let slot = |slot: &str| {
        let place = "/dev/disk/by-partlabel";
        format!("[slot.{slot}]\nroot = \"{place}/root_{slot}\"\nboot = \"{place}/boot_{slot}\"\n")
    };
    let config = format!(
        "compatible = \"{COMPATIBLE}\"\nreference = \"docker://registry.example/acme:1\"\n{}{}\
         [bootloader]\nkind = \"{loader}\"\n{environment}\n",
        slot("a"),
        slot("b")
    );
    put(stage, "usr/lib/gybe/config.toml", config.as_bytes(), 0o644);
    let trust = "threshold = 1\n[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";
    put(stage, "usr/lib/gybe/trust.toml", trust.as_bytes(), 0o644);
    let key = fs::read(bench.public_key("release")).unwrap();
    put(stage, "usr/lib/gybe/release.pub", &key, 0o644);
    put(stage, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644);
    put(stage, "etc/group", b"root:x:0:\nwheel:x:10:root\n", 0o644);
    put(stage, "etc/shadow", b"root:*:20000:0:99999:7:::\n", 0o640);
    put(stage, "etc/gshadow", b"root:*::\nwheel:*::root\n", 0o640);
    put(stage, "bin/sh", b"#!", 0o755);
}

/// Writes a file of an image.
pub(crate) fn put(stage: &Path, path: &str, content: &[u8], mode: u32) {
    let path = stage.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The command that makes a disk out of the release in the layout `release`.
pub(crate) fn command(bench: &Bench, release: &str, output: &str) -> Command {
    let mut disk = bench.program("gybe-publish");
    disk.env_remove("GYBE_GRUB").env_remove("SOURCE_DATE_EPOCH");
    disk.arg("disk").arg(bench.source(release)).arg("--json");
    disk.arg("--key").arg(bench.public_key("release"));
    disk.arg("--output").arg(bench.path(output));
    disk
}

/// A disk that was made.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) report: Value,
}

impl Disk {
    pub(crate) fn make(bench: &Bench, release: &str, output: &str, more: &[&str]) -> Self {
        let said = succeed(command(bench, release, output).args(more));
        let report = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        Self { path: bench.path(output), report }
    }

    /// What the report says of a partition.
    pub(crate) fn partition(&self, name: &str) -> &Value {
        let mut all = self.report["partitions"].as_array().unwrap().iter();
        all.find(|partition| partition["name"] == name).unwrap()
    }

    pub(crate) fn guid(&self, name: &str) -> &str {
        self.partition(name)["guid"].as_str().unwrap()
    }

    pub(crate) fn place(&self, name: &str) -> (u64, u64) {
        let number = |key: &str| self.partition(name)[key].as_u64().unwrap();
        (number("start"), number("bytes"))
    }

    /// Writes a partition to a file of its own.
    pub(crate) fn cut(&self, name: &str, to: &Path) {
        let (start, len) = self.place(name);
        let (from, to) = (File::open(&self.path).unwrap(), File::create(to).unwrap());
        to.set_len(len).unwrap();
        let mut piece = vec![0; 1 << 20];
        for at in (0..len).step_by(piece.len()) {
            from.read_exact_at(&mut piece, start + at).unwrap();
            for (block, at) in piece.chunks(BLOCK_LEN).zip((at..).step_by(BLOCK_LEN)) {
                if block.iter().any(|byte| *byte != 0) {
                    to.write_all_at(block, at).unwrap();
                }
            }
        }
    }

    /// Puts what is in slot A into slot B as well.
    pub(crate) fn fill_b(&self) {
        let to = fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        for name in ["boot", "root"] {
            let part = self.path.with_extension("part");
            self.cut(&format!("{name}_a"), &part);
            let (start, _) = self.place(&format!("{name}_b"));
            for (block, at) in
                fs::read(part).unwrap().chunks(BLOCK_LEN).zip((start..).step_by(BLOCK_LEN))
            {
                if block.iter().any(|byte| *byte != 0) {
                    to.write_all_at(block, at).unwrap();
                }
            }
        }
    }

    /// The place on the disk where a partition has these bytes first.
    pub(crate) fn find(&self, name: &str, bytes: &[u8]) -> u64 {
        let (start, _) = self.place(name);
        let mut part = vec![0; 64 << 20];
        let len = File::open(&self.path).unwrap().read_at(&mut part, start).unwrap();
        let found = part[..len].windows(bytes.len()).position(|found| found == bytes).unwrap();
        start + u64::try_from(found).unwrap()
    }

    /// Changes a bit at byte `at` of a partition.
    pub(crate) fn damage(&self, name: &str, at: u64) {
        let file = fs::OpenOptions::new().read(true).write(true).open(&self.path).unwrap();
        let (at, mut byte) = (self.place(name).0 + at, [0]);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    /// Makes the first block of a partition zeros.
    pub(crate) fn lose(&self, name: &str) {
        let file = fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all_at(&[0; BLOCK_LEN], self.place(name).0).unwrap();
    }
}
