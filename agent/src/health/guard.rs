//! What sees to it that a trial ends, when the one that should have ended it did not.
//!
//! `gybe health --guard` waits from early in the boot. It does nothing on a boot that is no trial, and
//! ends as soon as the trial is over. `gybe health --give-up` is for when `gybe health` crashed.

use std::thread;
use std::time::Duration;

use gybe_core::boot::BootEnv as _;
use tracing::{info, warn};

use super::{Context, Failure, trial};
use crate::config::Config;
use crate::config::health::Health;
use crate::device::environment::AnyEnvironment;
use crate::device::this_boot::ThisBoot;
use crate::error::Error;
use crate::evidence::Fault;
use crate::root::Root;
use crate::state;

/// How much longer than the checks a boot may take: to get to them, and for red scripts behind.
pub const MARGIN_S: u64 = 900;
/// How often it is looked whether the trial is over.
const PAUSE: Duration = Duration::from_secs(10);

/// Waits until the trial is over, or gives it up when it takes too long. Says whether it did.
///
/// # Errors
/// When the machine cannot be rebooted.
pub fn guard(root: &Root) -> Result<bool, Error> {
    let context = Context::new(root)?;
    if !context.line.trial {
        return Ok(false);
    }
    let limit_s = limit_s(&context);
    info!(limit_s, "the trial must be over by then");
    loop {
        match is_open(&context) {
            Ok(true) => {}
            Ok(false) => {
                info!("the trial is over");
                return Ok(false);
            }
            // Whatever it is, it does not make the trial longer.
            Err(cause) => warn!(%cause, "cannot see whether the trial is over"),
        }
        if ThisBoot::read(root).uptime_s >= limit_s {
            let why = format!("the trial was not over {limit_s} s after the start of the kernel");
            return trial::end(&context, &failure(Fault::Deadline, why));
        }
        thread::sleep(PAUSE);
    }
}

/// Whether the slot that was loaded is on trial. Only the environment is asked: this is asked often.
fn is_open(context: &Context) -> Result<bool, Error> {
    let config = Config::load(&context.root)?;
    let loaded = AnyEnvironment::open(&context.root, &config.bootloader)?.load()?;
    let state = loaded.state.zip(context.line.slot);
    Ok(state.is_some_and(|(state, slot)| state.is_on_trial(slot)))
}

/// Gives the trial up, if there still is one, because `gybe health` did not end as it should.
///
/// # Errors
/// When the machine cannot be rebooted.
pub fn give_up(root: &Root) -> Result<bool, Error> {
    let context = Context::new(root)?;
    let why = "gybe health ended without saying whether the system is healthy".to_owned();
    trial::end(&context, &failure(Fault::Health, why))
}

fn failure(fault: Fault, why: String) -> Failure {
    let check = "gybe health".to_owned();
    Failure { check, fault: Some(fault), why, output: String::new() }
}

/// Seconds after the start of the kernel at which a trial has taken too long.
fn limit_s(context: &Context) -> u64 {
    let config = Config::load(&context.root);
    let deadline_s =
        config.as_ref().map_or(Health::default().deadline_s, |it| it.health.deadline_s);
    // The longest that any attempt may take: how many there were is not known without the environment.
    let armed = state::read_if_possible(&context.root).armed;
    let tries = armed.map(|armed| armed.tries).or(config.ok().map(|config| config.tries));
    u64::from(deadline_s).saturating_mul(tries.unwrap_or(1).into()).saturating_add(MARGIN_S)
}
