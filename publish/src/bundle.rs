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
use gybe_oci::Layout;

use crate::cli::Bundle;
pub use contents::{Contents, Origin, Part};
pub use error::BundleError;
use release::Source;
pub use signatures::{About, Says};

/// Runs the verb.
///
/// # Errors
/// [`BundleError`]; an archive that was there is there still, and no folder lists anything new.
pub fn run(arguments: &Bundle) -> Result<(), BundleError> {
    let open = |reference: &gybe_oci::LayoutReference| -> Result<Source, BundleError> {
        Ok(Source { layout: Layout::open(reference)?, reference: reference.clone() })
    };
    let sources = arguments.sources.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let bases = arguments.bases.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let architectures: Vec<String> =
        arguments.architectures.iter().map(|it| platform(it).architecture).collect();
    let releases = release::find(&sources, &architectures, arguments.output.tag.as_deref())?;
    let needs = release::needs(&releases, &bases)?;
    let contents = Contents::collect(releases, needs)?;
    let written = write::write(&contents, &arguments.output)?;
    report::report(&contents, &written, arguments)
}
