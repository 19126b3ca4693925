//! What userspace must have: units that are enabled, checks, a place to remember.

use std::fs;

use super::Findings;
use crate::config::Config;
use crate::config::health::{NoChecks, WATCHDOG_DEFAULT, Watchdog};
use crate::health::conf::Conf;
use crate::health::scripts::{self, Kind};
use crate::initramfs::{AMBIGUOUS, STATE_LOST};
use crate::root::Root;
use crate::state::FILE as STATE;

/// Where units are enabled, the image's own way last.
pub(super) const ENABLED: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];
const GREENBOOT: &str = "/usr/lib/systemd/system/greenboot-healthcheck.service";
const DROP_IN: &str = "/usr/lib/systemd/system/greenboot-healthcheck.service.d/50-gybe.conf";

pub(super) fn look(root: &Root, config: &Config, findings: &mut Findings) {
    units(root, findings);
    checks(root, config, findings);
    watchdog(root, config, findings);
    state(root, findings);
}

fn units(root: &Root, findings: &mut Findings) {
    if !ENABLED.iter().any(|folder| root.path(folder).is_dir()) {
        findings.warn(
            "health unit",
            "there is no systemd",
            "run gybe health once in each boot, and gybe health --guard beside it",
        );
        return;
    }
    let is_enabled = |unit: &str, wants: &[&str]| {
        let at = |folder: &&str, wants: &&str| {
            fs::symlink_metadata(root.path(folder).join(wants).join(unit)).is_ok()
        };
        ENABLED.iter().any(|folder| wants.iter().any(|wants| at(folder, wants)))
    };
    if root.path(GREENBOOT).exists() {
        let wants = ["boot-complete.target.requires", "multi-user.target.wants"];
        if !root.path(DROP_IN).exists() {
            let todo = "install the drop-in 50-gybe.conf, and mask the units that it replaces";
            findings.fail("health unit", "greenboot would end trials in its own way", todo);
        } else if is_enabled("greenboot-healthcheck.service", &wants) {
            findings.ok("health unit", "greenboot-healthcheck.service runs gybe health");
        } else {
            let todo = "systemctl enable greenboot-healthcheck.service";
            findings.fail("health unit", "nothing runs gybe health", todo);
        }
    } else if is_enabled("gybe-health.service", &["basic.target.wants", "multi-user.target.wants"])
    {
        findings.ok("health unit", "gybe-health.service is enabled");
    } else if is_enabled("gybe-health.service", &["boot-complete.target.requires"]) {
        let todo = "systemctl reenable gybe-health.service";
        findings.warn(
            "health unit",
            "started only where something wants boot-complete.target",
            todo,
        );
    } else {
        let todo = "systemctl enable gybe-health.service";
        findings.fail("health unit", "nothing runs gybe health, so no trial is kept", todo);
    }
    if is_enabled("gybe-trial-deadline.service", &["sysinit.target.wants"]) {
        findings.ok("deadline", "gybe-trial-deadline.service is enabled");
    } else {
        findings.warn(
            "deadline",
            "a trial in which gybe health is never started does not end",
            "systemctl enable gybe-trial-deadline.service",
        );
    }
}

fn checks(root: &Root, config: &Config, findings: &mut Findings) {
    let required = scripts::find(root, Kind::Required, &Conf::read(root));
    let count = required.scripts.iter().filter(|script| !script.is_disabled).count();
    match (required.has_folder, config.health.no_checks) {
        (false, NoChecks::Unhealthy) => findings.fail(
            "checks",
            "there is no check/required.d, so every system is unhealthy",
            "put checks below /usr/lib/greenboot, or set health.no_checks = \"healthy\"",
        ),
        _ if count == 0 => findings.warn(
            "checks",
            "nothing is required, so whatever boots is kept",
            "put checks below /usr/lib/greenboot/check/required.d",
        ),
        _ => findings.ok("checks", format!("{count} required")),
    }
}

fn watchdog(root: &Root, config: &Config, findings: &mut Findings) {
    let what = "watchdog";
    let path = match &config.health.watchdog {
        Watchdog::None => {
            let todo = "set health.watchdog, where the board has one";
            findings.warn(what, "none, as configured, so a hang is not ended", todo);
            return;
        }
        Watchdog::At(path) => path.clone(),
        Watchdog::IfThere => WATCHDOG_DEFAULT.into(),
    };
    let name = path.file_name().unwrap_or_default().to_owned();
    if !root.path(&path).exists() {
        let todo = "load its driver, or name it in health.watchdog";
        findings.warn(what, format!("no {}, so a hang is not ended", path.display()), todo);
        return;
    }
    let attribute = |attribute: &str| {
        let file = root.path("/sys/class/watchdog").join(&name).join(attribute);
        fs::read_to_string(file).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let identity = attribute("identity");
    let shown = format!("{} {identity}", path.display());
    let shown = shown.trim_end();
    if attribute("nowayout") == "1" && attribute("state") != "active" {
        let todo = "set RuntimeWatchdogSec= in systemd's configuration, which then feeds it";
        findings.warn(what, format!("{shown} cannot be stopped, so it is not armed"), todo);
    } else {
        findings.ok(what, shown);
    }
}

fn state(root: &Root, findings: &mut Findings) {
    for (file, found, todo) in [
        (
            STATE_LOST,
            "the state partition is lost",
            "make it anew: mkfs.ext4 on the partition state, then reboot",
        ),
        (AMBIGUOUS, "several disks could be this device's", "remove the others"),
    ] {
        if let Ok(why) = fs::read_to_string(root.path(file)) {
            let why: Vec<_> = why.split_whitespace().collect();
            findings.fail("state", format!("{found}: {}", why.join(" ")), todo);
        }
    }
    let path = root.path(STATE);
    let opened = fs::OpenOptions::new().read(true).write(true).open(&path);
    match opened {
        Ok(_) => findings.ok("state", format!("{STATE} is writable")),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            findings.ok("state", format!("{STATE} will be made by the first update"));
        }
        Err(cause) => findings.fail(
            "state",
            format!("{STATE}: {cause}"),
            "mount the state partition at /var, writable",
        ),
    }
}
