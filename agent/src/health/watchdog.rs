//! The hardware watchdog: armed while a trial is checked, fed while it makes progress.
//!
//! ```text
//! open ──▶ feed, feed, … ──▶ stand_down    committed: the device is closed with a V
//!                        └─▶ leave         failed: it stays armed over the reboot, with more time
//! ```
//!
//! A program that ends in any other way leaves it armed and unfed, and the machine is reset. A power
//! cut ends it with everything else. Where systemd holds the device (`RuntimeWatchdogSec=`) it minds
//! that the system goes on, and the deadline minds that the trial does.
//!
//! Source: `Documentation/watchdog/watchdog-api.rst` of Linux, read 2026-11.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use nix::errno::Errno;
use nix::libc::{O_CLOEXEC, c_int};
use tracing::{info, warn};

use crate::config::health::{self, Health, WATCHDOG_DEFAULT};
use crate::root::Root;

/// What must be written last, so that closing the device stops it.
const MAGIC_CLOSE: &[u8] = b"V";
/// Any other byte feeds it.
const FOOD: &[u8] = b"\0";
/// How much longer it waits over a reboot: services may take their 90 s to stop.
const REBOOT_TIMEOUT_S: u32 = 180;
/// It is fed this many times in each of its timeouts.
const FEEDS: u32 = 4;

/// A watchdog that bites unless it is fed.
#[derive(Debug)]
pub struct Watchdog {
    file: File,
    path: PathBuf,
    /// How often it is fed at most.
    every: Duration,
    fed: Instant,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWatchdog {
    /// The configuration wants none.
    Unwanted,
    /// There is no such device.
    Absent(PathBuf),
    /// Another program, systemd most likely, feeds it.
    Held(PathBuf),
    /// Nothing could stop it after the trial: systemd must feed it for good.
    NoWayOut(PathBuf),
    /// The device cannot be used.
    Unusable(PathBuf, String),
}

impl fmt::Display for NoWatchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwanted => f.write_str("none, as configured"),
            Self::Absent(path) => write!(f, "none: {} does not exist", path.display()),
            Self::Held(path) => write!(f, "{} is fed by another program", path.display()),
            Self::NoWayOut(path) => write!(
                f,
                "none: {} cannot be stopped once it runs (nowayout); let systemd feed it with \
                 RuntimeWatchdogSec=",
                path.display()
            ),
            Self::Unusable(path, cause) => write!(f, "none: {}: {cause}", path.display()),
        }
    }
}

impl Watchdog {
    /// Arms the watchdog that the configuration names.
    ///
    /// # Errors
    /// Why it is not armed.
    pub fn arm(root: &Root, health: &Health) -> Result<Self, NoWatchdog> {
        let path = match &health.watchdog {
            health::Watchdog::None => return Err(NoWatchdog::Unwanted),
            health::Watchdog::At(path) => root.path(path),
            health::Watchdog::IfThere => root.path(WATCHDOG_DEFAULT),
        };
        if has_no_way_out(root, &path) {
            return Err(NoWatchdog::NoWayOut(path));
        }
        let file = match OpenOptions::new().write(true).custom_flags(O_CLOEXEC).open(&path) {
            Ok(file) => file,
            Err(cause) => {
                return Err(match cause.kind() {
                    io::ErrorKind::NotFound => NoWatchdog::Absent(path),
                    io::ErrorKind::ResourceBusy => NoWatchdog::Held(path),
                    _ => NoWatchdog::Unusable(path, cause.to_string()),
                });
            }
        };
        let timeout_s = set_timeout(&file, health.watchdog_timeout_s).unwrap_or_else(|cause| {
            warn!(watchdog = %path.display(), %cause, "keeps the timeout it has");
            health.watchdog_timeout_s
        });
        info!(watchdog = %path.display(), timeout_s, "watchdog armed");
        let every = Duration::from_secs(timeout_s.into()) / FEEDS;
        let mut watchdog = Self { file, path, every, fed: Instant::now() };
        watchdog.eat();
        Ok(watchdog)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// How long one may wait before the next [`feed`](Self::feed).
    #[must_use]
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Feeds it, if it is time.
    pub fn feed(&mut self) {
        if self.fed.elapsed() >= self.every {
            self.eat();
        }
    }

    /// Stops it: the trial is over, and the system runs on.
    pub fn stand_down(mut self) {
        if let Err(cause) = self.file.write_all(MAGIC_CLOSE) {
            warn!(watchdog = %self.path.display(), %cause, "cannot be stopped and will bite");
        }
    }

    /// Leaves it armed over a reboot that was asked for, so that one which hangs ends too.
    pub fn leave(mut self) {
        self.eat();
        if let Err(cause) = set_timeout(&self.file, REBOOT_TIMEOUT_S) {
            warn!(watchdog = %self.path.display(), %cause, "keeps its timeout over the reboot");
        }
    }

    fn eat(&mut self) {
        match self.file.write_all(FOOD) {
            Ok(()) => self.fed = Instant::now(),
            // It will bite, which is what it is for when nobody can reach it.
            Err(cause) => warn!(watchdog = %self.path.display(), %cause, "cannot be fed"),
        }
    }
}

/// Whether the driver refuses to stop it.
fn has_no_way_out(root: &Root, path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let file = root.path("/sys/class/watchdog").join(name).join("nowayout");
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
}

/// Sets the timeout and gives what the driver made of it.
#[expect(unsafe_code, reason = "nix has no call of its own for this request")]
fn set_timeout(file: &File, seconds: u32) -> Result<u32, Errno> {
    mod request {
        // WDIOC_SETTIMEOUT, include/uapi/linux/watchdog.h: _IOWR('W', 6, int).
        nix::ioctl_readwrite!(set_timeout, b'W', 6, nix::libc::c_int);
    }
    let mut timeout = c_int::try_from(seconds).unwrap_or(c_int::MAX);
    // SAFETY: the descriptor is open as long as `file` is borrowed. The request reads and writes one
    // int, and `timeout` is one that nobody else refers to until the call returns. Any descriptor may
    // be asked: what is no watchdog answers ENOTTY.
    unsafe { request::set_timeout(file.as_raw_fd(), &raw mut timeout) }?;
    Ok(u32::try_from(timeout).unwrap_or(seconds).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTH: Health = Health {
        deadline_s: 10,
        no_checks: health::NoChecks::Unhealthy,
        watchdog: health::Watchdog::IfThere,
        watchdog_timeout_s: 5,
    };

    fn device() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dev")).unwrap();
        let root = Root::below(folder.path().to_owned());
        (folder, root)
    }

    #[test]
    fn only_one_that_stands_down_is_closed_with_the_magic_byte() {
        let (folder, root) = device();
        let file = folder.path().join("dev/watchdog0");
        for (end, expected) in [
            (Watchdog::stand_down as fn(Watchdog), &b"\0V"[..]),
            (Watchdog::leave, b"\0\0"),
            (drop::<Watchdog>, b"\0"),
        ] {
            fs::write(&file, "").unwrap();
            let mut watchdog = Watchdog::arm(&root, &HEALTH).unwrap();
            watchdog.feed();
            end(watchdog);
            assert_eq!(fs::read(&file).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_armed_says_why() {
        let (folder, root) = device();
        let path = root.path("/dev/watchdog0");
        let why = |health: &Health| Watchdog::arm(&root, health).unwrap_err();
        assert_eq!(why(&HEALTH), NoWatchdog::Absent(path.clone()));
        let none = Health { watchdog: health::Watchdog::None, ..HEALTH };
        assert_eq!(why(&none), NoWatchdog::Unwanted);
        fs::create_dir(&path).unwrap();
        assert!(matches!(why(&HEALTH), NoWatchdog::Unusable(..)));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        fs::create_dir_all(folder.path().join("sys/class/watchdog/watchdog0")).unwrap();
        fs::write(root.path("/sys/class/watchdog/watchdog0/nowayout"), "1\n").unwrap();
        assert_eq!(why(&HEALTH), NoWatchdog::NoWayOut(path.clone()));
        assert_eq!(fs::read(&path).unwrap(), b"", "it was not touched");
    }
}
