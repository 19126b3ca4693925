//! Releases taken without anybody asking: `gybe run`, and `gybe upgrade --automatic` for timers.
//!
//! The daemon decides when ([`machine`]), and lets a process of its own look, because an install needs
//! memory that is given back when its process ends, and because whatever happens in there is an answer and
//! not the end of the daemon. It can be stopped at any moment: an install that is killed goes on where
//! it was.

pub mod events;
pub mod inhibit;
pub mod kept;
pub mod machine;
pub mod notify;
pub mod powered;
pub mod situation;
pub mod trouble;

mod daemon;
mod look;

use tracing::{info, warn};

pub use daemon::run;
pub use events::Event;
pub use look::look;
pub use situation::Situation;

use crate::cli::Exit;
use crate::config::{Config, Telling};
use crate::device::reboot::reboot_if_willing;
use crate::error::Error;
use crate::hooks::{self, Question};
use crate::metrics;
use crate::output;
use crate::report;
use crate::root::Root;
use crate::state::ReleaseName;
use crate::transitions;
use machine::{Action, Rhythm};

/// One pass for a timer: looks if nothing speaks against it, reboots if it is time, and ends.
///
/// # Errors
/// When it is not known what the device is, or another command is at work.
pub fn pass(root: &Root) -> Result<Exit, Error> {
    transitions::notice_below(root)?;
    let mut exit = Exit::Done;
    // A look, and then perhaps a reboot: two decisions are enough.
    for rhythm in [Rhythm::Timer, Rhythm::Interval] {
        let kept = kept::read_if_possible(root);
        let situation = Situation::see(root, &kept)?;
        let (action, inhibitor) = situation.decide(root, rhythm, &kept);
        match action {
            Action::Look { arm } => {
                let outcome = look(root, arm)?;
                output::data(&outcome);
                exit = match outcome {
                    kept::Outcome::Armed(_) => Exit::RebootNeeded,
                    kept::Outcome::Trouble(
                        trouble::Class::Refused | trouble::Class::Unsigned,
                        _,
                    ) => Exit::Refused,
                    kept::Outcome::Trouble(..) => Exit::Failed,
                    kept::Outcome::Nothing(_) | kept::Outcome::Waits(_) => Exit::Done,
                };
            }
            Action::Reboot => {
                // Afterwards there may be no time for it.
                tell(root, &situation.telling);
                if reboot_unless_held(root, &situation.telling, situation.armed.as_ref()) {
                    exit = Exit::RebootNeeded;
                }
                return Ok(exit);
            }
            Action::Wait { for_s, why } => {
                let by = inhibitor.unwrap_or_default();
                info!(for_s, ?why, by, "nothing to do yet");
                break;
            }
        }
    }
    tell(root, &Config::load(root)?.telling);
    Ok(exit)
}

/// Writes the metrics, and posts what waits.
fn tell(root: &Root, telling: &Telling) {
    metrics::write(root, telling);
    if !report::post(root, telling) {
        info!("the next pass posts the rest");
    }
}

/// Reboots, unless a hook or systemd says no; says whether it comes.
fn reboot_unless_held(root: &Root, telling: &Telling, release: Option<&ReleaseName>) -> bool {
    if let Some(hook) = hooks::ask(root, telling, Question::Reboot, release) {
        warn!(hook, "holds the reboot");
        return false;
    }
    match reboot_if_willing(root) {
        Ok(_) => true,
        Err(cause) => {
            warn!(%cause, "the reboot waits");
            false
        }
    }
}
