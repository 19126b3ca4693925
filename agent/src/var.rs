//! `/var` is the state partition. What the image has in its own `/var` is brought there.
//!
//! On the first boot everything is, on the first boot of each later release only folders and links
//! that are missing: a file that is missing was removed here, or never wanted. Nothing that is
//! there is touched. `lib/gybe/filled` names the release it was last done for.
//!
//! New things are gathered in `.gybe-new` first and made durable, then renamed into place, and the
//! marker is written last. A power cut leaves things whole, or absent; without the marker it is
//! done again.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::replica::{self, Kind};

/// Names the release for which `/var` was last filled.
const MARKER: &str = "lib/gybe/filled";
/// Where things are gathered.
const GATHERED: &str = ".gybe-new";
/// Longest marker that is read.
const MARKER_LEN_MAX: u64 = 256;

/// Brings what is missing from the image's `/var` into the device's, once for each `release`.
///
/// # Errors
/// What the system says; what was done stays, and the next boot goes on.
pub fn fill(image: &Path, state: &Path, release: &str) -> io::Result<()> {
    let gathered = state.join(GATHERED);
    replica::remove_tree(&gathered)?;
    let filled = read_marker(state)?;
    if filled.as_deref() == Some(release) {
        return Ok(());
    }
    let wanted: &dyn Fn(Kind) -> bool = match filled {
        None => &|_| true,
        Some(_) => &|kind| matches!(kind, Kind::Folder | Kind::Link),
    };
    fs::create_dir(&gathered)?;
    let renames = gather(image, state, &gathered, wanted)?;
    replica::sync(state)?;
    for (from, to) in renames {
        // What appeared meanwhile would be replaced; nobody else is awake yet.
        fs::rename(from, to)?;
    }
    fs::remove_dir(&gathered)?;
    fs::create_dir_all(state.join("lib/gybe"))?;
    replica::sync(state)?;
    write_marker(state, release)
}

/// Copies what is missing to `gathered`, and says where each of it belongs.
fn gather(
    image: &Path,
    state: &Path,
    gathered: &Path,
    wanted: &dyn Fn(Kind) -> bool,
) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut renames = Vec::new();
    let mut left = VecDeque::from([(image.to_owned(), state.to_owned())]);
    while let Some((from, to)) = left.pop_front() {
        for path in replica::entries(&from)? {
            let place = to.join(path.file_name().unwrap_or_default());
            match fs::symlink_metadata(&place) {
                Ok(there) => {
                    if there.is_dir() && fs::symlink_metadata(&path)?.is_dir() {
                        left.push_back((path, place));
                    }
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    let copy = gathered.join(renames.len().to_string());
                    replica::copy_tree(&path, &copy, wanted)?;
                    if copy.symlink_metadata().is_ok() {
                        renames.push((copy, place));
                    }
                }
                Err(cause) => return Err(cause),
            }
        }
    }
    Ok(renames)
}

fn read_marker(state: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(state.join(MARKER)) {
        Ok(file) => file.take(MARKER_LEN_MAX).read_to_string(&mut text)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    // One that was cut short by an older kernel's file system says nothing of a release, but it
    // was there: files are not brought back.
    Ok(Some(text.trim().to_owned()))
}

fn write_marker(state: &Path, release: &str) -> io::Result<()> {
    let (new, marker) = (state.join("lib/gybe/filled.new"), state.join(MARKER));
    let mut file = File::create(&new)?;
    writeln!(file, "{release}")?;
    file.sync_all()?;
    fs::rename(new, marker)?;
    File::open(state.join("lib/gybe"))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn image(folder: &Path) -> PathBuf {
        let image = folder.join("image");
        fs::create_dir_all(image.join("lib/acme/deep")).unwrap();
        fs::create_dir_all(image.join("log")).unwrap();
        fs::write(image.join("lib/acme/default"), "from the image").unwrap();
        fs::write(image.join("lib/acme/deep/file"), "deep").unwrap();
        symlink("/run", image.join("run")).unwrap();
        image
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_first_boot_brings_everything_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (image, state) = (image(folder.path()), folder.path().join("state"));
        fs::create_dir_all(state.join("lib/acme")).unwrap();
        fs::write(state.join("lib/acme/default"), "from here").unwrap();
        fill(&image, &state, "v1").unwrap();
        assert_eq!(read(state.join("lib/acme/default")), "from here");
        assert_eq!(read(state.join("lib/acme/deep/file")), "deep");
        assert_eq!(fs::read_link(state.join("run")).unwrap(), Path::new("/run"));
        assert!(state.join("log").is_dir() && !state.join(GATHERED).exists());
    }

    #[test]
    fn a_new_release_brings_folders_and_links_but_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (image, state) = (image(folder.path()), folder.path().join("state"));
        fs::create_dir_all(&state).unwrap();
        fill(&image, &state, "v1").unwrap();
        fs::remove_file(state.join("lib/acme/default")).unwrap();
        fs::remove_dir_all(state.join("log")).unwrap();
        fill(&image, &state, "v1").unwrap();
        assert!(!state.join("log").exists(), "the same release does nothing again");
        fs::create_dir_all(image.join("lib/new/sub")).unwrap();
        fs::write(image.join("lib/new/sub/file"), "").unwrap();
        symlink("sub", image.join("lib/new/link")).unwrap();
        fill(&image, &state, "v2").unwrap();
        assert!(state.join("log").is_dir());
        assert!(!state.join("lib/acme/default").exists());
        assert!(state.join("lib/new/sub").is_dir() && !state.join("lib/new/sub/file").exists());
        assert_eq!(fs::read_link(state.join("lib/new/link")).unwrap(), Path::new("sub"));
    }

    #[test]
    fn what_a_power_cut_left_is_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (image, state) = (image(folder.path()), folder.path().join("state"));
        // Cut while things were gathered, and some had their place.
        fs::create_dir_all(state.join(GATHERED).join("0/half")).unwrap();
        fs::create_dir_all(state.join("log")).unwrap();
        fill(&image, &state, "v1").unwrap();
        assert_eq!(read(state.join("lib/acme/default")), "from the image");
        assert_eq!(read(state.join(MARKER)), "v1\n");
        assert!(!state.join(GATHERED).exists());
    }
}
