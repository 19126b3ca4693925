//! File systems that `mkfs.erofs` made in the same layout; that ours are read is shown where slots are.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::device::partition::RunningPartition;

/// A file system with a folder that needs several blocks.
static MADE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("etc/empty")).unwrap();
    fs::create_dir(tree.join("many")).unwrap();
    fs::write(tree.join("etc/file"), "content").unwrap();
    for number in 0..600 {
        File::create(tree.join("many").join(format!("name-{number:04}"))).unwrap();
    }
    let image = folder.path().join("image");
    let mut mkfs = Command::new("mkfs.erofs");
    mkfs.args(["-Eforce-inode-extended", "-x-1"]).arg(&image).arg(&tree);
    let made = mkfs.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::read(image).unwrap()
});

fn open(
    folder: &Path,
    bytes: &[u8],
) -> Result<Erofs<RunningPartition>, ErofsError<crate::device::partition::PartitionError>> {
    let path = folder.join("image");
    fs::write(&path, bytes).unwrap();
    Erofs::open(RunningPartition::open(&path).unwrap())
}

#[test]
fn names_are_read_wherever_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let mut erofs = open(folder.path(), &MADE).unwrap();
    let root = erofs.root();
    let names = |names: &[Name]| -> Vec<_> {
        let text = |it: &Name| (String::from_utf8(it.name.clone()).unwrap(), it.is_folder);
        names.iter().map(text).collect()
    };
    let top = erofs.names(root).unwrap();
    assert_eq!(names(&top), [("etc".to_owned(), true), ("many".to_owned(), true)]);
    let etc = erofs.names(top[0].inode).unwrap();
    assert_eq!(names(&etc), [("empty".to_owned(), true), ("file".to_owned(), false)]);
    assert_eq!(erofs.names(etc[0].inode).unwrap(), []);
    let many = erofs.names(top[1].inode).unwrap();
    let expected = (0..600).map(|number| (format!("name-{number:04}"), false));
    assert_eq!(names(&many), expected.collect::<Vec<_>>());
    assert_eq!(erofs.find(root, b"etc").unwrap().as_ref(), top.first());
    assert_eq!(erofs.find(root, b"none").unwrap(), None);
    let file = erofs.names(etc[1].inode).unwrap_err().to_string();
    assert!(file.ends_with("is no folder that can be read"), "{file}");
}

proptest! {
    #[test]
    fn any_change_of_the_bytes_ends_in_names_or_an_error(
        at in 0usize..40_000, byte: u8, more in prop::collection::vec((0usize..6000, any::<u8>()), 0..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = MADE.clone();
        let len = bytes.len();
        for (at, byte) in more.into_iter().chain([(at, byte)]) {
            bytes[at % len] = byte;
        }
        if let Ok(mut erofs) = open(folder.path(), &bytes) {
            let mut left = vec![erofs.root()];
            for _ in 0..10 {
                let Some(inode) = left.pop() else { break };
                let names = erofs.names(inode).unwrap_or_default();
                left.extend(names.iter().filter(|it| it.is_folder).map(|it| it.inode));
            }
        }
    }
}
