//! `gybe-publish bundle`: signed releases in one folder or one tar file, as for a stick.
//!
//! What is signed stays as it is, byte for byte: a bundle is the same artifacts with their signatures,
//! without whatever else lay beside them, and without packs that none of its devices needs.

mod contents;
mod error;
mod release;
mod report;
mod signatures;
mod write;

use gybe_image::image::platform;
use gybe_oci::{LayoutReference, Reference, Sources};

use crate::cli::Bundle;
use crate::push::{self, access};
pub use contents::{Contents, Origin, Part};
pub use error::BundleError;
pub use release::Source;
pub use signatures::{About, Says};
use write::Written;

/// Runs the verb.
///
/// # Errors
/// [`BundleError`]; an archive that was there is there still, and no folder and no registry lists
/// anything new.
pub fn run(arguments: &Bundle) -> Result<(), BundleError> {
    if matches!(arguments.output, Reference::Registry(_)) && !arguments.bases.is_empty() {
        return Err(BundleError::BasesForRegistry);
    }
    let places = Sources::new(access());
    let open = |reference: &Reference| -> Result<Source, BundleError> {
        Ok(Source { place: places.open(reference)?, reference: reference.clone() })
    };
    let sources = arguments.sources.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let bases = arguments.bases.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let architectures: Vec<String> =
        arguments.architectures.iter().map(|it| platform(it).architecture).collect();
    let releases = release::find(&sources, &architectures, tag_of(&arguments.output))?;
    let needs = release::needs(&releases, &bases)?;
    let contents = Contents::collect(releases, needs, Unsigned::Refuse)?;
    let written = match &arguments.output {
        Reference::Layout(layout) => write::write(&contents, layout)?,
        Reference::Registry(registry) => {
            let repository = places.repository(registry).map_err(gybe_oci::SourceError::from)?;
            let near = sources.iter().find_map(|source| source.beside(registry));
            Written::of(push::push(&contents, &repository, near)?)
        }
    };
    report::report(&contents, &written, arguments)
}

/// Everything of the release that has this tag in a layout, signed or not.
///
/// # Errors
/// [`BundleError`]: it is not there, or no release.
pub fn whole(source: &[Source]) -> Result<Contents<'_>, BundleError> {
    let releases = release::find(source, &[], None)?;
    let needs = release::needs(&releases, &[])?;
    Contents::collect(releases, needs, Unsigned::Accept)
}

/// What is done about a release that nobody signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// It is of no use to any device.
    Refuse,
    /// It may be signed later, where it is then.
    Accept,
}

fn tag_of(reference: &Reference) -> Option<&str> {
    match reference {
        Reference::Layout(LayoutReference { tag, .. }) => tag.as_deref(),
        Reference::Registry(registry) => registry.tag.as_deref(),
    }
}
