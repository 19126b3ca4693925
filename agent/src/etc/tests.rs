//! Whose changes a slot boots with, after whatever happened before.

use super::*;

/// A root with an image's `/etc`, and what is below its `/var`.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().unwrap());
        lab.write("etc/motd", "image");
        lab
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn changes(&self, slot: Slot, name: &str) -> String {
        let path = self.path("var").join(FOLDER).join(slot.name()).join(UPPER).join(name);
        fs::read_to_string(path).unwrap_or_default()
    }

    fn change(&self, slot: Slot, text: &str) {
        self.write(&format!("var/{FOLDER}/{}/{UPPER}/motd", slot.name()), text);
    }

    /// Boots `release` in `slot`; whether the other slot's changes were taken over.
    fn boot(&self, slot: Slot, release: &str) -> bool {
        match look(self.0.path(), slot, release).unwrap() {
            Changes::Ready(_) => false,
            Changes::Pending(pending) => {
                pending.take_over(None).unwrap();
                true
            }
        }
    }

    fn left_over(&self) -> usize {
        let names = replica::entries(&self.path("var").join(FOLDER)).unwrap();
        names.iter().filter(|path| path.to_string_lossy().contains(".new")).count()
    }
}

#[test]
fn a_release_takes_changes_over_once_and_going_back_goes_back() {
    let lab = Lab::new();
    lab.boot(Slot::A, "v1");
    lab.change(Slot::A, "late");
    assert!(lab.boot(Slot::B, "v2"));
    assert_eq!(lab.changes(Slot::B, "motd"), "late");
    lab.change(Slot::B, "in b");
    assert!(!lab.boot(Slot::B, "v2"), "the second boot keeps what the first has");
    assert!(!lab.boot(Slot::A, "v1"), "going back is no first boot");
    assert_eq!(
        (lab.changes(Slot::A, "motd"), lab.changes(Slot::B, "motd")),
        ("late".into(), "in b".into())
    );
    lab.change(Slot::A, "later");
    assert!(lab.boot(Slot::B, "v3"), "another release in the slot is a first boot");
    assert_eq!(lab.changes(Slot::B, "motd"), "later");
    assert_eq!(lab.left_over(), 0);
}

#[test]
fn a_release_that_is_armed_again_takes_changes_over_again() {
    let lab = Lab::new();
    lab.boot(Slot::A, "v1");
    lab.boot(Slot::B, "v2");
    lab.change(Slot::A, "after the first try");
    let root = Root::below(lab.0.path().to_owned());
    forget(&root, Slot::B);
    forget(&root, Slot::B);
    assert!(lab.boot(Slot::B, "v2"));
    assert_eq!(lab.changes(Slot::B, "motd"), "after the first try");
}

#[test]
fn what_the_factory_put_there_is_taken_as_it_is() {
    let lab = Lab::new();
    lab.change(Slot::A, "of the factory");
    assert!(!lab.boot(Slot::A, "v1"));
    assert!(!lab.boot(Slot::A, "v1"));
    assert_eq!(lab.changes(Slot::A, "motd"), "of the factory");
    assert!(lab.boot(Slot::B, "v2"));
    assert_eq!(lab.changes(Slot::B, "motd"), "of the factory");
}

#[test]
fn a_power_cut_while_changes_are_taken_over_leaves_those_of_before_or_all() {
    let lab = Lab::new();
    lab.boot(Slot::A, "v1");
    lab.change(Slot::A, "of a");
    lab.boot(Slot::B, "v2");
    lab.change(Slot::A, "of a, later");
    // Cut while the new ones were made.
    lab.write(&format!("var/{FOLDER}/.new-b/{UPPER}/half"), "");
    assert_eq!(lab.changes(Slot::B, "motd"), "of a");
    assert!(lab.boot(Slot::B, "v3"));
    assert_eq!(
        (lab.changes(Slot::B, "motd"), lab.changes(Slot::B, "half")),
        ("of a, later".into(), String::new())
    );
    // Cut between the rename and the tidying up: the old ones lie where the new ones were made.
    lab.write(&format!("var/{FOLDER}/.new-b/{UPPER}/motd"), "of before");
    lab.write(&format!("var/{FOLDER}/.new-b/{RELEASE}"), "v2");
    assert!(!lab.boot(Slot::B, "v3"));
    assert_eq!(lab.changes(Slot::B, "motd"), "of a, later");
    assert_eq!(lab.left_over(), 0);
}

#[test]
fn without_changes_etc_looks_as_the_image_has_it() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let lab = Lab::new();
    fs::set_permissions(lab.path("etc"), fs::Permissions::from_mode(0o711)).unwrap();
    assert!(lab.boot(Slot::A, "v1"));
    let upper = lab.path("var").join(FOLDER).join("a").join(UPPER);
    assert_eq!(fs::metadata(upper).unwrap().mode() & 0o7777, 0o711);
}
