//! One module a verb.

pub(crate) mod bring;
mod check;
mod commit;
mod doctor;
mod health;
mod install;
mod plan;
mod report;
mod rollback;
mod run;
mod status;
mod switch;
mod upgrade;
mod usb;
mod verify;
#[cfg(feature = "keyless")]
mod verify_bundle;

use crate::cli::{Cli, Exit, InitramfsStep, Verb};
use crate::error::Error;
use crate::grow;
use crate::initramfs;
use crate::update::Failures;

/// Does what was typed.
///
/// # Errors
/// [`Error`], in the words of whoever typed it.
pub fn run(cli: &Cli) -> Result<Exit, Error> {
    let root = cli.global.root();
    match &cli.verb {
        Verb::Status(status) => status::run(&root, status.report),
        Verb::Install(install) => install::run(&root, install),
        Verb::Plan(plan) => plan::run(&root, plan),
        Verb::Upgrade(upgrade) => upgrade::run(&root, upgrade),
        Verb::Usb(usb) => usb::run(&root, usb),
        Verb::Switch(switch) => switch::run(&root, switch),
        Verb::Commit(report) => commit::run(&root, *report),
        Verb::Rollback(report) => rollback::run(&root, *report),
        Verb::Verify(verify) => verify::run(&root, verify),
        #[cfg(feature = "keyless")]
        Verb::VerifyBundle(bundle) => verify_bundle::run(bundle),
        Verb::Health(health) => health::run(&root, health),
        Verb::Doctor(report) => doctor::run(&root, *report),
        Verb::Run(asked) => run::run(&root, asked),
        Verb::Check(report) => check::run(&root, *report, Failures::Respect),
        Verb::GrowState => grow::run(&root),
        Verb::Initramfs(initramfs) => match &initramfs.step {
            InitramfsStep::Open => initramfs::open(&root),
            InitramfsStep::Mount { folder } => initramfs::mount(folder),
        },
    }
}
