//! One look at the tracked reference by nobody's order: take what is new, if everything allows it.
//!
//! ```text
//! open ─▶ signed, for this device? ─▶ newer? ─▶ rollout? ─▶ budget? ─▶ hooks? ─▶ bring ─▶ (window) arm
//! ```
//!
//! What is remembered is written once, at the end; but bytes are counted as spent before the first is
//! fetched. A power cut before the end leaves a look that nobody remembers, so that the next comes as
//! early as it would have; in `bring` it leaves what every install leaves; after it, what is armed is
//! noticed by the next command.

use tracing::{debug, warn};

use super::kept::{Kept, Outcome, Waiting, WaitingFor, read_if_possible};
use super::machine::Arm;
use super::powered::Now;
use super::situation;
use super::trouble::Class;
use crate::cli::Progress;
use crate::config::Config;
use crate::error::Error;
use crate::hooks::{self, Question};
use crate::install;
use crate::release::Offer;
use crate::rollout;
use crate::root::Root;
use crate::session::{Memory, Session};
use crate::state::{ReleaseName, StateError};
use crate::transitions;
use crate::two_areas::{FileError, Lock, TwoAreas};
use crate::update::{self, Candidate, Decision, Failures};
use crate::verbs::bring::{self, Asked, Order};

/// Looks, and remembers what came of it.
///
/// # Errors
/// When another command is at work, which is no look at all.
pub fn look(root: &Root, arm: Arm) -> Result<Outcome, Error> {
    let mut file = open(root)?;
    let mut kept = file.as_ref().map_or_else(|| read_if_possible(root), |it| it.content().clone());
    let outcome = match take(root, arm, &mut file, &mut kept) {
        Ok(outcome) => outcome,
        Err(cause) => match Class::of(&cause) {
            None => return Err(cause),
            Some(class) => Outcome::Trouble(class, cause.to_string()),
        },
    };
    let now = Now::read(root, &kept.powered);
    let (after, is_new) = kept.after(&outcome, &now);
    store(&mut file, after);
    if let Outcome::Trouble(class, why) = &outcome {
        match Config::load(root) {
            _ if !is_new => debug!(class = class.word(), why, "still"),
            Ok(config) => {
                warn!(class = class.word(), why, "the tracked reference gives no release");
                transitions::tell_trouble(root, &config.telling, *class, why);
            }
            Err(cause) => warn!(%cause, class = class.word(), why, "and nobody can be told"),
        }
    }
    Ok(outcome)
}

/// What is remembered, to be changed; nothing where it cannot be.
fn open(root: &Root) -> Result<Option<TwoAreas<Kept>>, Error> {
    // A folder that is no device is not made one by keeping something in it.
    Config::load(root)?;
    match TwoAreas::open(root, Lock::Try) {
        Ok(file) => Ok(Some(file)),
        Err(cause @ FileError::Held { .. }) => Err(StateError::from(cause).into()),
        Err(cause) => {
            warn!(%cause, "what comes of this look will not be remembered");
            Ok(None)
        }
    }
}

fn store(file: &mut Option<TwoAreas<Kept>>, kept: Kept) {
    if let Some(file) = file
        && let Err(cause) = file.store(kept)
    {
        warn!(%cause, "what came of this look is not remembered");
    }
}

fn take(
    root: &Root,
    arm: Arm,
    file: &mut Option<TwoAreas<Kept>>,
    kept: &mut Kept,
) -> Result<Outcome, Error> {
    let (mut session, mut memory) = Session::begin(root)?;
    transitions::notice(&session, memory.state(), None);
    let running = session.slots.running_slot().ok_or(Error::NoneRuns)?;
    if situation::is_trial(&session) {
        return Ok(Outcome::Nothing(format!("slot {running} is on trial")));
    }
    let reference = update::reference(&session, memory.state())?;
    let left = left(&session, kept);
    if left == Some(0) {
        let why = "nothing is left of it in this period".to_owned();
        return Ok(Outcome::Trouble(Class::Budget, why));
    }
    let mut offer = Offer::open(&session.sources(left), &reference)?;
    let before = kept.spent.clone();
    let outcome = consider(&mut session, &mut memory, &mut offer, arm, file, kept);
    // What was received is known now, whatever came of it: that counts instead of what was planned.
    if let Some(traffic) = offer.source.traffic() {
        kept.spent = before;
        if let Some(moment) = left.map(|_| Now::read(root, &kept.powered).moment) {
            kept.spend(traffic.bytes, session.config.pull.budget_period_s, moment);
        }
        kept.fetched_bytes = kept.fetched_bytes.saturating_add(traffic.bytes);
    }
    outcome
}

/// How many bytes may still be received, where that is limited.
fn left(session: &Session, kept: &Kept) -> Option<u64> {
    let pull = &session.config.pull;
    let now = Now::read(&session.root, &kept.powered);
    pull.budget_bytes.map(|budget| kept.left(budget, pull.budget_period_s, now.moment))
}

/// Takes what `offer` offers, if everything allows it.
fn consider(
    session: &mut Session,
    memory: &mut Memory,
    offer: &mut Offer,
    arm: Arm,
    file: &mut Option<TwoAreas<Kept>>,
    kept: &mut Kept,
) -> Result<Outcome, Error> {
    let root = &session.root.clone();
    let candidate = Candidate::read(session, offer)?;
    match update::decide(session, memory.state(), &candidate, Failures::Respect) {
        Decision::Update => {}
        Decision::Armed { slot } => {
            let withdrawn = withdraw(session, memory, offer, &candidate, kept)?;
            let armed = || Outcome::Nothing(format!("it is armed in slot {slot} already"));
            return Ok(withdrawn.unwrap_or_else(armed));
        }
        Decision::None(why) => return Ok(Outcome::Nothing(why.to_string())),
    }
    if let Some(why) = older_than_armed(session, &candidate) {
        return Ok(Outcome::Nothing(why));
    }
    let release = candidate.name;
    if let Some(waits) = waits_for_rollout(session, offer, &release, kept)? {
        return Ok(waits);
    }
    if arm == Arm::InWindow && is_proven(session, &release) {
        return Ok(waits_for_window(release));
    }
    if let Some(outcome) = spend(session, offer, file, kept)? {
        return Ok(outcome);
    }
    if let Some(hook) = hooks::ask(root, &session.config.telling, Question::Install, Some(&release))
    {
        return Ok(Outcome::Trouble(Class::Held, format!("the hook {hook} says not now")));
    }
    bring(session, memory, offer, arm, kept)
}

/// What to wait for, while the rollout of `release`, which is offered, has not reached this device.
fn waits_for_rollout(
    session: &Session,
    offer: &Offer,
    release: &ReleaseName,
    kept: &mut Kept,
) -> Result<Option<Outcome>, Error> {
    let reached = rollout::of_offer(session, offer, kept)?;
    kept.remember(reached.said);
    let waits = |why| {
        let (release, reason) = (release.clone(), WaitingFor::Rollout);
        Outcome::Waits(Waiting { release, reason, why })
    };
    Ok(reached.go.err().map(waits))
}

/// Ends the trial of what a look armed and nobody has booted yet, where its rollout was paused or
/// taken back since. It stays in its slot, and is armed again without a byte when the rollout goes
/// on. What an operator armed is the operator's.
///
/// One write of the boot environment: a power cut before it leaves the release armed, as the look
/// before did; after it, not armed, and the next look finds it proven.
fn withdraw(
    session: &mut Session,
    memory: &mut Memory,
    offer: &Offer,
    armed: &Candidate,
    kept: &mut Kept,
) -> Result<Option<Outcome>, Error> {
    if kept.armed.as_ref().is_none_or(|ours| ours.release != armed.name.digest) {
        return Ok(None);
    }
    let Some(waits) = waits_for_rollout(session, offer, &armed.name, kept)? else {
        return Ok(None);
    };
    session.store(session.boot.cancel_trial()?)?;
    memory.update(|state| *state = session.reconcile(state.clone()));
    kept.armed = None;
    Ok(Some(waits))
}

/// A tag that went back does not take away what is armed.
fn older_than_armed(session: &Session, candidate: &Candidate) -> Option<String> {
    let armed = session.boot.trial.map(|trial| trial.slot)?;
    let held = session.held.of(armed).as_ref().ok()?;
    let (found, armed) = (candidate.sequence, held.sequence);
    (found <= armed).then(|| format!("its sequence {found} is not above {armed}, which is armed"))
}

/// Whether the inactive slot holds `release` already, and it only waits to be armed.
fn is_proven(session: &Session, release: &ReleaseName) -> bool {
    let Ok(slot) = session.slots.inactive(None) else { return false };
    let held = session.held.of(slot).as_ref();
    let holds = held.is_ok_and(|held| held.is_proven() && held.name == *release);
    holds && !session.boot.is_good(slot) && session.boot.trial.is_none()
}

fn waits_for_window(release: ReleaseName) -> Outcome {
    let why = "it is proven, and armed when the maintenance window opens".to_owned();
    Outcome::Waits(Waiting { release, reason: WaitingFor::Window, why })
}

/// Counts what the release would cost as spent, if there is a budget and it is enough.
fn spend(
    session: &Session,
    offer: &mut Offer,
    file: &mut Option<TwoAreas<Kept>>,
    kept: &mut Kept,
) -> Result<Option<Outcome>, Error> {
    let pull = &session.config.pull;
    let (Some(budget), Some(left)) = (pull.budget_bytes, left(session, kept)) else {
        return Ok(None);
    };
    let reference = offer.reference.clone();
    let policy = session.admit(&offer.package, &reference)?.policy;
    offer.settle(&policy)?;
    let release = offer.open_release(&policy)?;
    let slot = session.slots.inactive(None)?;
    let cost = install::plan(&bring::job(&session.slots, slot, offer, &release))?.fetched_bytes;
    let now = Now::read(&session.root, &kept.powered);
    if cost > left {
        let why = format!("it would fetch {cost} bytes, {left} of {budget} are left");
        return Ok(Some(Outcome::Trouble(Class::Budget, why)));
    }
    kept.powered = now.powered;
    kept.spend(cost, pull.budget_period_s, now.moment);
    store(file, kept.clone());
    Ok(None)
}

fn bring(
    session: &mut Session,
    memory: &mut Memory,
    offer: &mut Offer,
    arm: Arm,
    kept: &mut Kept,
) -> Result<Outcome, Error> {
    let when = match arm {
        Arm::Now => bring::Arm::Now,
        Arm::InWindow => bring::Arm::Later,
    };
    let asked = Asked::Automatically;
    let order = Order { slot: None, arm: when, asked, progress: Progress::None };
    let brought = bring::bring(session, memory, offer, order)?;
    if offer.source.traffic().is_none() {
        let fetched_bytes = brought.tally.as_ref().map_or(0, |tally| tally.fetched_bytes);
        kept.fetched_bytes = kept.fetched_bytes.saturating_add(fetched_bytes);
    }
    if brought.armed {
        return Ok(Outcome::Armed(brought.release));
    }
    Ok(waits_for_window(brought.release))
}
