//! What every verb that writes a slot does: prove a release there, and arm it.

use std::{fs, io};

use gybe_core::digest::Digest;
use gybe_core::install::Proven;
use gybe_core::release::Release;
use gybe_core::slot::Slot;
use tracing::{info, warn};

use crate::cli;
use crate::device::mounts::Mounts;
use crate::device::slots::Slots;
use crate::error::Error;
use crate::etc::{self, conflict};
use crate::evidence::{Trial, begin_trial};
use crate::initramfs::AMBIGUOUS;
use crate::install::{self, Job, Tally};
use crate::progress::Display;
use crate::release::{Held, Offer};
use crate::root::Root;
use crate::run::trouble::Class;
use crate::session::{Memory, Session};
use crate::state::{Armed, DigestText, ReleaseName, State};
use crate::transitions;

/// When the release is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// As soon as it is proven.
    Now,
    /// Not by this command.
    Later,
}

/// Who wants the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A person, who may try anything again.
    ByHand,
    /// Nobody: it is what the tracked reference offers.
    Automatically,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// The slot that was named.
    pub(crate) slot: Option<Slot>,
    pub(crate) arm: Arm,
    pub(crate) asked: Asked,
    pub(crate) progress: cli::Progress,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Brought {
    pub(crate) slot: Slot,
    pub(crate) release: ReleaseName,
    pub(crate) armed: bool,
    /// What it cost; nothing, if the slot held the release already.
    pub(crate) tally: Option<Tally>,
}

/// Brings what `offer` offers into the inactive slot, and tells what became of it.
pub(crate) fn bring(
    session: &mut Session,
    memory: &mut Memory,
    offer: &mut Offer,
    order: Order,
) -> Result<Brought, Error> {
    let brought = prove_and_arm(session, memory, offer, order);
    match &brought {
        Ok(Brought { armed: true, tally, .. }) => {
            transitions::notice(session, memory.state(), tally.as_ref());
        }
        Ok(Brought { release, tally, .. }) => {
            transitions::tell_proven(session, release, tally.as_ref());
        }
        // Whoever looks by nobody's order tells of trouble once, and not each time.
        Err(cause) if order.asked == Asked::ByHand => {
            if let Some(class @ Class::Install) = Class::of(cause) {
                let telling = &session.config.telling;
                transitions::tell_trouble(&session.root, telling, class, &cause.to_string());
            }
        }
        Err(_) => {}
    }
    brought
}

fn prove_and_arm(
    session: &mut Session,
    memory: &mut Memory,
    offer: &mut Offer,
    order: Order,
) -> Result<Brought, Error> {
    refuse_doubt(&session.root)?;
    let slot = session.slots.inactive(order.slot)?;
    // Asked before anything is looked at: what runs must be kept or given up first.
    session.boot.clear(slot, session.slots.running_slot())?;
    let reference = offer.reference.clone();
    let policy = session.admit(&offer.package, &reference)?.policy;
    offer.settle(&policy)?;
    let offer = &*offer;
    let release = offer.open_release(&policy)?;
    check_loader(session, &release)?;
    session.prepare_environment()?;
    let manifest = release.manifest();
    let digest = manifest.digest;
    let name = ReleaseName { digest: DigestText(digest), version: manifest.version.to_owned() };
    let waits = !session.boot.is_good(slot) && session.boot.trial.is_none();
    let holds = |held: &Held| held.is_proven() && held.name.digest.0 == digest;
    let held = waits && session.held.of(slot).as_ref().is_ok_and(holds);
    let (proven, tally) = match held.then(|| session.prove(slot, &release)) {
        Some(Ok(proven)) => {
            info!(%slot, release = %digest, "the slot holds the release already");
            (proven, None)
        }
        unproven => {
            if let Some(Err(cause)) = unproven {
                warn!(%slot, %cause, "the slot does not hold the release any more");
            }
            let (proven, tally) = install(session, slot, offer, &release, order.progress)?;
            (proven, Some(tally))
        }
    };
    if order.arm == Arm::Now {
        refuse_conflicts(session, slot)?;
        let from = session.held_running().map(|held| held.name.clone());
        let tries = session.config.tries;
        let rearmed = times_rearmed(memory.state(), digest, order.asked);
        if rearmed == 0 {
            let root_hash = Some(DigestText(manifest.root_hash));
            let trial = Trial::new(slot, Some(name.clone()), root_hash);
            if let Err(cause) = begin_trial(&session.root, Trial { from: from.clone(), ..trial }) {
                warn!(%cause, "there may be no evidence of this trial");
            }
        }
        let armed = Armed { slot: slot.into(), release: name.clone(), from, tries, rearmed };
        memory.update(|state| {
            state.forgive(digest);
            state.interrupted = None;
            state.armed = Some(armed);
        });
        etc::forget(&session.root, slot);
        let running = session.slots.running_slot();
        session.boot = proven.arm(tries, running, &mut session.environment).map_err(Error::arm)?;
        info!(%slot, release = %digest, tries, "armed");
    }
    Ok(Brought { slot, release: name, armed: order.arm == Arm::Now, tally })
}

/// Refuses to write where it is not certain on which disk: the root was found on several that are
/// alike, and the environment of another one may be the one that the loader reads.
fn refuse_doubt(root: &Root) -> Result<(), Error> {
    match fs::read_to_string(root.path(AMBIGUOUS)) {
        Ok(disks) => Err(Error::SeveralRoots { partitions: disks.trim().to_owned() }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(Error::SeveralRoots { partitions: cause.to_string() }),
    }
}

/// How often the release was armed again, this time included. Someone who asks for it begins anew.
fn times_rearmed(state: &State, release: Digest, asked: Asked) -> u8 {
    let interrupted = state.interrupted.as_ref().filter(|it| it.release.digest.0 == release);
    match (asked, interrupted) {
        (Asked::Automatically, Some(interrupted)) => interrupted.rearmed.saturating_add(1),
        _ => 0,
    }
}

/// Refuses to arm a release in which a folder is what was changed as a file here, or the reverse. At
/// its first boot the release would win, and nobody would be there to see what that means.
fn refuse_conflicts(session: &Session, slot: Slot) -> Result<(), Error> {
    let Some(running) = session.slots.running_slot() else { return Ok(()) };
    let (old, new) = (session.slots.paths.of(running), session.slots.paths.of(slot));
    match conflict::find(&session.root, running, old, new) {
        Ok(paths) if paths.is_empty() => Ok(()),
        Ok(paths) => Err(Error::EtcConflicts { paths }),
        Err(cause) => {
            // A root of another kind is for the board to bring its changes to.
            warn!(%cause, "changes in /etc are not compared with the release");
            Ok(())
        }
    }
}

/// What bringing the release into `slot` would be.
pub(crate) fn job<'a>(
    slots: &'a Slots,
    slot: Slot,
    offer: &'a Offer,
    release: &'a Release<'a>,
) -> Job<'a> {
    Job {
        release,
        package: &offer.package,
        read: offer.read,
        source: &offer.source,
        slot,
        inactive: slots.paths.of(slot),
        running: slots.running_slot().map(|running| (running, slots.paths.of(running))),
    }
}

fn install(
    session: &mut Session,
    slot: Slot,
    offer: &Offer,
    release: &Release<'_>,
    progress: cli::Progress,
) -> Result<(Proven, Tally), Error> {
    let mounts = Mounts::read(&session.root).map_err(|cause| Error::Mounts { cause })?;
    let display = Display::new(progress);
    let job = job(&session.slots, slot, offer, release);
    let show = |phase, done, total| display.show(phase, done, total);
    let installed = install::run(&job, &mounts, &mut session.environment, &show);
    display.end();
    Ok(installed?)
}

/// Refuses a release that needs a newer loader script than the one that ran. A device that is
/// provisioned brings its loader along.
fn check_loader(session: &Session, release: &Release<'_>) -> Result<(), Error> {
    let Some(running) = session.slots.running else { return Ok(()) };
    let needed = release.config().loader_min;
    let found = running.loader.unwrap_or(0);
    if u64::from(found) < needed {
        return Err(Error::Loader { needed, found });
    }
    Ok(())
}
