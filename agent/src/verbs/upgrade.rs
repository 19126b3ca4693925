//! `gybe upgrade`: what the tracked reference offers, if it is newer.

use serde::Serialize;

use super::bring::{Arm, Asked, Order, bring};
use super::{check, report};
use crate::cli::{Exit, Report, Upgrade};
use crate::error::Error;
use crate::output;
use crate::release::Offer;
use crate::rollout;
use crate::root::Root;
use crate::session::Session;
use crate::update::{self, Candidate, Decision, Failures};

#[derive(Serialize)]
struct Nothing {
    version: u8,
    reference: String,
    available: bool,
    why: String,
}

pub(super) fn run(root: &Root, asked: &Upgrade) -> Result<Exit, Error> {
    if asked.automatic.automatic {
        return super::run::automatic(root, &asked.automatic);
    }
    let failures = if asked.retry_failed { Failures::Retry } else { Failures::Respect };
    if asked.check {
        return check::run(root, asked.report, failures);
    }
    let (mut session, mut memory) = Session::begin(root)?;
    let reference = update::reference(&session, memory.state())?;
    let mut offer = Offer::open(&session.sources(asked.max_bytes), &reference)?;
    let candidate = Candidate::read(&session, &offer)?;
    match update::decide(&session, memory.state(), &candidate, failures) {
        Decision::Update => {}
        Decision::Armed { slot } => {
            nothing(reference, format!("it is armed in slot {slot} already"), asked.report);
            if asked.apply {
                session.reboot()?;
            }
            return Ok(Exit::RebootNeeded);
        }
        Decision::None(why) => {
            nothing(reference, why.to_string(), asked.report);
            return Ok(Exit::Done);
        }
    }
    if let Some(why) = rollout::why_not(&session, &offer) {
        // A person may be ahead of a rollout, and should know it.
        output::talk(format_args!("taken by hand, although {why}"));
    }
    let who = if asked.retry_failed { Asked::ByHand } else { Asked::Automatically };
    let arm = if asked.download_only { Arm::Later } else { Arm::Now };
    let order = Order { slot: None, arm, asked: who, progress: asked.progress };
    let brought = bring(&mut session, &mut memory, &mut offer, order)?;
    report::brought(&brought, asked.report);
    if !brought.armed {
        return Ok(Exit::Done);
    }
    if asked.apply {
        session.reboot()?;
    }
    Ok(Exit::RebootNeeded)
}

fn nothing(reference: String, why: String, report: Report) {
    if report.json {
        output::json(&Nothing { version: 1, reference, available: false, why });
    } else {
        output::data(format_args!("No update available: {why}"));
    }
}
