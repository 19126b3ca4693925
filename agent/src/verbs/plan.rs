//! `gybe plan`: what an install would cost, without doing it.

use super::bring::job;
use super::report;
use crate::cli::{Exit, Plan};
use crate::error::Error;
use crate::install;
use crate::release::Offer;
use crate::root::Root;
use crate::session::Session;

pub(super) fn run(root: &Root, asked: &Plan) -> Result<Exit, Error> {
    let session = Session::open(root)?;
    let slot = session.slots.inactive(asked.slot)?;
    let mut offer = Offer::open(&session.sources(None), &asked.source)?;
    let policy = session.admit(&offer.package, &asked.source)?.policy;
    // As an install does: what the trailer would hold decides where it would lie.
    offer.settle(&policy)?;
    let release = offer.open_release(&policy)?;
    let tally = install::plan(&job(&session.slots, slot, &offer, &release))?;
    report::planned(slot, release.manifest(), &tally, asked.report);
    Ok(Exit::Done)
}
