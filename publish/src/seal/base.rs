//! `--base`: the earlier release, checked against what this one is to be.

use gybe_image::base::Base;
use gybe_image::image::platform;
use gybe_oci::{Layout, LayoutReference};

use super::SealError;
use crate::cli::Seal;

/// An earlier release, and where its packs can be copied from.
pub(super) struct Earlier {
    pub(super) layout: Layout,
    pub(super) base: Base,
}

impl Earlier {
    /// Opens the release that `arguments` build on, if they name one.
    pub(super) fn open(arguments: &Seal, architecture: &str) -> Result<Option<Self>, SealError> {
        let Some(reference) = &arguments.base else { return Ok(None) };
        let (layout, base) = open(reference, architecture)?;
        check(&base, arguments, architecture)?;
        Ok(Some(Self { layout, base }))
    }
}

fn open(reference: &LayoutReference, architecture: &str) -> Result<(Layout, Base), SealError> {
    let layout = Layout::open(reference)?;
    let base = Base::open(&layout, reference.tag.as_deref(), Some(&platform(architecture)))?;
    Ok((layout, base))
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
