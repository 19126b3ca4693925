//! `gybe install`: a release by hand.

use super::bring::{Arm, Asked, Order, bring};
use super::report;
use crate::cli::{Exit, Install};
use crate::error::Error;
use crate::release::Offer;
use crate::root::Root;
use crate::session::Session;

pub(super) fn run(root: &Root, asked: &Install) -> Result<Exit, Error> {
    let writing = &asked.writing;
    let (mut session, mut memory) = Session::begin(root)?;
    // Said before anything is read from the source: what was typed cannot be right.
    session.slots.inactive(writing.slot)?;
    let mut offer = Offer::open(&session.sources(writing.max_bytes), &asked.source)?;
    let arm = if writing.no_arm { Arm::Later } else { Arm::Now };
    let order = Order { slot: writing.slot, arm, asked: Asked::ByHand, progress: writing.progress };
    let brought = bring(&mut session, &mut memory, &mut offer, order)?;
    report::brought(&brought, writing.report);
    Ok(if brought.armed { Exit::RebootNeeded } else { Exit::Done })
}
