//! What earlier boots left behind: the kernel's last words in pstore, and the watchdog's.
//!
//! Source: `Documentation/admin-guide/ramoops.rst` and `watchdog/watchdog-api.rst` of Linux, and
//! `systemd-pstore.service(8)`, which moves what it finds to a folder of its own; read 2026-11.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use gybe_core::digest::Digest;

use super::{CRASHES_MAX, KERNEL_LEN_MAX, Tail};
use crate::root::Root;

/// Where the kernel shows it, and where systemd moves it.
const FOLDERS: [&str; 2] = ["/sys/fs/pstore", "/var/lib/systemd/pstore"];
/// systemd makes a folder for each crash, and one more for each record of some machines.
const DEPTH_MAX: u8 = 2;
/// How many entries of a folder are looked at.
const ENTRIES_MAX: usize = 256;
/// Longest record that is read.
const RECORD_LEN_MAX: u64 = 256 * 1024;
/// What tells a panic from other records.
const PANIC: [&str; 2] = ["Panic#", "Kernel panic - not syncing"];
/// What the last part of a panic begins with: the kernel counts from the end.
const LAST_PART: &str = "Part1\n";
/// Hexadecimal digits that tell one crash from another.
const ID_LEN: usize = 16;

const WATCHDOGS: &str = "/sys/class/watchdog";
/// `WDIOF_CARDRESET`: the machine was last reset by the watchdog.
const CARD_RESET: u32 = 0x20;

/// A panic of an earlier boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Follows from its content: moving it does not make it another.
    pub id: String,
    /// The end of what the kernel said.
    pub text: String,
}

/// The panics that are known below `root`, the most telling first.
#[must_use]
pub fn crashes(root: &Root) -> Vec<Crash> {
    let mut records = Vec::new();
    for folder in FOLDERS {
        find(&root.path(folder), DEPTH_MAX, &mut records);
    }
    let mut found: Vec<(bool, Crash)> = Vec::new();
    for path in records.into_iter().take(CRASHES_MAX) {
        let mut bytes = Vec::new();
        let read = fs::File::open(&path)
            .and_then(|file| file.take(RECORD_LEN_MAX).read_to_end(&mut bytes));
        let text = String::from_utf8_lossy(&bytes);
        if read.is_err() || !PANIC.iter().any(|sign| text.contains(sign)) {
            continue;
        }
        let id: String = Digest::of(&bytes).hex().to_string().chars().take(ID_LEN).collect();
        let mut tail = Tail::new(KERNEL_LEN_MAX);
        tail.push(&bytes);
        if found.iter().all(|(_, crash)| crash.id != id) {
            found.push((!text.contains(LAST_PART), Crash { id, text: tail.text() }));
        }
    }
    found.sort_by_key(|(is_early_part, _)| *is_early_part);
    found.into_iter().map(|(_, crash)| crash).collect()
}

fn find(folder: &Path, depth: u8, records: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> =
        entries.take(ENTRIES_MAX).filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let is_log =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"dmesg"));
        if path.is_dir() && depth > 0 {
            find(&path, depth.saturating_sub(1), records);
        } else if is_log && path.is_file() {
            records.push(path);
        }
    }
}

/// Whether a watchdog below `root` says that it reset the machine. Not every driver can tell.
#[must_use]
pub fn watchdog_reset(root: &Root) -> bool {
    let Ok(entries) = fs::read_dir(root.path(WATCHDOGS)) else { return false };
    entries.take(ENTRIES_MAX).filter_map(Result::ok).any(|entry| {
        let status = fs::read_to_string(entry.path().join("bootstatus")).ok();
        let status = status.and_then(|text| text.trim().parse::<u32>().ok());
        status.is_some_and(|status| status & CARD_RESET != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Root, path: &str, text: &str) {
        let path = root.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_panic_is_found_where_the_kernel_or_systemd_has_it_and_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert_eq!(crashes(&root), []);
        let last = "Panic#1 Part1\n<0>[    9.1] Kernel panic - not syncing: sysrq\n";
        put(&root, "/sys/fs/pstore/dmesg-ramoops-1", "Panic#1 Part2\n<6>[    1.0] earlier\n");
        put(&root, "/sys/fs/pstore/dmesg-ramoops-0", last);
        put(&root, "/sys/fs/pstore/dmesg-ramoops-2", "Oops#1 Part1\n<4> went on\n");
        put(&root, "/sys/fs/pstore/console-ramoops-0", "Panic#1\n");
        put(&root, "/var/lib/systemd/pstore/1700000000/000/dmesg.txt", last);
        let found = crashes(&root);
        assert_eq!(found.len(), 2);
        assert!(found[0].text.ends_with("not syncing: sysrq"), "{found:?}");
        assert!(found[0].id != found[1].id && found[0].id.len() == ID_LEN);
    }

    #[test]
    fn only_a_reset_by_the_watchdog_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert!(!watchdog_reset(&root));
        for (status, expected) in [("0\n", false), ("32\n", true), ("33\n", true), ("x", false)] {
            put(&root, "/sys/class/watchdog/watchdog0/bootstatus", status);
            assert_eq!(watchdog_reset(&root), expected, "{status:?}");
        }
    }
}
