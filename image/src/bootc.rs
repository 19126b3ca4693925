//! Checks an image as bootc does, and finds what boots it: kernel, initramfs, device trees, arguments.
//!
//! Source: bootc, `docs/src/bootc-images.md`, `docs/src/building/kernel-arguments.md`, and
//! ostree-ext `bootabletree.rs` for which directory is the kernel's.

use std::collections::{BTreeMap, BTreeSet};

use gybe_core::block::BLOCK_LEN_U64;

use crate::content::{Content, ReadContent};
use crate::tree::{Kind, NodeId, Tree};

pub mod kargs;
pub(crate) mod kernel;
mod outside;
mod resolve;
#[cfg(test)]
mod tests;

use kargs::KargsError;
pub use outside::{Outside, OutsideError, Taken};
use resolve::ResolveError;

/// Labels of which a bootable image has one. Their values say nothing.
pub const LABELS: [&str; 2] = ["containers.bootc", "ostree.bootable"];

const MODULES: &str = "usr/lib/modules";
const KERNEL: &str = "vmlinuz";
const INITRAMFS: &str = "initramfs.img";
const DEVICE_TREES: &str = "dtb";

/// Most device trees of an image.
const DEVICE_TREES_MAX: usize = 4096;
/// Deepest directory of device trees.
const DEVICE_TREE_DEPTH_MAX: usize = 6;

/// An image to be checked.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Its root file system.
    pub tree: &'a Tree,
    /// The bytes of its files.
    pub contents: &'a dyn ReadContent,
    /// Its architecture, as its OCI config says it: `amd64`, `arm64`.
    pub architecture: &'a str,
    /// The labels of its OCI config.
    pub labels: &'a BTreeMap<String, String>,
}

impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("architecture", &self.architecture).finish_non_exhaustive()
    }
}

/// Whether an image must say of itself that it is bootable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// One of [`LABELS`] must be there.
    Required,
    /// None need be: for roots made by mmdebstrap or Yocto (`--allow-unlabelled`).
    Optional,
}

/// What boots an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootable {
    /// Name of the kernel's directory below `/usr/lib/modules`.
    pub kernel_version: String,
    /// `vmlinuz`.
    pub kernel: Content,
    /// `initramfs.img`.
    pub initramfs: Content,
    /// Everything below `dtb`, by path there, in order.
    pub device_trees: BTreeMap<String, Content>,
    /// Arguments for the kernel, in order.
    pub kargs: Vec<String>,
}

impl Bootable {
    /// Takes the initramfs out of `tree`, which is the root's: the boot target has it. Gives its path,
    /// without a slash in front, if it was there.
    pub fn leave_out_initramfs(&self, tree: &mut Tree) -> Option<String> {
        let path = format!("{MODULES}/{}", self.kernel_version);
        let directory = tree.find(path.as_bytes())?;
        let id = tree.entry(directory, INITRAMFS.as_bytes())?;
        match &tree.node(id).kind {
            Kind::File(content) if content.digest == self.initramfs.digest => {
                tree.remove(directory, INITRAMFS.as_bytes())?;
                Some(format!("{path}/{INITRAMFS}"))
            }
            _ => None,
        }
    }
}

/// Checks `image`, which must be for the OCI architecture `architecture`.
///
/// # Errors
/// What a device could not boot; [`BootcError`] says what is missing or too much, and where.
pub fn check(image: Image<'_>, architecture: &str, labels: Labels) -> Result<Bootable, BootcError> {
    check_image(image, architecture, labels)?;
    let tree = image.tree;
    let (kernel_version, directory) = kernel_directory(tree)?;
    let file = |name: &str| {
        let path = format!("{MODULES}/{kernel_version}/{name}");
        match resolve::file(tree, path.as_bytes()) {
            Ok(content) if content.len == 0 => Err(BootcError::Empty { path }),
            Ok(content) => Ok(content.clone()),
            Err(cause) => Err(BootcError::File { path, cause }),
        }
    };
    let kernel = file(KERNEL)?;
    if tree.entry(directory, INITRAMFS.as_bytes()).is_none() {
        return Err(BootcError::NoInitramfs { kernel_version });
    }
    let initramfs = file(INITRAMFS)?;
    check_block_len(image.contents, &kernel_version, &kernel)?;
    Ok(Bootable {
        device_trees: device_trees(tree, directory, &kernel_version)?,
        kargs: kargs::read(tree, image.contents, architecture)?,
        kernel_version,
        kernel,
        initramfs,
    })
}

/// Checks what does not depend on where the kernel comes from.
fn check_image(image: Image<'_>, architecture: &str, labels: Labels) -> Result<(), BootcError> {
    if labels == Labels::Required && !LABELS.iter().any(|key| image.labels.contains_key(*key)) {
        return Err(BootcError::Unlabelled);
    }
    if image.architecture != architecture {
        return Err(BootcError::Architecture {
            found: image.architecture.into(),
            expected: architecture.into(),
        });
    }
    let tree = image.tree;
    if [b"etc".as_slice(), b"usr/etc"].iter().all(|path| tree.find(path).is_some()) {
        return Err(BootcError::TwoEtc);
    }
    Ok(())
}

/// Checks an image that is booted by what does not lie in it. Gives the arguments for the kernel,
/// in order.
///
/// # Errors
/// As [`check`], but for kernel, initramfs and device trees.
pub fn check_without_boot(
    image: Image<'_>,
    architecture: &str,
    labels: Labels,
) -> Result<Vec<String>, BootcError> {
    check_image(image, architecture, labels)?;
    Ok(kargs::read(image.tree, image.contents, architecture)?)
}

/// The one directory that holds a kernel.
fn kernel_directory(tree: &Tree) -> Result<(String, NodeId), BootcError> {
    let entries = tree
        .find(MODULES.as_bytes())
        .and_then(|modules| tree.node(modules).entries())
        .ok_or(BootcError::NoModules)?;
    let directories: Vec<_> = entries
        .iter()
        .filter(|(_, id)| tree.node(**id).is_directory())
        .map(|(name, id)| (name.escape_ascii().to_string(), *id))
        .collect();
    let with_kernel: Vec<_> =
        directories.iter().filter(|(_, id)| tree.entry(*id, KERNEL.as_bytes()).is_some()).collect();
    let names = |found: &[&(String, NodeId)]| {
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    };
    match with_kernel.as_slice() {
        [(name, id)] => Ok((name.clone(), *id)),
        [] if directories.iter().any(|(name, id)| is_sealed(tree, name, *id)) => {
            Err(BootcError::Sealed)
        }
        [] => {
            let found = names(&directories.iter().collect::<Vec<_>>());
            Err(BootcError::NoKernel {
                found: if found.is_empty() { "none".into() } else { found },
            })
        }
        several => Err(BootcError::SeveralKernels { found: names(several) }),
    }
}

/// Whether the kernel is a unified one, which holds a digest of another root than ours.
fn is_sealed(tree: &Tree, kernel_version: &str, directory: NodeId) -> bool {
    let unified = tree.find(format!("boot/EFI/Linux/{kernel_version}.efi").as_bytes()).is_some();
    let beside = tree.node(directory).entries();
    unified || beside.is_some_and(|names| names.keys().any(|name| name.ends_with(b".efi")))
}

/// Kernels with larger pages read a file system of smaller blocks only since Linux 6.4.
fn check_block_len(
    contents: &dyn ReadContent,
    kernel_version: &str,
    content: &Content,
) -> Result<(), BootcError> {
    let page_len = match kernel::page_len(contents, content) {
        Ok(Some(page_len)) => Some(page_len),
        Ok(None) => kernel::page_len_by_name(kernel_version),
        Err(cause) => {
            let path = format!("{MODULES}/{kernel_version}/{KERNEL}");
            return Err(BootcError::Read { path, cause });
        }
    };
    match (page_len, kernel::release(kernel_version)) {
        (Some(page_len), Some(release))
            if page_len > BLOCK_LEN_U64 && release < kernel::SMALL_BLOCKS_SINCE =>
        {
            Err(BootcError::LargePages { kernel_version: kernel_version.into(), page_len })
        }
        _ => Ok(()),
    }
}

/// All files below `dtb`, links between them followed.
fn device_trees(
    tree: &Tree,
    directory: NodeId,
    kernel_version: &str,
) -> Result<BTreeMap<String, Content>, BootcError> {
    let mut found = BTreeMap::new();
    let Some(top) = tree.entry(directory, DEVICE_TREES.as_bytes()) else { return Ok(found) };
    let base = format!("{MODULES}/{kernel_version}/{DEVICE_TREES}");
    let mut open = vec![(String::new(), top, 0_usize)];
    let mut met = BTreeSet::new();
    while let Some((below, id, depth)) = open.pop() {
        let Some(entries) = tree.node(id).entries() else { continue };
        if !met.insert(id) || depth > DEVICE_TREE_DEPTH_MAX {
            return Err(BootcError::DeviceTreeDepth { limit: DEVICE_TREE_DEPTH_MAX });
        }
        for (name, child) in entries {
            let name = std::str::from_utf8(name).map_err(|_| BootcError::DeviceTreeName {
                path: format!("{base}{below}/{}", name.escape_ascii()),
            })?;
            let below = format!("{below}/{name}");
            let path = format!("{base}{below}");
            match &tree.node(*child).kind {
                Kind::Directory(_) => open.push((below, *child, depth.saturating_add(1))),
                _ => {
                    let content = resolve::file(tree, path.as_bytes())
                        .map_err(|cause| BootcError::File { path, cause })?;
                    found.insert(below.trim_start_matches('/').to_owned(), content.clone());
                }
            }
            if found.len() > DEVICE_TREES_MAX {
                let limit = DEVICE_TREES_MAX;
                return Err(BootcError::DeviceTrees { found: found.len(), limit });
            }
        }
    }
    Ok(found)
}

/// Why an image cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootcError {
    /// Neither label is there.
    #[error("image has neither the label containers.bootc nor ostree.bootable")]
    Unlabelled,
    /// It is for another machine.
    #[error("image has architecture {found}, expected {expected}")]
    Architecture {
        /// What its config says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// Only one of the two may be in an image.
    #[error("image has both /etc and /usr/etc")]
    TwoEtc,
    /// There is no directory of kernels.
    #[error("image has no directory /usr/lib/modules")]
    NoModules,
    /// No directory holds a kernel.
    #[error("no directory of /usr/lib/modules has a vmlinuz (directories: {found})")]
    NoKernel {
        /// Names of the directories that are there.
        found: String,
    },
    /// More than one directory holds a kernel.
    #[error("found multiple subdirectories with a vmlinuz in /usr/lib/modules: {found}")]
    SeveralKernels {
        /// Their names.
        found: String,
    },
    /// The kernel is sealed for another updater.
    #[error(
        "image has a unified kernel (*.efi) and no vmlinuz: it is sealed for a root of its own, \
         which gybe cannot make"
    )]
    Sealed,
    /// There is no initramfs beside the kernel.
    #[error("/usr/lib/modules/{kernel_version} has no initramfs.img")]
    NoInitramfs {
        /// Name of the kernel's directory.
        kernel_version: String,
    },
    /// A file that a device boots from is none.
    #[error("/{path}: {cause}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong.
        cause: ResolveError,
    },
    /// A file that a device boots from has no bytes.
    #[error("/{path} is empty")]
    Empty {
        /// Its path.
        path: String,
    },
    /// A file could not be read.
    #[error("/{path}: {cause}")]
    Read {
        /// Its path.
        path: String,
        /// What the medium says.
        cause: std::io::Error,
    },
    /// The kernel cannot mount a file system of 4096-byte blocks.
    #[error(
        "kernel {kernel_version} has pages of {page_len} bytes and is older than 6.4, so it \
         cannot mount blocks of 4096 bytes"
    )]
    LargePages {
        /// Name of the kernel's directory.
        kernel_version: String,
        /// Length of its pages.
        page_len: u64,
    },
    /// There are too many device trees.
    #[error("image has {found} device trees or more, limit {limit}")]
    DeviceTrees {
        /// How many were found when the limit was crossed.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Directories of device trees are nested too deep.
    #[error("device trees lie deeper than {limit} directories")]
    DeviceTreeDepth {
        /// The limit.
        limit: usize,
    },
    /// The boot target holds names as Unicode.
    #[error("name of device tree /{path} is not UTF-8")]
    DeviceTreeName {
        /// Its path, escaped.
        path: String,
    },
    /// A file of kernel arguments is wrong.
    #[error(transparent)]
    Kargs(#[from] KargsError),
}
