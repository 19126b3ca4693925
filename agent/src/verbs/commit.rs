//! `gybe commit`: the running slot is kept.

use serde::Serialize;

use crate::cli::{Exit, Report};
use crate::commit::{Committed, commit};
use crate::error::Error;
use crate::output;
use crate::root::Root;
use crate::session::Session;
use crate::state::SlotText;
use crate::transitions;

#[derive(Serialize)]
struct Said {
    version: u8,
    slot: SlotText,
    changed: bool,
}

pub(super) fn run(root: &Root, report: Report) -> Result<Exit, Error> {
    let (mut session, mut memory) = Session::begin(root)?;
    let Committed { slot, changed } = commit(&mut session, &mut memory)?;
    transitions::notice(&session, memory.state(), None);
    if report.json {
        output::json(&Said { version: 1, slot: slot.into(), changed });
    } else if changed {
        output::data(format_args!("slot {slot} is committed"));
    } else {
        output::data(format_args!("slot {slot} is good already"));
    }
    Ok(Exit::Done)
}
