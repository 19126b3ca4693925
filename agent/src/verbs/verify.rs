//! `gybe verify`: is a release, or what the slots hold, what was signed?

use std::io::Read as _;

use gybe_core::block::BLOCK_LEN;
use gybe_core::digest::{Digest, Hasher};
use gybe_core::manifest::Descriptor;
use gybe_core::slot::Slot;
use serde::Serialize;

use crate::cli::{Exit, Report, Verify};
use crate::error::Error;
use crate::output;
use crate::release::{Offer, OfferError, SignedBy};
use crate::root::Root;
use crate::session::Session;
use crate::state::{DigestText, ReleaseName, SlotText};
use crate::status::{SlotStatus, StateWord};

/// How many blocks of a blob are read at once.
const READ_BLOCKS: usize = 64;

#[derive(Serialize)]
struct VerifiedSource<'a> {
    version: u8,
    source: &'a str,
    release: ReleaseName,
    signers: Vec<SignedBy>,
    bytes_read: u64,
}

#[derive(Serialize)]
struct VerifiedSlots {
    version: u8,
    slots: Vec<VerifiedSlot>,
}

#[derive(Serialize)]
struct VerifiedSlot {
    slot: SlotText,
    state: StateWord,
    release: Option<ReleaseName>,
    signers: Vec<SignedBy>,
    /// Whether every byte is what was signed.
    right: bool,
    problem: Option<String>,
}

impl VerifiedSlot {
    /// Whether it may be booted. A slot that promises nothing breaks no promise.
    const fn promises(&self) -> bool {
        matches!(self.state, StateWord::Good | StateWord::Trial | StateWord::Proven)
    }
}

pub(super) fn run(root: &Root, verify: &Verify) -> Result<Exit, Error> {
    let session = Session::open(root)?;
    match &verify.source {
        Some(source) => verify_source(&session, source, verify.report),
        None => Ok(verify_slots(&session, verify.report)),
    }
}

fn verify_source(session: &Session, source: &str, report: Report) -> Result<Exit, Error> {
    let offer = Offer::open(&session.sources(None), source)?;
    let policy = session.admit(&offer.package, source)?.policy;
    let release = offer.open_release(&policy)?;
    let signers = SignedBy::all(&offer.package, &policy);
    let manifest = release.manifest();
    let mut bytes_read = 0_u64;
    for blob in std::iter::once(&manifest.recipe).chain(&manifest.packs) {
        verify_blob(&offer, blob)?;
        bytes_read = bytes_read.saturating_add(blob.len);
    }
    let digest = DigestText(manifest.digest);
    let release = ReleaseName { digest, version: manifest.version.to_owned() };
    if report.json {
        output::json(&VerifiedSource { version: 1, source, release, signers, bytes_read });
    } else {
        output::data(format_args!("{source} is whole and signed: {} {digest}", release.version));
        for signer in signers {
            output::data(format_args!("  Signed by: {signer}"));
        }
    }
    Ok(Exit::Done)
}

fn verify_blob(offer: &Offer, expected: &Descriptor) -> Result<(), Error> {
    let blob =
        offer.source.blob_of_len(&expected.digest, expected.len).map_err(OfferError::from)?;
    let mut reader = blob.reader();
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; READ_BLOCKS.saturating_mul(BLOCK_LEN)];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(cause) => return Err(OfferError::Blob { digest: expected.digest, cause }.into()),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    let found: Digest = hasher.finish();
    if found != expected.digest {
        return Err(OfferError::OtherBytes { digest: expected.digest, found }.into());
    }
    Ok(())
}

fn verify_slots(session: &Session, report: Report) -> Exit {
    let slots: Vec<_> = Slot::ALL.into_iter().map(|slot| verify_slot(session, slot)).collect();
    // A slot that promises nothing breaks no promise.
    let promises = |state| matches!(state, StateWord::Good | StateWord::Trial | StateWord::Proven);
    let broken = slots.iter().any(|slot| !slot.right && promises(slot.state));
    if report.json {
        output::json(&VerifiedSlots { version: 1, slots });
    } else {
        for found in slots {
            let (slot, promises) = (Slot::from(found.slot), found.promises());
            let version = found.release.map_or_else(String::new, |release| release.version);
            match found.problem {
                None => {
                    output::data(format_args!("slot {slot} is what was signed: {version}"));
                    for signer in found.signers {
                        output::data(format_args!("  Signed by: {signer}"));
                    }
                }
                Some(why) if promises => {
                    output::data(format_args!("slot {slot} is not what was signed: {why}"));
                }
                Some(why) => output::data(format_args!("slot {slot} promises nothing: {why}")),
            }
        }
    }
    if broken { Exit::Failed } else { Exit::Done }
}

fn verify_slot(session: &Session, slot: Slot) -> VerifiedSlot {
    let held = session.held.of(slot);
    let status = SlotStatus::new(Some(session.boot.slot_state(slot)), held);
    let signers = session.signers_of(slot);
    let proved = match status.problem {
        Some(why) => Err(why),
        None => session.prove_held(slot).map(drop).map_err(|error| error.to_string()),
    };
    VerifiedSlot {
        slot: slot.into(),
        state: status.state,
        release: status.release,
        signers,
        right: proved.is_ok(),
        problem: proved.err(),
    }
}
