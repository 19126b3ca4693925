//! Whether a release may come in: who signed it, and under which terms.
//!
//! The keys and the rules in the manifest are the core's, through a [`Policy`]; the annotations of the
//! signatures are compared here with what the device is. A downgrade that enough signers allow lifts the
//! floor for the one release that it names.
//!
//! A downgrade is made once. What keeps it from being made again, by a source that shows the old
//! signatures: its sequence must be above the highest one that was used, and that is known from two
//! places, the state and the trailers of the Good slots, where the release that it led to lies with
//! the signatures that allowed it. Both are forgotten only by a device that lost its state after it went
//! on to later releases. Then it can be led back once more, but still only from the one release that is
//! named to the other one, both signed, and nobody who is not trusted chose them.

use gybe_core::digest::Digest;
use gybe_core::trust::terms::{Downgrade, Said, Situation, TermsError, downgrades_to};
use gybe_core::trust::{Device, Policy, Terms};
use gybe_oci::Statement;
use tracing::warn;

use crate::device::clock;
use crate::error::Error;
use crate::release::{Held, Package, Refusal, architecture, refused};
use crate::session::Session;
use crate::trust::Trust;

/// What lets a release in.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'s> {
    /// What it must pass to be opened.
    pub policy: Policy<'s>,
    /// The downgrade that it would be.
    pub downgrade: Option<Downgrade>,
}

impl Session {
    /// Decides whether the release in `package`, which came from `source`, may come in.
    ///
    /// # Errors
    /// [`Error::Refused`] says why not.
    pub fn admit<'s>(&'s self, package: &Package, source: &'s str) -> Result<Admission<'s>, Error> {
        let refused = |cause| refused(package, source, cause);
        let unmet = |why: String| refused(Refusal::Policy { why });
        let channel = self.config.pull.channel.as_deref();
        if let Some(channel) = channel.filter(|channel| !self.trust.allows_channel(channel)) {
            return Err(unmet(format!("the image has no channel {channel} to follow")));
        }
        let policy = self.incoming.policy_for(source, self.device(0))?;
        let statements = package.statements(&policy).map_err(refused)?;
        let said = said(&statements).map_err(|cause| unmet(cause.to_string()))?;
        let running = self.held_running();
        let newest_s = said.iter().map(|one| one.terms.issued);
        let newest_s = newest_s.chain(running.map(|held| held.sequence)).max().unwrap_or(0);
        let situation = Situation {
            running: running.map(|held| (held.name.digest.0, held.rollback_index)),
            now: clock::synchronised(&self.root).filter(|now| *now >= newest_s),
            downgraded: self.downgraded,
        };
        let downgrade = situation.meets(&said, package.digest, self.incoming.threshold());
        let downgrade = downgrade.map_err(|term| unmet(term.to_string()))?;
        let least = self.config.restrict.rollback_index.unwrap_or(0);
        let floor = if downgrade.is_some() { least } else { self.floor()?.max(least) };
        if let Some(downgrade) = downgrade {
            warn!(from = %downgrade.from, to = %downgrade.to, "a signed downgrade lifts the floor");
        }
        let policy = self.incoming.policy_for(source, self.device(floor))?;
        Ok(Admission { policy, downgrade })
    }

    /// What a release must be meant for.
    pub(crate) fn device(&self, floor: u64) -> Device<'_> {
        Device { compatible: &self.config.compatible, architecture: architecture(), floor }
    }
}

/// The highest sequence of a downgrade that led to what a slot holds.
#[must_use]
pub fn downgraded(held: &Held, trust: &Trust, policy: &Policy<'_>) -> u64 {
    let release: Digest = held.name.digest.0;
    let statements = held.package.statements(policy).unwrap_or_default();
    let said = said(&statements).unwrap_or_default();
    downgrades_to(&said, release, trust.threshold())
}

/// What each signature asks.
fn said(statements: &[Statement]) -> Result<Vec<Said<'_>>, TermsError> {
    let mut said = Vec::new();
    for one in statements {
        let find = |name: &str| one.annotations.get(name).map(String::as_str);
        said.push(Said { signer: &one.key, terms: Terms::read(find)? });
    }
    Ok(said)
}
