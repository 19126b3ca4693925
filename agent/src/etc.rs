//! `/etc` is the image's, with what was changed on the device over it. The changes belong to a slot.
//!
//! ```text
//! /var/lib/gybe/etc/a/upper      what was changed while slot A ran
//!                    /work       overlayfs's own
//!                    /release    the root hash of the release that it belongs to
//!                    /conflicts/ what was changed and gave way to the image
//! ```
//!
//! The first boot of a release in a slot takes over the other slot's changes. Going back goes back
//! to the changes of before, too.

pub mod conflict;

mod merge;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use gybe_core::slot::Slot;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use tracing::warn;

use crate::replica;
use crate::root::Root;
use merge::{Trees, merge};

/// The folder of all of it, below `/var`.
const FOLDER: &str = "lib/gybe/etc";
const UPPER: &str = "upper";
const WORK: &str = "work";
const RELEASE: &str = "release";
const CONFLICTS: &str = "conflicts";
/// Longest name of a release that is read.
const RELEASE_LEN_MAX: u64 = 256;
/// The most conflicts that are told of.
const CONFLICTS_MAX: usize = 64;
/// The lower folder changes with each release, which overlayfs allows only without these.
const OPTIONS: &str = "redirect_dir=off,metacopy=off,index=off,xino=off";

/// The changes of one slot.
#[derive(Debug)]
pub struct Overlay {
    folder: PathBuf,
}

impl Overlay {
    /// Makes the folders that an overlay needs, where they are missing.
    ///
    /// # Errors
    /// What the system says.
    pub fn make(folder: &Path) -> io::Result<Self> {
        for name in [UPPER, WORK] {
            fs::create_dir_all(folder.join(name))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Mounts it over the `/etc` of an image, at `point`, which may be the same.
    ///
    /// # Errors
    /// What the system says.
    pub fn mount(&self, image: &Path, point: &Path) -> io::Result<()> {
        let upper = self.folder.join(UPPER);
        let work = self.folder.join(WORK);
        let options = format!(
            "lowerdir={},upperdir={},workdir={},{OPTIONS}",
            image.display(),
            upper.display(),
            work.display()
        );
        let overlay = Some("overlay");
        Ok(mount(overlay, point, overlay, MsFlags::empty(), Some(options.as_str()))?)
    }

    /// What gave way to the image, at most 64 paths below `/etc`.
    #[must_use]
    pub fn conflicts(&self) -> Vec<String> {
        let top = self.folder.join(CONFLICTS);
        let mut left = vec![top.clone()];
        let mut found = Vec::new();
        while let Some(path) = left.pop() {
            let Ok(entries) = replica::entries(&path) else { continue };
            for path in entries {
                if path.is_dir() && !path.is_symlink() {
                    left.push(path);
                } else if let Ok(name) = path.strip_prefix(&top) {
                    found.push(Path::new("/etc").join(name).display().to_string());
                }
                if found.len() >= CONFLICTS_MAX {
                    return found;
                }
            }
        }
        found
    }
}

/// How far the changes of a slot are.
#[derive(Debug)]
pub enum Changes {
    /// They belong to the release that runs.
    Ready(Overlay),
    /// They are still another release's.
    Pending(Pending),
}

/// Changes that are to be taken over from the other slot.
#[derive(Debug)]
pub struct Pending {
    all: PathBuf,
    image: PathBuf,
    slot: Slot,
    release: String,
}

/// Looks at the changes of `slot`, for the `release` whose root is at `root` with `/var` mounted.
///
/// # Errors
/// What the system says.
pub fn look(root: &Path, slot: Slot, release: &str) -> io::Result<Changes> {
    let all = root.join("var").join(FOLDER);
    fs::create_dir_all(&all)?;
    let place = all.join(slot.name());
    let image = root.join("etc");
    let pending = Pending { all, image, slot, release: release.to_owned() };
    // What a power cut left half done, or done and not yet tidied up.
    replica::remove_tree(&pending.new_place())?;
    let belongs = read_release(&place)?;
    if belongs.as_deref() == Some(release) {
        return Ok(Changes::Ready(Overlay::make(&place)?));
    }
    if belongs.is_none() && place.join(UPPER).is_dir() && !pending.has_other() {
        // As the factory made it.
        write_release(&place, release)?;
        return Ok(Changes::Ready(Overlay::make(&place)?));
    }
    Ok(Changes::Pending(pending))
}

impl Pending {
    fn new_place(&self) -> PathBuf {
        self.all.join(format!(".new-{}", self.slot.name()))
    }

    fn other(&self) -> PathBuf {
        self.all.join((!self.slot).name()).join(UPPER)
    }

    /// Whether the other slot has changes that can be taken over.
    #[must_use]
    pub fn has_other(&self) -> bool {
        self.other().is_dir()
    }

    /// Takes the changes over. `old` is the `/etc` of the other slot's image; without it they are
    /// copied as they are, which keeps all of them, and more of the old image than was changed.
    ///
    /// Cut off before the rename, the slot has the changes it had, and this is done again; after it,
    /// it has all of the new ones, and what is left over is removed at the next boot.
    ///
    /// # Errors
    /// What the system says. What was there before is still there.
    pub fn take_over(&self, old: Option<&Path>) -> io::Result<Overlay> {
        let (new, place) = (self.new_place(), self.all.join(self.slot.name()));
        if let Err(cause) = self.make(&new, old) {
            // A medium that is full is not left fuller than it was. Why it is full is the better error.
            let _ = replica::remove_tree(&new);
            return Err(cause);
        }
        if place.symlink_metadata().is_ok() {
            renameat2(AT_FDCWD, &new, AT_FDCWD, &place, RenameFlags::RENAME_EXCHANGE)?;
        } else {
            fs::rename(&new, &place)?;
        }
        File::open(&self.all)?.sync_all()?;
        replica::remove_tree(&new)?;
        Overlay::make(&place)
    }

    /// Makes the changes in the folder `new`, durably.
    fn make(&self, new: &Path, old: Option<&Path>) -> io::Result<()> {
        fs::create_dir(new)?;
        let (changes, upper) = (self.other(), new.join(UPPER));
        match old {
            Some(old) if self.has_other() => {
                fs::create_dir(&upper)?;
                let aside = new.join(CONFLICTS);
                let (to, image) = (&upper, &self.image);
                merge(&Trees { changes: &changes, old, new: image, to, aside: &aside })?;
            }
            None if self.has_other() => replica::copy_tree(&changes, &upper, &|_| true)?,
            // The upper folder itself is what `/etc` looks like.
            _ => replica::copy(&self.image, &upper)?,
        }
        Overlay::make(new)?;
        write_release(new, &self.release)?;
        replica::sync(&self.all)
    }
}

/// Lets the next first boot of `slot` take over the other slot's changes, whatever it holds now. To be
/// done before it is armed: cut off in between, the slot is not booted before it is armed again.
/// Where it cannot be done the slot may boot with changes of before, which is no reason not to arm it.
pub fn forget(root: &Root, slot: Slot) {
    let place = root.path("/var").join(FOLDER).join(slot.name());
    let forgotten = match fs::remove_file(place.join(RELEASE)) {
        Ok(()) => File::open(place).and_then(|folder| folder.sync_all()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
    };
    if let Err(cause) = forgotten {
        warn!(%slot, %cause, "the slot may boot with changes in /etc of before");
    }
}

/// The release to which the changes in `folder` belong.
fn read_release(folder: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(folder.join(RELEASE)) {
        Ok(file) => file.take(RELEASE_LEN_MAX).read_to_string(&mut text)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    Ok(Some(text.trim().to_owned()))
}

fn write_release(folder: &Path, release: &str) -> io::Result<()> {
    let mut file = File::create(folder.join(RELEASE))?;
    writeln!(file, "{release}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
