//! What time it is, and whether that can be believed.
//!
//! A clock that somebody synchronised in this boot can be: the kernel knows (`STA_UNSYNC` of
//! `adjtimex`), which chrony, ntpd and systemd-timesyncd tell it, and systemd-timesyncd also leaves a
//! file. One that only came from a battery, or from 1970, cannot. Trust never asks; see the crate's
//! core. What may ask are windows, rollouts that begin, and statements that expire.
//!
//! Source: `adjtimex(2)`, `systemd-timesyncd.service(8)`, read 2026-11.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::root::Root;

/// What systemd-timesyncd touches once it has synchronised, in this boot.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Seconds since 1970, as this machine has it.
#[must_use]
pub fn now() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs())
}

/// Seconds since 1970, if the clock was synchronised in this boot. Below a folder the file says so.
#[must_use]
pub fn synchronised(root: &Root) -> Option<u64> {
    let is_synchronised = root.path(SYNCHRONISED).exists() || (root.is_host() && kernel_says_so());
    now().filter(|_| is_synchronised)
}

/// Whether the kernel was told that its clock is right.
#[expect(unsafe_code, reason = "nix has no call of its own for adjtimex")]
fn kernel_says_so() -> bool {
    // SAFETY: every field of `timex` is an integer or an array of integers, for which all zeros are a
    // value.
    let mut timex: nix::libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes one `timex`, and `timex` is one that nobody else refers to until it
    // returns. With `modes` of 0 it changes nothing and needs no privilege.
    let state = unsafe { nix::libc::adjtimex(&raw mut timex) };
    state >= 0 && state != nix::libc::TIME_ERROR && timex.status & nix::libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn below_a_folder_the_file_decides() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert_eq!(synchronised(&root), None);
        let file = root.path(SYNCHRONISED);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
        assert!(synchronised(&root).is_some_and(|time| time > 1_700_000_000));
    }
}
