//! `gybe health`: is the system healthy, and what follows.

use tracing::warn;

use crate::cli::{Exit, Health};
use crate::error::Error;
use crate::health::{self, guard};
use crate::output;
use crate::root::Root;
use crate::transitions;

pub(super) fn run(root: &Root, asked: &Health) -> Result<Exit, Error> {
    if asked.guard || asked.give_up {
        let ended = if asked.guard { guard::guard(root)? } else { guard::give_up(root)? };
        if ended {
            output::talk("the trial is given up");
        }
        return Ok(Exit::Done);
    }
    let report = health::check(root)?;
    // Not within the check: nobody feeds the watchdog of a trial while a hook runs. A machine that is
    // about to reboot tells it afterwards.
    if !report.reboot
        && let Err(cause) = transitions::notice_below(root)
    {
        warn!(%cause, "what happened is told later");
    }
    if asked.report.json {
        output::json(&report);
    } else {
        output::data(&report);
    }
    Ok(if report.healthy { Exit::Done } else { Exit::Failed })
}
