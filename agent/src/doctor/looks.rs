//! Whether anybody looks for releases, and what would keep one from being taken.

use std::fs;

use super::Findings;
use super::system::ENABLED;
use crate::config::Config;
use crate::config::pull::{Clock, Download, RebootPolicy};
use crate::device::clock;
use crate::root::Root;
use crate::seed;
use crate::state;

const DAEMON: &str = "multi-user.target.wants/gybe.service";
const TIMER: &str = "timers.target.wants/gybe-upgrade.timer";
const WHAT: &str = "looks";

pub(super) fn look(root: &Root, config: &Config, findings: &mut Findings) {
    let is_enabled = |unit: &str| {
        ENABLED.iter().any(|folder| fs::symlink_metadata(root.path(folder).join(unit)).is_ok())
    };
    let who = match (is_enabled(DAEMON), is_enabled(TIMER)) {
        (true, true) => {
            let todo = "disable one of them: each would stop the other";
            findings.warn(WHAT, "gybe.service and gybe-upgrade.timer are enabled", todo);
            return;
        }
        (true, false) => "gybe.service",
        (false, true) => "gybe-upgrade.timer",
        // A device that is updated by hand or from sticks lacks nothing.
        (false, false) => {
            findings.ok(WHAT, "nobody looks: releases are installed by hand");
            return;
        }
    };
    let tracked = state::read_if_possible(root).reference.or_else(|| config.reference.clone());
    let Some(reference) = tracked else {
        let todo = "set reference in config.toml, or run gybe switch REF once";
        findings.warn(WHAT, format!("{who} has no reference to look at"), todo);
        return;
    };
    findings.ok(WHAT, format!("{who} looks at {reference}"));
    let pull = &config.pull;
    if seed::seed(root, pull).is_none() {
        let todo = "let the system have a machine id, or set pull.seed";
        findings.warn("rollout", "without a machine id this device comes last in each", todo);
    }
    let waits = pull.reboot == RebootPolicy::Window || pull.download == Download::Window;
    if waits && pull.windows.is_empty() {
        let todo = "set pull.windows";
        findings.warn("windows", "there is none, so that one is always open", todo);
    } else if waits && pull.clock == Clock::Synchronised && clock::synchronised(root).is_none() {
        let todo = "let something set the clock, or set pull.clock = \"rtc\" if a battery keeps it";
        findings.warn("windows", "the clock is not synchronised, so that none opens", todo);
    }
}
