//! Where a release goes: into a folder, or through one into a registry.

use std::path::PathBuf;

use gybe_oci::{LayoutReference, Reference, RegistryReference, SourceError, Sources, Transport};
use tempfile::TempDir;

use super::SealError;
use crate::bundle::{self, Source};
use crate::push::{self, access};
use crate::sign::directory_name;

/// The tag of a release in a folder of its own.
const TAG: &str = "release";

/// Where a release goes.
pub(super) enum Output {
    /// A folder.
    Folder(LayoutReference),
    /// A folder that is removed once all of it is in a registry.
    Registry { folder: LayoutReference, to: RegistryReference, _held: TempDir },
}

impl Output {
    /// Where `reference` leads, if that can be written.
    pub(super) fn open(reference: &Reference) -> Result<Self, SealError> {
        match reference {
            Reference::Layout(layout) if layout.transport == Transport::Directory => {
                Ok(Self::Folder(layout.clone()))
            }
            Reference::Registry(to) if to.digest.is_none() => {
                let held = tempfile::tempdir().map_err(SealError::Temporary)?;
                let path: PathBuf = held.path().to_owned();
                // Without a tag it is listed under one here, and pushed by digest only.
                let tag = Some(to.tag.clone().unwrap_or_else(|| TAG.to_owned()));
                let folder = LayoutReference { transport: Transport::Directory, path, tag };
                Ok(Self::Registry { folder, to: to.clone(), _held: held })
            }
            _ => Err(SealError::Output { name: reference.to_string() }),
        }
    }

    /// The folder that it is written to.
    pub(super) const fn folder(&self) -> &LayoutReference {
        match self {
            Self::Folder(folder) | Self::Registry { folder, .. } => folder,
        }
    }

    /// What signatures call the repository.
    pub(super) fn repository(&self) -> String {
        match self {
            Self::Folder(folder) => directory_name(&folder.path),
            Self::Registry { to, .. } => to.name(),
        }
    }

    /// Brings it to the registry, if that is where it goes.
    pub(super) fn finish(&self) -> Result<(), SealError> {
        let Self::Registry { folder, to, .. } = self else { return Ok(()) };
        let places = Sources::new(access());
        let reference = Reference::Layout(folder.clone());
        let place = places.open(&reference).map_err(bundle::BundleError::from)?;
        let source = [Source { place, reference }];
        let mut contents = bundle::whole(&source)?;
        if to.tag.is_none() {
            contents.untag();
        }
        let repository = places.repository(to);
        let repository =
            repository.map_err(SourceError::from).map_err(bundle::BundleError::from)?;
        push::push(&contents, &repository, None).map_err(bundle::BundleError::from)?;
        Ok(())
    }
}
