//! The other slot's root, mounted for a moment to see what its `/etc` was.
//!
//! It is opened through dm-verity with the root hash of the release that its trailer holds, and only
//! if that release is signed by a key that the running image trusts.

use std::fs;
use std::path::{Path, PathBuf};

use gybe_core::digest::Digest;
use gybe_core::slot::Slot;
use gybe_core::trust::Device;
use gybe_core::verity::Geometry;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::mounting;
use crate::config::{Config, SlotPaths};
use crate::device::identity::{DeviceNumber, Identity};
use crate::device::mapper::{self, Verity};
use crate::device::slots::locate;
use crate::device::sysfs::Sysfs;
use crate::release::{Held, architecture};
use crate::root::Root;
use crate::trust::{Trust, TrustError};

/// What the device mapper calls it.
const NAME: &str = "gybe-other";
/// Where it is mounted.
const POINT: &str = "/run/gybe/other";
const ROOT_TARGET: &str = "root";

/// The other slot's root, as long as it is mounted.
#[derive(Debug)]
pub(super) struct OtherRoot;

impl OtherRoot {
    /// Mounts the root of `slot`, which lies on `disk`, as the configuration of the running root at
    /// `folder` describes it.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn open(
        sysfs: &Sysfs,
        folder: &Path,
        slot: Slot,
        disk: DeviceNumber,
    ) -> Result<Self, String> {
        let words = |cause: &dyn std::fmt::Display| cause.to_string();
        let root = Root::below(folder.to_owned());
        let config = Config::load(&root).map_err(|cause| words(&cause))?;
        let SlotPaths { root: partition, boot } = config.slot(slot);
        let locate = |path: &PathBuf| locate(sysfs, path, Some(disk));
        let paths = locate(partition)
            .and_then(|root| Ok(SlotPaths { root, boot: boot.as_ref().map(locate).transpose()? }));
        let paths = paths.map_err(|cause| words(&cause))?;
        let (root_hash, geometry) =
            signed_root(&root, &config, &paths).map_err(|cause| words(&cause))?;
        let on = match Identity::at(&paths.root) {
            Ok(Identity::Device(number)) => number,
            Ok(Identity::File { .. }) => return Err("its root is no device".into()),
            Err(cause) => return Err(words(&cause)),
        };
        let verity = Verity { name: NAME, on, root_hash: &root_hash, geometry };
        mapper::open(&verity).map_err(|cause| words(&cause))?;
        let point = Path::new(POINT);
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let device = Path::new(mapper::FOLDER).join(NAME);
        let mounted = fs::create_dir_all(point).map_err(|cause| words(&cause)).and_then(|()| {
            mounting::mount_at(&device, "erofs", point, flags, "").map_err(|cause| words(&cause))
        });
        if mounted.is_err() {
            // Why it was not mounted says more than why it is still open.
            let _ = mapper::close(NAME);
        }
        mounted.map(|()| Self)
    }

    /// Its `/etc`.
    pub(super) fn etc(&self) -> PathBuf {
        Path::new(POINT).join("etc")
    }

    /// Unmounts it. Left behind it would keep the slot from being written.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) fn close(self) -> Result<(), String> {
        umount2(Path::new(POINT), MntFlags::empty()).map_err(|cause| cause.to_string())?;
        // An empty folder in memory is in nobody's way.
        let _ = fs::remove_dir(POINT);
        mapper::close(NAME).map_err(|cause| cause.to_string())
    }
}

/// The root hash that was signed for what lies in `paths`, and where the tree is.
fn signed_root(
    root: &Root,
    config: &Config,
    paths: &SlotPaths,
) -> Result<(Digest, Geometry), OtherError> {
    let held = Held::read(paths)?;
    if !held.is_proven() {
        return Err(OtherError::NotProven);
    }
    let trust = Trust::load(root)?;
    let compatible = &config.compatible;
    let device = Device { compatible, architecture: architecture(), floor: 0 };
    let policy = trust.policy(device)?;
    let release = held.package.open(&policy).map_err(OtherError::Refused)?;
    let mut targets = release.config().targets.iter();
    let target = targets.find(|target| target.name == ROOT_TARGET).ok_or(OtherError::NoRoot)?;
    let geometry = Geometry::new(target.blocks).ok_or(OtherError::NoRoot)?;
    Ok((target.root_hash, geometry))
}

/// Why the other slot's root is not known.
#[derive(Debug, thiserror::Error)]
enum OtherError {
    #[error(transparent)]
    Held(#[from] crate::release::HeldError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("it does not hold a whole release")]
    NotProven,
    #[error("what it holds is refused: {0}")]
    Refused(crate::release::Refusal),
    #[error("its release has no root")]
    NoRoot,
}
