//! `gybe switch`: another reference is tracked from now on.

use std::path::absolute;
use std::str::FromStr as _;

use gybe_oci::Reference;
use serde::Serialize;
use tracing::info;

use super::bring::{Arm, Asked, Order, bring};
use super::report;
use crate::cli::{Exit, Switch};
use crate::error::Error;
use crate::output;
use crate::release::{Offer, OfferError};
use crate::root::Root;
use crate::session::Session;
use crate::update::Candidate;

#[derive(Serialize)]
struct Switched {
    version: u8,
    reference: String,
    changed: bool,
}

pub(super) fn run(root: &Root, asked: &Switch) -> Result<Exit, Error> {
    let (mut session, mut memory) = Session::begin(root)?;
    session.slots.inactive(None)?;
    let reference = anywhere(&asked.reference)?;
    let mut offer = Offer::open(&session.sources(asked.max_bytes), &reference)?;
    // What is not for this device is not tracked.
    let candidate = Candidate::read(&session, &offer)?;
    memory.insist(|state| state.reference = Some(reference.clone()))?;
    info!(%reference, "tracked from now on");
    let runs = session.held_running().is_some_and(|held| held.name == candidate.name);
    if runs {
        if asked.report.json {
            output::json(&Switched { version: 1, reference, changed: false });
        } else {
            output::data(format_args!("{reference} is tracked, and running already"));
        }
        return Ok(Exit::Done);
    }
    let order = Order { slot: None, arm: Arm::Now, asked: Asked::ByHand, progress: asked.progress };
    let brought = bring(&mut session, &mut memory, &mut offer, order)?;
    report::brought(&brought, asked.report);
    if asked.apply {
        session.reboot()?;
    }
    Ok(Exit::RebootNeeded)
}

/// The reference, so that it means the same wherever the next command is started.
fn anywhere(reference: &str) -> Result<String, Error> {
    let mut parsed = Reference::from_str(reference).map_err(OfferError::from)?;
    if let Reference::Layout(layout) = &mut parsed
        && let Ok(path) = absolute(&layout.path)
    {
        layout.path = path;
    }
    Ok(parsed.to_string())
}
