//! Why an image is not sealed.

use std::io;
use std::path::PathBuf;

use gybe_image::AddError;
use gybe_image::base::BaseError;
use gybe_image::boot::{BootError, FilesError};
use gybe_image::bootc::{BootcError, OutsideError};
use gybe_image::erofs::LayoutError as ErofsError;
use gybe_image::folder::FolderError;
use gybe_image::image::ImageError;
use gybe_image::layers::LayersError;
use gybe_image::pack::PackError;
use gybe_oci::{LayoutError, OfferError};

use crate::bundle::BundleError;
use crate::sign::SignError;

/// Why an image is not sealed. Nothing is listed in the output then.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The output is not one that can be written.
    #[error(
        "cannot write to {name}: oci:DIR[:tag] and docker://HOST/REPOSITORY[:tag] can be written"
    )]
    Output {
        /// What was given.
        name: String,
    },
    /// No folder can be made for what goes to a registry.
    #[error("cannot make a temporary folder: {0}")]
    Temporary(io::Error),
    /// The release cannot be brought to the registry.
    #[error(transparent)]
    Push(Box<BundleError>),
    /// A name that devices would refuse.
    #[error("{option} is {name:?}: 1 to 128 visible ASCII characters without spaces are possible")]
    Name {
        /// The option.
        option: &'static str,
        /// What was given.
        name: String,
    },
    /// A layout cannot be read or written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The release to build on cannot be opened.
    #[error(transparent)]
    Earlier(#[from] OfferError),
    /// The image is not usable.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer is not usable.
    #[error(transparent)]
    Layers(#[from] LayersError),
    /// There is nothing to seal.
    #[error("nothing to seal: give --image or --rootfs")]
    NoInput,
    /// Nobody says which machine a root file system is for.
    #[error("--rootfs needs --arch: nothing in a folder or tar file says which machine it is for")]
    NoArchitecture,
    /// A root file system cannot be read.
    #[error("{}: {cause}", path.display())]
    Rootfs {
        /// The folder or tar file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A root file system is neither folder nor file.
    #[error("{} is neither a folder nor a tar file", path.display())]
    RootfsKind {
        /// What was given.
        path: PathBuf,
    },
    /// A folder is not usable.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A tar file is not usable.
    #[error("{}: {cause}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: Box<LayersError>,
    },
    /// Kernel, initramfs or device trees are not usable.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// Kernel, initramfs or device trees cannot be read.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The image is not one that boots.
    #[error(transparent)]
    Bootc(#[from] BootcError),
    /// Kernel or initramfs cannot be unpacked.
    #[error("{0}\nhint: --keep-boot-files takes kernel and initramfs as they are")]
    Files(#[from] FilesError),
    /// The root file system cannot be laid out.
    #[error(transparent)]
    Erofs(#[from] ErofsError),
    /// The boot target cannot be laid out.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The data cannot be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The earlier release cannot be built on.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The earlier release is for something else.
    #[error("base is for {what} {found:?}, this release for {expected:?}")]
    OtherBase {
        /// For what.
        what: &'static str,
        /// What the base says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Devices that committed to the base would refuse the release, or never take it by themselves.
    #[error("{option} is {found}, the base has {base}: {rule}")]
    Backwards {
        /// The option.
        option: &'static str,
        /// What was given.
        found: u64,
        /// What the base has.
        base: u64,
        /// What must be.
        rule: &'static str,
    },
    /// The release cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A document cannot be written.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The clock is before 1970, and no sequence was given.
    #[error("the clock is before 1970: give --sequence")]
    Clock,
    /// The file that says which MicroShift is in the image makes no sense.
    #[error("{path}: {why}")]
    MicroShift {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The release does not fit the slots that it is meant for.
    #[error("release needs a root partition of {needed} bytes, --max-slot is {limit}")]
    SlotTooSmall {
        /// How many bytes are needed, with hash tree and trailer.
        needed: u64,
        /// How many there are.
        limit: u64,
    },
    /// Nothing was packed: a fault in this program.
    #[error("there is no target")]
    NoTarget,
    /// A device would refuse the manifest.
    #[error("no device would accept this release: {why}")]
    OwnManifest {
        /// Why.
        why: String,
    },
    /// A device would refuse the configuration.
    #[error("no device would accept this release: {why}")]
    OwnConfig {
        /// Why.
        why: String,
    },
}

impl From<BundleError> for SealError {
    fn from(cause: BundleError) -> Self {
        Self::Push(Box::new(cause))
    }
}
