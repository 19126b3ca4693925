//! Which boot this is: an id, and when.
//!
//! Source: `Documentation/admin-guide/sysctl/kernel.rst` of Linux (`random/boot_id`), read 2026-11.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::root::Root;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const UPTIME: &str = "/proc/uptime";
/// Digits of a boot id.
const ID_LEN: usize = 32;

/// One start of the machine, and how long ago it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThisBoot {
    /// What the kernel calls it, 32 hexadecimal digits; `None` where nothing says so.
    pub id: Option<String>,
    /// Seconds since the kernel started.
    pub uptime_s: u64,
    /// Seconds since 1970, as far as the clock can be believed.
    pub time: Option<u64>,
}

impl ThisBoot {
    /// This boot of the machine whose `/proc` lies below `root`.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let text = |path| fs::read_to_string(root.path(path)).ok();
        let id = text(BOOT_ID).map(|id| id.trim().replace('-', "").to_ascii_lowercase());
        let whole = |id: &String| {
            id.len() == ID_LEN && id.bytes().all(|digit: u8| digit.is_ascii_hexdigit())
        };
        let uptime = text(UPTIME).and_then(|text| text.split('.').next()?.trim().parse().ok());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs());
        Self { id: id.filter(whole), uptime_s: uptime.unwrap_or(0), time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_an_id_or_none_but_no_half_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert_eq!(ThisBoot::read(&root).id, None);
        fs::create_dir_all(folder.path().join("proc/sys/kernel/random")).unwrap();
        for (text, id) in [
            ("0C0E6EA2-72d7-4d4b-a2c5-6f5a3c1b0d9e\n", Some("0c0e6ea272d74d4ba2c56f5a3c1b0d9e")),
            ("0c0e6ea2\n", None),
            ("", None),
        ] {
            fs::write(root.path(BOOT_ID), text).unwrap();
            assert_eq!(ThisBoot::read(&root).id.as_deref(), id);
        }
        fs::write(root.path(UPTIME), "4711.08 99.1\n").unwrap();
        assert_eq!(ThisBoot::read(&root).uptime_s, 4711);
        assert!(ThisBoot::read(&Root::host()).id.is_some());
    }
}
