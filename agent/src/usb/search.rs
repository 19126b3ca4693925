//! Where on a stick bundles are looked for: in its top folder and in `gybe`, and nowhere else.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use gybe_oci::{Layout, LayoutError};
use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Medium, UsbError};

/// Most bundles that are looked at on one stick.
pub const BUNDLES_MAX: usize = 16;
/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 4096;
/// The folder for bundles, or that is one.
const FOLDER: &str = "gybe";
/// How the names of bundles in one file end.
const ENDING: &[u8] = b".gybe.tar";
/// What every layout has.
const LAYOUT_FILE: &str = "oci-layout";

/// Something that may be a bundle.
#[derive(Debug)]
pub struct Bundle {
    /// The folder that it lies in.
    folder: OwnedFd,
    /// Its name there.
    entry: OsString,
    /// What it is called in messages.
    pub name: String,
}

impl Bundle {
    /// Opens it.
    ///
    /// # Errors
    /// It is not a layout, or damaged.
    pub fn open(&self) -> Result<Layout, LayoutError> {
        Layout::open_in(self.folder.as_fd(), &self.entry, &self.name)
    }
}

/// What may be a bundle on `medium`, in this order: the top folder itself, the folder `gybe`, files in
/// the top folder and files in `gybe` whose names end in `.gybe.tar`, by name. FAT does not mind case.
///
/// # Errors
/// [`UsbError::Folder`].
pub fn search(medium: &Medium) -> Result<Vec<Bundle>, UsbError> {
    let failed = |cause: nix::Error| UsbError::Folder {
        name: medium.name().to_owned(),
        cause: cause.into(),
    };
    let top = Listing::read(medium.folder()).map_err(failed)?;
    let mut found = Vec::new();
    let name = |parts: &[&OsStr]| {
        let parts: Vec<_> = parts.iter().map(|part| shown(part)).collect();
        format!("{}: {}", medium.name(), parts.join("/"))
    };
    let mut add = |folder: BorrowedFd<'_>, entry: &OsStr, name: String| -> Result<(), UsbError> {
        if found.len() < BUNDLES_MAX {
            let folder = folder.try_clone_to_owned();
            let folder = folder
                .map_err(|cause| UsbError::Folder { name: medium.name().to_owned(), cause })?;
            found.push(Bundle { folder, entry: entry.to_owned(), name });
        }
        Ok(())
    };
    let here = OsStr::new(".");
    if top.has(LAYOUT_FILE) {
        add(medium.folder(), here, medium.name().to_owned())?;
    }
    let mut inner = None;
    if let Some(entry) = top.entry(FOLDER)
        && let Ok(folder) = open_folder(medium.folder(), entry)
    {
        let listing = Listing::read(folder.as_fd()).map_err(failed)?;
        if listing.has(LAYOUT_FILE) {
            add(medium.folder(), entry, name(&[entry]))?;
        }
        inner = Some((folder, entry, listing));
    }
    for entry in top.archives() {
        add(medium.folder(), entry, name(&[entry]))?;
    }
    if let Some((folder, gybe, listing)) = &inner {
        for entry in listing.archives() {
            add(folder.as_fd(), entry, name(&[gybe, entry]))?;
        }
    }
    Ok(found)
}

/// A name as it may be shown on a console: a stranger chose it.
fn shown(name: &OsStr) -> String {
    let visible = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    name.to_string_lossy().chars().map(visible).collect()
}

fn open_folder(folder: BorrowedFd<'_>, entry: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(folder, entry, flags, Mode::empty())
}

/// The names in a folder that matter here, in order.
struct Listing(Vec<OsString>);

impl Listing {
    fn read(folder: BorrowedFd<'_>) -> nix::Result<Self> {
        // Opened anew: reading it moves on what else is open with it.
        let mut folder = Dir::from_fd(open_folder(folder, OsStr::new("."))?)?;
        let mut names = Vec::new();
        for entry in folder.iter().take(ENTRIES_MAX) {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name.eq_ignore_ascii_case(FOLDER)
                || name.eq_ignore_ascii_case(LAYOUT_FILE)
                || is_archive(name)
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(Self(names))
    }

    fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    fn entry(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().map(OsString::as_os_str).find(|entry| entry.eq_ignore_ascii_case(name))
    }

    fn archives(&self) -> impl Iterator<Item = &OsStr> {
        self.0.iter().map(OsString::as_os_str).filter(|name| is_archive(name))
    }
}

/// Files with a dot in front are what programs leave that copy files onto sticks.
fn is_archive(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let end = name.len().checked_sub(ENDING.len()).and_then(|at| name.get(at..));
    !name.starts_with(b".") && end.is_some_and(|end| end.eq_ignore_ascii_case(ENDING))
}
