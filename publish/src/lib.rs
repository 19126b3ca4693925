//! Seals and signs releases on the build host, and makes disks of them: what `gybe-publish` is made of.

pub mod bundle;
pub mod cli;
pub mod disk;
pub mod epoch;
pub mod key;
pub mod output;
pub mod push;
pub mod seal;
pub mod sign;

use std::error::Error;

use crate::cli::{Cli, Verb};

/// Does what was typed.
///
/// # Errors
/// What the verb returns, ready to be shown.
pub fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    match &cli.verb {
        Verb::Seal(arguments) => seal::run(arguments)?,
        Verb::Sign(arguments) => sign::run(arguments)?,
        Verb::Bundle(arguments) => bundle::run(arguments)?,
        Verb::Disk(arguments) => disk::run(arguments)?,
    }
    Ok(())
}
