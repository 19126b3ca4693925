//! `gybe status`: what the device is.

use crate::cli::{Exit, Report};
use crate::error::Error;
use crate::output;
use crate::root::Root;
use crate::status::Status;

pub(super) fn run(root: &Root, report: Report) -> Result<Exit, Error> {
    let status = Status::look(root)?;
    if report.json {
        output::json(&status);
    } else {
        output::data(&status);
    }
    Ok(Exit::Done)
}
