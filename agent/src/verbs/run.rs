//! `gybe run`, and `gybe upgrade --automatic`: as nobody typed it.

use crate::cli::{Automatic, Exit, Look, Run};
use crate::error::Error;
use crate::output;
use crate::root::Root;
use crate::run;
use crate::run::machine::Arm;

pub(super) fn run(root: &Root, asked: &Run) -> Result<Exit, Error> {
    run::run(root, asked)
}

pub(super) fn automatic(root: &Root, asked: &Automatic) -> Result<Exit, Error> {
    let arm = match asked.look {
        None => return run::pass(root),
        Some(Look::Arm) => Arm::Now,
        Some(Look::Prove) => Arm::InWindow,
    };
    let outcome = run::look(root, arm)?;
    match asked.events {
        Some(_) => run::Event::look(&outcome).print(),
        None => output::data(&outcome),
    }
    Ok(Exit::Done)
}
