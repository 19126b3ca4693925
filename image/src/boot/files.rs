//! Kernel and initramfs of a boot target: unpacked where that makes updates smaller.
//!
//! A compressed file has no block in common with the next one, however little changed inside.

use std::collections::HashSet;
use std::fmt;

use gybe_core::digest::Digest;

use crate::bootc::Bootable;
use crate::bootc::kernel::{self, KERNEL_LEN_MAX};
use crate::compressed::{Format, UnpackError};
use crate::content::{Content, ReadContent};
use crate::initramfs::{self, INITRAMFS_LEN_MAX, Outcome};
use crate::target::{Source, Target};

/// The two files that every boot target has.
#[derive(Debug)]
pub struct Files {
    /// `vmlinuz`.
    pub kernel: BootFile,
    /// `initrd.img`.
    pub initramfs: BootFile,
    /// Digests of the files in the initramfs whose bodies begin at a block.
    inside: HashSet<Digest>,
    /// Whether the initramfs was looked into and has no agent: then nothing in it makes the mounts.
    pub lacks_agent: bool,
}

/// A file of the boot target.
#[derive(Debug)]
pub struct BootFile {
    /// Its bytes.
    pub source: Source,
    /// Their digest.
    pub digest: Digest,
    /// What was done to it.
    pub form: Form,
}

/// What was done to a file of the image on its way into the boot target.
#[derive(Debug)]
pub enum Form {
    /// Nothing: it is the same bytes.
    Kept,
    /// Nothing, because it is not what we know how to unpack.
    Left(initramfs::Reason),
    /// It was laid out without compression; the formats of what was compressed in it.
    Unpacked(Vec<Format>),
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("as in the image"),
            Self::Left(reason) => write!(f, "as in the image: {reason}"),
            Self::Unpacked(formats) if formats.is_empty() => f.write_str("never compressed"),
            Self::Unpacked(formats) => {
                let formats: Vec<_> = formats.iter().map(Format::to_string).collect();
                write!(f, "unpacked from {}", formats.join(" and "))
            }
        }
    }
}

impl Files {
    /// Both files as the image has them.
    #[must_use]
    pub fn kept(bootable: &Bootable) -> Self {
        Self {
            kernel: BootFile::kept(&bootable.kernel),
            initramfs: BootFile::kept(&bootable.initramfs),
            inside: HashSet::new(),
            lacks_agent: false,
        }
    }

    /// Unpacks both files, as far as that makes sense, for `architecture` as OCI spells it.
    ///
    /// # Errors
    /// When one is damaged, or unpacks to more than a device should hold.
    pub fn unpacked(
        bootable: &Bootable,
        architecture: &str,
        contents: &dyn ReadContent,
    ) -> Result<Self, FilesError> {
        let failed = |name| move |cause| FilesError { name, cause };
        let mut files = Self::kept(bootable);
        match kernel::unpack(contents, &bootable.kernel, architecture, KERNEL_LEN_MAX)
            .map_err(failed("kernel"))?
        {
            kernel::Outcome::Left => {}
            kernel::Outcome::Unpacked { spooled, digest, format } => {
                let source = Source::Spooled(spooled);
                files.kernel = BootFile { source, digest, form: Form::Unpacked(vec![format]) };
            }
        }
        match initramfs::unpack(contents, &bootable.initramfs, INITRAMFS_LEN_MAX)
            .map_err(failed("initramfs"))?
        {
            Outcome::Left(reason) => files.initramfs.form = Form::Left(reason),
            Outcome::Unpacked(unpacked) => {
                let form = Form::Unpacked(unpacked.formats);
                let source = Source::Spooled(unpacked.spooled);
                files.initramfs = BootFile { source, digest: unpacked.digest, form };
                files.inside = unpacked.files;
                files.lacks_agent = !unpacked.has_agent;
            }
        }
        Ok(files)
    }

    /// Whether the initramfs has other bytes here than in the image.
    #[must_use]
    pub const fn is_initramfs_unpacked(&self) -> bool {
        matches!(self.initramfs.form, Form::Unpacked(_))
    }

    /// Lets the root target be cut where the files in the initramfs are, so that both have the same
    /// chunks. It changes no byte of it.
    pub fn share_with(&self, root: &mut Target) {
        root.set_tails_apart(&self.inside);
    }
}

impl BootFile {
    fn kept(content: &Content) -> Self {
        let source = Source::Content(content.clone());
        Self { source, digest: content.digest, form: Form::Kept }
    }
}

/// Why a file that a device boots from cannot be laid out.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {cause}")]
pub struct FilesError {
    /// What it is: `kernel` or `initramfs`.
    pub name: &'static str,
    /// What is wrong with it.
    pub cause: UnpackError,
}
