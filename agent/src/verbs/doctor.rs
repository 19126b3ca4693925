//! `gybe doctor`: what the device lacks.

use crate::cli::{Exit, Report};
use crate::doctor::Diagnosis;
use crate::error::Error;
use crate::output;
use crate::root::Root;

pub(super) fn run(root: &Root, report: Report) -> Result<Exit, Error> {
    let diagnosis = Diagnosis::make(root);
    if report.json {
        output::json(&diagnosis);
    } else {
        output::data(&diagnosis);
    }
    Ok(if diagnosis.fit { Exit::Done } else { Exit::Failed })
}
