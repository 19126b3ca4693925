//! Whether the rollout of a release has reached this device.
//!
//! What the signatures say is compared with what was said before: whoever serves releases may withhold
//! a newer statement, and an older one must not take its place. The last one that was seen stays in
//! force then, and it is said.

use gybe_core::digest::Digest;
use gybe_core::rollout::{Decision, Member, Position, Statement, StatementError, decide};
use tracing::warn;

use crate::config::Pull;
use crate::device::clock;
use crate::error::Error;
use crate::release::{Offer, Refusal};
use crate::root::Root;
use crate::run::kept::{self, Kept, Said};
use crate::seed;
use crate::session::Session;
use crate::state::DigestText;

/// What is said about a release's rollout, and what follows here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// What is in force.
    pub said: Said,
    /// Whether this device takes the release by itself; else why not, in words.
    pub go: Result<(), String>,
    /// The number of a statement that is older than one that was seen before.
    pub stale: Option<u64>,
}

/// Decides about what `offer` offers, of which `kept` is remembered.
///
/// # Errors
/// [`Error::Refused`], when it does not pass, or a statement makes no sense.
pub fn of_offer(session: &Session, offer: &Offer, kept: &Kept) -> Result<Reached, Error> {
    let refused = |cause| Error::Refused { source_name: offer.reference.clone(), cause };
    let policy = session.admit(&offer.package, &offer.reference)?.policy;
    let statements = offer.package.statements(&policy).map_err(refused)?;
    let (root, pull) = (&session.root, &session.config.pull);
    reached(root, pull, kept, offer.package.digest, &statements).map_err(refused)
}

/// Why nobody's order takes what `offer` offers yet, for a person who may take it.
#[must_use]
pub fn why_not(session: &Session, offer: &Offer) -> Option<String> {
    match of_offer(session, offer, &kept::read_if_possible(&session.root)) {
        Ok(reached) => reached.go.err(),
        Err(cause) => Some(cause.to_string()),
    }
}

/// Decides about `release`, of which `statements` were signed and `kept` is remembered.
///
/// # Errors
/// [`Refusal::Policy`], when a statement makes no sense.
fn reached(
    root: &Root,
    pull: &Pull,
    kept: &Kept,
    release: Digest,
    statements: &[gybe_oci::Statement],
) -> Result<Reached, Refusal> {
    let release_text = DigestText(release);
    let offered =
        in_force(statements).map_err(|cause| Refusal::Policy { why: cause.to_string() })?;
    let offered = Said::new(release_text, &offered);
    let before = kept.said_of(release_text);
    let stale = before.filter(|before| before.issued > offered.issued).map(|_| offered.issued);
    let said = match before {
        Some(before) if stale.is_some() => before.clone(),
        _ => offered,
    };
    if let Some(found) = stale {
        let seen = said.issued;
        warn!(%release, found, seen, "the source withholds a newer statement about the rollout");
    }
    let position = match seed::seed(root, pull) {
        Some(seed) => Position::new(seed.as_bytes(), release),
        None => Position::LAST,
    };
    let member = Member { channel: pull.channel.as_deref(), position };
    let go = match decide(&said.statement(), &member, clock::synchronised(root)) {
        Decision::Go => Ok(()),
        other => Err(other.to_string()),
    };
    Ok(Reached { said, go, stale })
}

/// The statement that counts among all that were signed.
fn in_force(statements: &[gybe_oci::Statement]) -> Result<Statement<'_>, StatementError<'_>> {
    let mut found: Option<Statement<'_>> = None;
    for signed in statements {
        let pairs = signed.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let statement = Statement::parse(pairs)?;
        found = Some(found.map_or(statement, |found| found.or_later(statement)));
    }
    Ok(found.unwrap_or_default())
}
