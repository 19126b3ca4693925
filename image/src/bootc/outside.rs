//! Kernel, initramfs and device trees that do not lie in the image, but beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{
    Bootable, BootcError, DEVICE_TREE_DEPTH_MAX, DEVICE_TREES_MAX, Image, Labels, MODULES,
    check_block_len, check_without_boot,
};
use crate::content::Content;
use crate::spool::{AddError, Spool};
use crate::tree::Tree;

/// Where kernel modules lie in a root that is not merged into `/usr`.
const MODULES_UNMERGED: &str = "lib/modules";

/// Files of the build host that boot an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    kernel: PathBuf,
    initramfs: PathBuf,
    /// By their paths below the folder that was given.
    device_trees: BTreeMap<String, PathBuf>,
}

/// The same, in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    kernel_name: String,
    kernel: Content,
    initramfs: Content,
    device_trees: BTreeMap<String, Content>,
}

impl Outside {
    /// Looks at the files, and for device trees in the folder `dtb`, links followed.
    ///
    /// # Errors
    /// [`OutsideError`] names what is not a file, or is empty.
    pub fn find(kernel: &Path, initramfs: &Path, dtb: Option<&Path>) -> Result<Self, OutsideError> {
        for path in [kernel, initramfs] {
            let stat = fs::metadata(path).map_err(|cause| read(path, cause))?;
            if !stat.is_file() || stat.len() == 0 {
                return Err(OutsideError::NoFile { path: path.to_owned() });
            }
        }
        Ok(Self {
            kernel: kernel.to_owned(),
            initramfs: initramfs.to_owned(),
            device_trees: dtb.map(device_trees).transpose()?.unwrap_or_default(),
        })
    }

    /// Copies the files to the spool.
    ///
    /// # Errors
    /// [`AddError`] names the file that cannot be copied.
    pub fn take(self, spool: &mut Spool) -> Result<Taken, AddError> {
        let kernel_name = self.kernel.file_name().unwrap_or_default().to_string_lossy();
        let boot = spool.add(&[self.kernel.clone(), self.initramfs])?;
        let (names, paths): (Vec<_>, Vec<_>) = self.device_trees.into_iter().unzip();
        let device_trees = names.into_iter().zip(spool.add(&paths)?).collect();
        let [kernel, initramfs] =
            <[Content; 2]>::try_from(boot).unwrap_or_else(|_| unreachable!("two files were added"));
        Ok(Taken { kernel_name: kernel_name.into_owned(), kernel, initramfs, device_trees })
    }
}

impl Taken {
    /// Checks `image`, which these files boot, as [`super::check`] checks one that has them.
    ///
    /// # Errors
    /// As [`super::check`].
    pub fn check(
        self,
        image: Image<'_>,
        architecture: &str,
        labels: Labels,
    ) -> Result<Bootable, BootcError> {
        let kargs = check_without_boot(image, architecture, labels)?;
        let kernel_version = modules_of(image.tree).unwrap_or(self.kernel_name);
        check_block_len(image.contents, &kernel_version, &self.kernel)?;
        Ok(Bootable {
            kernel_version,
            kernel: self.kernel,
            initramfs: self.initramfs,
            device_trees: self.device_trees,
            kargs,
        })
    }
}

/// The version of the only kernel that has modules in the tree.
fn modules_of(tree: &Tree) -> Option<String> {
    let directory = [MODULES, MODULES_UNMERGED].iter().find_map(|path| {
        let id = tree.find(path.as_bytes())?;
        tree.node(id).entries()
    })?;
    let mut names = directory.iter().filter(|(_, id)| tree.node(**id).is_directory());
    match (names.next(), names.next()) {
        (Some((name, _)), None) => String::from_utf8(name.clone()).ok(),
        _ => None,
    }
}

/// All files below a folder, by their paths in it.
fn device_trees(folder: &Path) -> Result<BTreeMap<String, PathBuf>, OutsideError> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), folder.to_owned(), 0_usize)];
    let mut count = 0_usize;
    while let Some((below, path, depth)) = open.pop() {
        if depth > DEVICE_TREE_DEPTH_MAX {
            return Err(OutsideError::Depth { path, limit: DEVICE_TREE_DEPTH_MAX });
        }
        for entry in fs::read_dir(&path).map_err(|cause| read(&path, cause))? {
            let path = entry.map_err(|cause| read(&path, cause))?.path();
            count = count.saturating_add(1);
            if count > DEVICE_TREES_MAX {
                return Err(OutsideError::DeviceTrees { path, limit: DEVICE_TREES_MAX });
            }
            let name = path.file_name().unwrap_or_default();
            let Some(name) = name.to_str() else { return Err(OutsideError::Name { path }) };
            let slash = if below.is_empty() { "" } else { "/" };
            let below = format!("{below}{slash}{name}");
            let stat = fs::metadata(&path).map_err(|cause| read(&path, cause))?;
            if stat.is_dir() {
                open.push((below, path, depth.saturating_add(1)));
            } else if stat.is_file() {
                found.insert(below, path);
            } else {
                return Err(OutsideError::NoFile { path });
            }
        }
    }
    Ok(found)
}

fn read(path: &Path, cause: io::Error) -> OutsideError {
    OutsideError::Read { path: path.to_owned(), cause }
}

/// Why files of the build host do not boot an image.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// One cannot be looked at.
    #[error("{}: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is something else, or has no bytes.
    #[error("{} is not a regular file with something in it", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// A device tree's name cannot be written to the boot target.
    #[error("{}: the name is not UTF-8", path.display())]
    Name {
        /// Which.
        path: PathBuf,
    },
    /// There are too many device trees.
    #[error("{}: more than {limit} device trees and folders", path.display())]
    DeviceTrees {
        /// The first that is too many.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// Device trees lie too deep.
    #[error("{} is more than {limit} folders deep", path.display())]
    Depth {
        /// Where.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
}
