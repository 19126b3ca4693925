//! What is sealed: an image, a folder or a tar file as root, and what boots it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use gybe_core::digest::Digest;
use gybe_image::bootc::{self, Bootable, Labels, Outside};
use gybe_image::image::{Image, platform};
use gybe_image::layers::{self, Options};
use gybe_image::tree::Tree;
use gybe_image::{Spool, folder, listing};
use gybe_oci::{Layout, Reference};

use super::SealError;
use super::progress::Bars;
use crate::cli::Seal;
use crate::output;

/// A root file system that was read, whatever it was read from.
pub(super) struct Input {
    pub(super) tree: Tree,
    pub(super) contents: Spool,
    /// As OCI spells it.
    pub(super) architecture: String,
    /// What is said to be the digest of the source.
    pub(super) source_digest: Digest,
    labels: BTreeMap<String, String>,
    must_be_labelled: Labels,
    wanted: String,
}

/// What boots the root.
pub(super) enum Boot {
    /// This, in a target of its own.
    Target(Bootable),
    /// Something that is no part of the release, with these arguments.
    Elsewhere { kargs: Vec<String> },
}

/// What boots the root and lies beside it, where that was given: looked at before the long part.
pub(super) fn outside(arguments: &Seal) -> Result<Option<Outside>, SealError> {
    let (Some(kernel), Some(initramfs)) = (&arguments.kernel, &arguments.initramfs) else {
        return Ok(None);
    };
    Ok(Some(Outside::find(kernel, initramfs, arguments.dtb.as_deref())?))
}

/// Reads the root. This is one of the two long parts.
pub(super) fn open(arguments: &Seal, bars: &Bars) -> Result<Input, SealError> {
    match (&arguments.image, &arguments.rootfs) {
        (Some(image), _) => open_image(image, arguments, bars),
        (None, Some(rootfs)) => open_rootfs(rootfs, arguments, bars),
        (None, None) => Err(SealError::NoInput),
    }
}

fn open_image(source: &Reference, arguments: &Seal, bars: &Bars) -> Result<Input, SealError> {
    let layout = Layout::open(source)?;
    let arch = arguments.arch.as_deref();
    let image = Image::open(&layout, source.tag.as_deref(), arch)?;
    let architecture = image.config.platform.architecture.clone();
    let (tree, contents) = layers::load(&layout, &image, &Options::default(), &|progress| {
        bars.layers(progress.done, progress.total);
    })?;
    let wanted = arch.map_or_else(|| architecture.clone(), |arch| platform(arch).architecture);
    let optional = arguments.allow_unlabelled;
    Ok(Input {
        tree,
        contents,
        architecture,
        source_digest: image.resolved.descriptor.digest,
        labels: image.config.labels,
        must_be_labelled: if optional { Labels::Optional } else { Labels::Required },
        wanted,
    })
}

fn open_rootfs(path: &Path, arguments: &Seal, bars: &Bars) -> Result<Input, SealError> {
    // Nothing in a tar file or folder says it for certain.
    let arch = arguments.arch.as_deref().ok_or(SealError::NoArchitecture)?;
    let architecture = platform(arch).architecture;
    let read = |cause| SealError::Rootfs { path: path.to_owned(), cause };
    let options = Options::default();
    let kind = fs::metadata(path).map_err(read)?.file_type();
    let (tree, contents, source_digest) = if kind.is_dir() {
        let folder = folder::load(path, &options)?;
        for socket in &folder.skipped {
            output::talk(format_args!("left out, a socket: {}", socket.display()));
        }
        let digest = listing::digest(&folder.tree);
        (folder.tree, folder.spool, digest)
    } else if kind.is_file() {
        let file = File::open(path).map_err(read)?;
        let archive = layers::load_archive(file, &options, &|progress| {
            bars.layers(progress.done, progress.total);
        });
        archive
            .map_err(|cause| SealError::Archive { path: path.to_owned(), cause: Box::new(cause) })?
    } else {
        return Err(SealError::RootfsKind { path: path.to_owned() });
    };
    Ok(Input {
        tree,
        contents,
        wanted: architecture.clone(),
        architecture,
        source_digest,
        labels: BTreeMap::new(),
        must_be_labelled: Labels::Optional,
    })
}

impl Input {
    /// Checks the root as bootc does, and finds what boots it: `outside`, or in the root itself.
    pub(super) fn boot(
        &mut self,
        outside: Option<Outside>,
        arguments: &Seal,
    ) -> Result<Boot, SealError> {
        let outside = outside.map(|outside| outside.take(&mut self.contents)).transpose()?;
        let image = bootc::Image {
            tree: &self.tree,
            contents: &self.contents,
            architecture: &self.architecture,
            labels: &self.labels,
        };
        let (wanted, labels) = (&self.wanted, self.must_be_labelled);
        Ok(match outside {
            _ if arguments.no_boot => {
                Boot::Elsewhere { kargs: bootc::check_without_boot(image, wanted, labels)? }
            }
            Some(files) => Boot::Target(files.check(image, wanted, labels)?),
            None => Boot::Target(bootc::check(image, wanted, labels)?),
        })
    }
}

impl Boot {
    /// Arguments for the kernel, in order.
    pub(super) fn kargs(&self) -> &[String] {
        match self {
            Self::Target(bootable) => &bootable.kargs,
            Self::Elsewhere { kargs } => kargs,
        }
    }

    /// The kernel's version, if it is part of the release.
    pub(super) fn kernel_version(&self) -> Option<&str> {
        match self {
            Self::Target(bootable) => Some(&bootable.kernel_version),
            Self::Elsewhere { .. } => None,
        }
    }
}
