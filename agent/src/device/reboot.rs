//! Starting the machine anew.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::process::Command;

use nix::sys::reboot::{RebootMode, reboot as reboot_now};
use nix::unistd::sync;
use tracing::{info, warn};

use crate::root::Root;
use crate::signals;

/// What shows that systemd runs the system; see `sd_booted(3)`.
const SYSTEMD: &str = "/run/systemd/system";

/// What came of asking for a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// It will come.
    Comes,
    /// It does not: below a folder nothing reboots.
    BelowFolder,
}

/// Reboots through systemd where it runs, so that services are stopped and inhibitors asked; else, and
/// where systemd does not answer, at once.
///
/// # Errors
/// What the system says.
pub fn reboot(root: &Root) -> io::Result<Reboot> {
    if !root.is_host() {
        info!("below a folder nothing reboots");
        return Ok(Reboot::BelowFolder);
    }
    if Path::new(SYSTEMD).exists() {
        match Command::new("systemctl").arg("reboot").status() {
            Ok(status) if status.success() => return Ok(Reboot::Comes),
            Ok(status) => warn!(%status, "systemctl reboot does not, so the kernel does"),
            Err(cause) => warn!(%cause, "systemctl cannot be run, so the kernel reboots"),
        }
    }
    now()
}

/// Reboots as [`reboot`] does, but not against systemd's will: whoever nobody asked to reboot waits.
///
/// # Errors
/// What the system says, or that systemd does not want to.
pub fn reboot_if_willing(root: &Root) -> io::Result<Reboot> {
    if !root.is_host() || !Path::new(SYSTEMD).exists() {
        return reboot(root);
    }
    let status = signals::spawn(Command::new("systemctl").arg("reboot"))?.wait()?;
    if status.success() {
        Ok(Reboot::Comes)
    } else {
        Err(io::Error::other(format!("systemctl reboot: {status}")))
    }
}

fn now() -> io::Result<Reboot> {
    // What was to last was synced when it was written; this is for everybody else.
    sync();
    match reboot_now(RebootMode::RB_AUTOBOOT) {
        Ok(never) => {
            let never: Infallible = never;
            match never {}
        }
        Err(cause) => Err(cause.into()),
    }
}
