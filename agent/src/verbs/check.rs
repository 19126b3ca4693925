//! `gybe check`, and `gybe upgrade --check`: is there something newer?

use serde::Serialize;

use crate::cli::{Exit, Report};
use crate::error::Error;
use crate::output;
use crate::release::Offer;
use crate::rollout;
use crate::root::Root;
use crate::session::Session;
use crate::state::{self, ReleaseName};
use crate::update::{self, Candidate, Decision, Failures};

#[derive(Serialize)]
struct Checked {
    version: u8,
    reference: String,
    available: bool,
    release: ReleaseName,
    sequence: u64,
    /// Why it is not available.
    why: Option<String>,
    /// Why it would not be taken by nobody's order, although it is available.
    rollout: Option<String>,
}

pub(super) fn run(root: &Root, report: Report, failures: Failures) -> Result<Exit, Error> {
    let session = Session::open(root)?;
    let remembered = session.reconcile(state::read_if_possible(root));
    let reference = update::reference(&session, &remembered)?;
    let offer = Offer::open(&session.sources(None), &reference)?;
    let candidate = Candidate::read(&session, &offer)?;
    let why = match update::decide(&session, &remembered, &candidate, failures) {
        Decision::Update => None,
        Decision::Armed { slot } => Some(format!("it is armed in slot {slot} already")),
        Decision::None(why) => Some(why.to_string()),
    };
    let Candidate { name: release, sequence, .. } = candidate;
    let available = why.is_none();
    let rollout = if available { rollout::why_not(&session, &offer) } else { None };
    if report.json {
        let checked = Checked { version: 1, reference, available, release, sequence, why, rollout };
        output::json(&checked);
    } else {
        match why {
            None => output::data(format_args!("Update available for: {reference}")),
            Some(why) => output::data(format_args!("No changes in: {reference} ({why})")),
        }
        output::data(format_args!("  Version: {}", release.version));
        output::data(format_args!("  Digest: {}", release.digest));
        if let Some(why) = rollout {
            output::data(format_args!("  Waits: {why}"));
        }
    }
    Ok(if available { Exit::Done } else { Exit::NothingNew })
}
