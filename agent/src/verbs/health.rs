//! `gybe health`: is the system healthy, and what follows.

use crate::cli::{Exit, Health};
use crate::error::Error;
use crate::health::{self, guard};
use crate::output;
use crate::root::Root;

pub(super) fn run(root: &Root, asked: &Health) -> Result<Exit, Error> {
    if asked.guard || asked.give_up {
        let ended = if asked.guard { guard::guard(root)? } else { guard::give_up(root)? };
        if ended {
            output::talk("the trial is given up");
        }
        return Ok(Exit::Done);
    }
    let report = health::check(root)?;
    if asked.report.json {
        output::json(&report);
    } else {
        output::data(&report);
    }
    Ok(if report.healthy { Exit::Done } else { Exit::Failed })
}
