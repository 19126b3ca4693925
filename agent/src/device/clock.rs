//! Whether the clock can be trusted, and what it says.
//!
//! Nothing that decides who is trusted asks it. Only a release that says when it expires does, and
//! where the clock cannot be trusted such a release does not expire.

#![allow(unsafe_code, reason = "nix has no adjtimex")]

use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc;

use crate::root::Root;

/// What systemd-timesyncd makes when it has set the clock.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// The time in Unix seconds, if the clock was set by someone who knows it, and is not behind
/// `newest_s`, a time at which something was signed that is believed.
#[must_use]
pub fn trusted_now(root: &Root, newest_s: u64) -> Option<u64> {
    let is_set = root.path(SYNCHRONIZED).exists() || root.is_host() && kernel_is_synchronized();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    (is_set && now >= newest_s).then_some(now)
}

/// Whether the kernel was told that its clock is in step with another.
fn kernel_is_synchronized() -> bool {
    // SAFETY: timex is made of integers, for which zeros are values. Modes of 0 ask and set nothing.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a timex of ours that lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    state != -1 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_trusted_when_it_was_set_and_is_not_behind() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert_eq!(trusted_now(&root, 0), None);
        let file = root.path(SYNCHRONIZED);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
        let now = trusted_now(&root, 0).unwrap();
        assert!(now > 1_700_000_000);
        assert_eq!(trusted_now(&root, now + 3600), None);
    }
}
