//! What is sealed: an image, a folder or a tar file as root, and what boots it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use gybe_core::digest::Digest;
use gybe_image::bootc::{self, Bootable, Labels, Outside};
use gybe_image::image::{Image, platform};
use gybe_image::layers::{self, Options, Progress};
use gybe_image::tree::Tree;
use gybe_image::{Spool, folder, listing};
use gybe_oci::{Layout, LayoutReference};

use super::SealError;
use super::progress::Bars;
use crate::cli::Seal;
use crate::output;

/// What is sealed, as far as it can be known before the long part.
pub(super) struct Source<'a> {
    arguments: &'a Seal,
    /// As OCI spells it.
    architecture: String,
    root: Root<'a>,
    /// What boots the root and lies beside it.
    outside: Option<Outside>,
}

enum Root<'a> {
    Image(Layout, Box<Image>),
    Folder(&'a Path),
    Archive(&'a Path, File),
}

/// A root file system that was read, whatever it was read from, and what boots it.
pub(super) struct Input {
    pub(super) tree: Tree,
    pub(super) contents: Spool,
    pub(super) architecture: String,
    /// What is said to be the digest of the source.
    pub(super) source_digest: Digest,
    pub(super) boot: Boot,
}

/// What boots the root.
pub(super) enum Boot {
    /// This, in a target of its own.
    Target(Bootable),
    /// Something that is no part of the release, with these arguments.
    Elsewhere { kargs: Vec<String> },
}

impl<'a> Source<'a> {
    pub(super) fn open(arguments: &'a Seal) -> Result<Self, SealError> {
        let outside = match (&arguments.kernel, &arguments.initramfs) {
            (Some(kernel), Some(initramfs)) => {
                Some(Outside::find(kernel, initramfs, arguments.dtb.as_deref())?)
            }
            _ => None,
        };
        let (root, architecture) = match (&arguments.image, &arguments.rootfs) {
            (Some(image), _) => open_image(image, arguments.arch.as_deref())?,
            (None, Some(rootfs)) => open_rootfs(rootfs, arguments.arch.as_deref())?,
            (None, None) => return Err(SealError::NoInput),
        };
        Ok(Self { arguments, architecture, root, outside })
    }

    /// What the root is for, as OCI spells it.
    pub(super) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Reads the root, and checks it as bootc does. This is one of the two long parts.
    pub(super) fn read(self, bars: &Bars) -> Result<Input, SealError> {
        let Self { arguments, architecture, root, outside } = self;
        let options = Options::default();
        let progress = |progress: Progress| bars.layers(progress.done, progress.total);
        let (mut labels, mut must_be_labelled) = (BTreeMap::new(), Labels::Optional);
        let (tree, mut contents, source_digest) = match root {
            Root::Image(layout, image) => {
                let (tree, contents) = layers::load(&layout, &image, &options, &progress)?;
                if !arguments.allow_unlabelled {
                    must_be_labelled = Labels::Required;
                }
                labels = image.config.labels;
                (tree, contents, image.resolved.descriptor.digest)
            }
            Root::Folder(path) => {
                let folder = folder::load(path, &options)?;
                for socket in &folder.skipped {
                    output::talk(format_args!("left out, a socket: {}", socket.display()));
                }
                let digest = listing::digest(&folder.tree);
                (folder.tree, folder.spool, digest)
            }
            Root::Archive(path, file) => {
                layers::load_archive(file, &options, &progress).map_err(|cause| {
                    SealError::Archive { path: path.to_owned(), cause: Box::new(cause) }
                })?
            }
        };
        let outside = outside.map(|outside| outside.take(&mut contents)).transpose()?;
        let wanted = match &arguments.arch {
            Some(arch) => platform(arch).architecture,
            None => architecture.clone(),
        };
        let image = bootc::Image {
            tree: &tree,
            contents: &contents,
            architecture: &architecture,
            labels: &labels,
        };
        let boot = match outside {
            _ if arguments.no_boot => Boot::Elsewhere {
                kargs: bootc::check_without_boot(image, &wanted, must_be_labelled)?,
            },
            Some(files) => Boot::Target(files.check(image, &wanted, must_be_labelled)?),
            None => Boot::Target(bootc::check(image, &wanted, must_be_labelled)?),
        };
        Ok(Input { tree, contents, architecture, source_digest, boot })
    }
}

fn open_image<'a>(
    source: &LayoutReference,
    arch: Option<&str>,
) -> Result<(Root<'a>, String), SealError> {
    let layout = Layout::open(source)?;
    let image = Image::open(&layout, source.tag.as_deref(), arch)?;
    let architecture = image.config.platform.architecture.clone();
    Ok((Root::Image(layout, Box::new(image)), architecture))
}

fn open_rootfs<'a>(path: &'a Path, arch: Option<&str>) -> Result<(Root<'a>, String), SealError> {
    // Nothing in a tar file or folder says it for certain.
    let arch = arch.ok_or(SealError::NoArchitecture)?;
    let read = |cause| SealError::Rootfs { path: path.to_owned(), cause };
    let kind = fs::metadata(path).map_err(read)?.file_type();
    let root = if kind.is_dir() {
        Root::Folder(path)
    } else if kind.is_file() {
        Root::Archive(path, File::open(path).map_err(read)?)
    } else {
        return Err(SealError::RootfsKind { path: path.to_owned() });
    };
    Ok((root, platform(arch).architecture))
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
