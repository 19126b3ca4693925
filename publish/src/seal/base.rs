//! `--base`: the earlier release, checked against what this one is to be.

use gybe_image::base::{Base, BasePack};
use gybe_image::image::platform;
use gybe_oci::{LayoutWriter, OfferError, Sources};

use super::SealError;
use crate::cli::Seal;
use crate::push::access;

/// Opens the release that `arguments` build on, if they name one.
pub(super) fn open(arguments: &Seal, architecture: &str) -> Result<Option<Base>, SealError> {
    let Some(reference) = &arguments.base else { return Ok(None) };
    let source = Sources::new(access()).open(reference).map_err(OfferError::from)?;
    let found = source.resolve(reference, Some(&platform(architecture)))?;
    let base = Base::of(&source, &found)?;
    check(&base, arguments, architecture)?;
    Ok(Some(base))
}

/// Brings a pack of the base to where the new release is written, unless it lies there. Its digest is
/// compared: the base may have been damaged since it was made, and nobody would notice but devices.
pub(super) fn keep(writer: &LayoutWriter, pack: &BasePack) -> Result<(), SealError> {
    let digest = pack.digest();
    if writer.has(&digest, pack.len()) {
        return Ok(pack.verify()?);
    }
    let taken = writer.take_blob(&digest, &mut pack.reader());
    if taken.is_err() {
        // If it is the base that is to blame, that says which pack of it.
        pack.verify()?;
    }
    Ok(taken?)
}

fn check(base: &Base, arguments: &Seal, architecture: &str) -> Result<(), SealError> {
    for (what, found, expected) in [
        ("devices of the kind", base.compatible.as_str(), arguments.compatible.as_str()),
        ("the architecture", &base.architecture, architecture),
    ] {
        if found != expected {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            return Err(SealError::OtherBase { what, found, expected });
        }
    }
    if arguments.rollback_index < base.rollback_index {
        return Err(SealError::Backwards {
            option: "--rollback-index",
            found: arguments.rollback_index,
            base: base.rollback_index,
            rule: "it must not fall",
        });
    }
    match arguments.sequence {
        Some(found) if found <= base.sequence => Err(SealError::Backwards {
            option: "--sequence",
            found,
            base: base.sequence,
            rule: "it must rise",
        }),
        _ => Ok(()),
    }
}
