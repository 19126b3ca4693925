//! Changes are made over one image, in a real overlay, and looked at over another.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use nix::mount::{MntFlags, umount2};

use super::super::Overlay;
use super::*;

/// What `/etc` shows: each name with its mode and its content.
type Shown = BTreeMap<String, (u32, String)>;

struct Lab {
    folder: tempfile::TempDir,
}

/// Unmounts at the end, whatever that is.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

impl Lab {
    /// Two images; `None` where overlays cannot be mounted.
    fn new(old: &[(&str, u32, &str)], new: &[(&str, u32, &str)]) -> Option<Self> {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            let all = std::env::var("GYBE_JUDGES").is_ok_and(|judges| judges == "all");
            assert!(!all, "overlays need root");
            eprintln!("skipped: overlays need root");
            return None;
        }
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        for (name, content) in [("old", old), ("new", new)] {
            for (path, mode, text) in content {
                let path = lab.path(name).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                if *text == "/" {
                    fs::create_dir_all(&path).unwrap();
                } else {
                    fs::write(&path, text).unwrap();
                }
                fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
            }
        }
        Some(lab)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Mounts the changes in `changes` over the image `image`.
    fn mount(&self, image: &str, changes: &str) -> Mounted {
        let point = self.path("point");
        fs::create_dir_all(&point).unwrap();
        let overlay = Overlay::make(&self.path(changes)).unwrap();
        overlay.mount(&self.path(image), &point).unwrap();
        Mounted(point)
    }

    fn change(&self, change: impl FnOnce(&Path)) {
        let mounted = self.mount("old", "a");
        change(&mounted.0);
    }

    /// Brings the changes over, and gives what is shown then.
    fn shown(&self) -> Shown {
        fs::create_dir_all(self.path("b/upper")).unwrap();
        merge(&Trees {
            changes: &self.path("a/upper"),
            old: &self.path("old"),
            new: &self.path("new"),
            to: &self.path("b/upper"),
            aside: &self.path("b/conflicts"),
        })
        .unwrap();
        let mounted = self.mount("new", "b");
        listing(&mounted.0)
    }

    fn upper(&self) -> Shown {
        listing(&self.path("b/upper"))
    }

    fn aside(&self) -> Shown {
        listing(&self.path("b/conflicts"))
    }
}

fn listing(top: &Path) -> Shown {
    let mut shown = Shown::new();
    let mut left = vec![top.to_owned()];
    while let Some(folder) = left.pop() {
        for path in replica::entries(&folder).unwrap_or_default() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            let content = match Kind::of(&metadata) {
                Kind::File => fs::read_to_string(&path).unwrap(),
                Kind::Folder => {
                    left.push(path);
                    "/".into()
                }
                Kind::Link => format!("-> {}", fs::read_link(&path).unwrap().display()),
                Kind::Whiteout => "hidden".into(),
                Kind::Special => "special".into(),
            };
            shown.insert(name, (metadata.mode() & 0o7777, content));
        }
    }
    shown
}

fn of(content: &[(&str, u32, &str)]) -> Shown {
    let entry =
        |(name, mode, text): &(&str, u32, &str)| ((*name).to_owned(), (*mode, (*text).to_owned()));
    content.iter().map(entry).collect()
}

fn write(path: &Path, name: &str, text: &str) {
    fs::write(path.join(name), text).unwrap();
}

fn set_mode(path: &Path, name: &str, mode: u32) {
    fs::set_permissions(path.join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_was_changed_stays_and_everything_else_follows_the_image() {
    let old = [
        ("modified", 0o644, "old"),
        ("untouched", 0o644, "old"),
        ("removed", 0o644, "old"),
        ("mode-only", 0o644, "old"),
        ("gone-in-image", 0o644, "old"),
        ("touched-and-gone", 0o644, "old"),
        ("like-new", 0o644, "old"),
        ("d", 0o755, "/"),
        ("d/a", 0o644, "old"),
        ("d/b", 0o644, "old"),
    ];
    let new = [
        ("modified", 0o600, "new"),
        ("untouched", 0o644, "new"),
        ("removed", 0o644, "new"),
        ("mode-only", 0o444, "new"),
        ("like-new", 0o644, "new"),
        ("d", 0o750, "/"),
        ("d/a", 0o644, "new"),
        ("d/b", 0o644, "new"),
        ("d/c", 0o644, "new"),
    ];
    let Some(lab) = Lab::new(&old, &new) else { return };
    lab.change(|etc| {
        write(etc, "modified", "local");
        write(etc, "added", "local");
        fs::remove_file(etc.join("removed")).unwrap();
        chown(etc.join("mode-only"), Some(7), None).unwrap();
        // Opened for writing and closed: a whole copy is in the upper folder.
        File::options().append(true).open(etc.join("touched-and-gone")).unwrap();
        File::options().append(true).open(etc.join("untouched")).unwrap();
        write(etc, "like-new", "new");
        write(etc, "d/a", "local");
        fs::create_dir(etc.join("mine")).unwrap();
    });
    let expected = of(&[
        ("added", 0o644, "local"),
        ("d", 0o750, "/"),
        ("d/a", 0o644, "local"),
        ("d/b", 0o644, "new"),
        ("d/c", 0o644, "new"),
        ("like-new", 0o644, "new"),
        ("mine", 0o755, "/"),
        ("mode-only", 0o444, "new"),
        ("modified", 0o644, "local"),
        ("untouched", 0o644, "new"),
    ]);
    assert_eq!(lab.shown(), expected);
    let owner = fs::symlink_metadata(lab.path("b/upper/mode-only")).unwrap().uid();
    assert_eq!(owner, 7, "the owner was changed here, the mode by the image");
    let upper: Vec<_> = lab.upper().into_keys().collect();
    let kept = ["added", "d", "d/a", "mine", "mode-only", "modified", "removed"];
    assert_eq!(upper, kept, "nothing else keeps the image's from being seen");
    assert_eq!(lab.aside(), Shown::new());
}

#[test]
fn a_folder_that_was_made_anew_hides_what_was_in_it_and_nothing_new() {
    let old = [("d/a", 0o644, "old"), ("d/sub/x", 0o644, "old"), ("d/sub/y", 0o644, "old")];
    let new = [
        ("d/a", 0o644, "new"),
        ("d/b", 0o644, "new"),
        ("d/sub/x", 0o644, "new"),
        ("d/sub/y", 0o644, "new"),
        ("d/sub/z", 0o644, "new"),
    ];
    let Some(lab) = Lab::new(&old, &new) else { return };
    lab.change(|etc| {
        fs::remove_dir_all(etc.join("d")).unwrap();
        fs::create_dir_all(etc.join("d/sub")).unwrap();
        write(etc, "d/sub/x", "local");
    });
    let expected = of(&[
        ("d", 0o755, "/"),
        ("d/b", 0o644, "new"),
        ("d/sub", 0o755, "/"),
        ("d/sub/x", 0o644, "local"),
        ("d/sub/z", 0o644, "new"),
    ]);
    assert_eq!(lab.shown(), expected);
}

#[test]
fn where_the_image_turns_a_file_into_a_folder_it_wins_and_what_was_there_is_kept_aside() {
    let old = [("was-file", 0o644, "old"), ("was-folder/x", 0o644, "old"), ("mine", 0o644, "old")];
    let new = [
        ("was-file/x", 0o644, "new"),
        ("was-folder", 0o644, "new"),
        ("mine", 0o644, "new"),
        ("added", 0o755, "/"),
    ];
    let Some(lab) = Lab::new(&old, &new) else { return };
    lab.change(|etc| {
        write(etc, "was-file", "local");
        write(etc, "was-folder/x", "local");
        write(etc, "added", "local");
        fs::remove_file(etc.join("mine")).unwrap();
        fs::create_dir(etc.join("mine")).unwrap();
        write(etc, "mine/x", "a folder here, a file in both images");
    });
    let expected = of(&[
        ("added", 0o755, "/"),
        ("mine", 0o755, "/"),
        ("mine/x", 0o644, "a folder here, a file in both images"),
        ("was-file", 0o755, "/"),
        ("was-file/x", 0o644, "new"),
        ("was-folder", 0o644, "new"),
    ]);
    assert_eq!(lab.shown(), expected);
    let aside = of(&[
        ("added", 0o644, "local"),
        ("was-file", 0o644, "local"),
        ("was-folder", 0o755, "/"),
        ("was-folder/x", 0o644, "local"),
    ]);
    assert_eq!(lab.aside(), aside);
    let overlay = Overlay::make(&lab.path("b")).unwrap();
    assert_eq!(overlay.conflicts(), ["/etc/added", "/etc/was-file", "/etc/was-folder/x"]);
}

#[test]
fn links_are_followed_nowhere_and_attributes_are_compared_one_by_one() {
    let old = [("link", 0o644, "a file"), ("d/x", 0o644, "old")];
    let new = [("link", 0o644, "a file"), ("outside", 0o644, "of the image")];
    let Some(lab) = Lab::new(&old, &new) else { return };
    // In the new image `d` leads to somewhere that has an `x` of its own.
    fs::create_dir(lab.path("elsewhere")).unwrap();
    write(&lab.path("elsewhere"), "x", "local");
    symlink(lab.path("elsewhere"), lab.path("new/d")).unwrap();
    lab.change(|etc| {
        write(etc, "d/x", "local");
        fs::remove_file(etc.join("link")).unwrap();
        symlink("outside", etc.join("link")).unwrap();
        set_mode(etc, "d", 0o700);
    });
    let shown = lab.shown();
    assert_eq!(shown["link"], (0o777, "-> outside".to_owned()));
    assert!(shown["d"].1.starts_with("-> "), "the image wins: {shown:?}");
    let aside = of(&[("d", 0o700, "/"), ("d/x", 0o644, "local")]);
    assert_eq!(lab.aside(), aside);
}

#[test]
fn files_of_any_length_are_compared_to_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    for len in [0, 1, COMPARE_LEN - 1, COMPARE_LEN, COMPARE_LEN + 1, 3 * COMPARE_LEN] {
        let mut bytes = vec![7; len];
        fs::write(&one, &bytes).unwrap();
        fs::write(&other, &bytes).unwrap();
        assert!(same_bytes(&one, &other).unwrap(), "{len}");
        if let Some(last) = bytes.last_mut() {
            *last = 8;
            fs::write(&other, &bytes).unwrap();
            assert!(!same_bytes(&one, &other).unwrap(), "{len}");
        }
    }
}
