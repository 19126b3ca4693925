//! A root file system from a folder, from a tar file and from an image of one layer is the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use gybe_core::digest::Digest;
use gybe_image::image::Image;
use gybe_image::layers::{self, Options};
use gybe_image::tree::Tree;
use gybe_image::{Spool, erofs, folder, listing};
use gybe_oci::{Layout, LayoutReference};

mod fixture;

use fixture::folder::{is_root, make_folder, write_image};
use fixture::seen::{Seen, assert_same, seen, seen_in};
use fixture::{judge, may_mount, write_file};

fn everything_kept() -> Options {
    Options { emptied: Vec::new(), ..Options::default() }
}

/// The digest of the root target.
fn target(tree: &Tree, spool: &Spool, scratch: &Path) -> Digest {
    let file = scratch.join("root.erofs");
    write_file(&erofs::layout(tree).unwrap(), spool, &file);
    Digest::of(&fs::read(file).unwrap())
}

fn of_folder(path: &Path, scratch: &Path) -> (Seen, Digest) {
    let found = folder::load(path, &everything_kept()).unwrap();
    (seen(&found.tree, &found.spool), target(&found.tree, &found.spool, scratch))
}

fn of_archive(path: &Path, scratch: &Path) -> (Seen, Digest) {
    let file = File::open(path).unwrap();
    let (tree, spool, digest) = layers::load_archive(file, &everything_kept(), &|_| ()).unwrap();
    assert_eq!(digest, Digest::of(&fs::read(path).unwrap()));
    (seen(&tree, &spool), target(&tree, &spool, scratch))
}

fn of_layer(layer: &Path, scratch: &Path) -> Digest {
    let layout = scratch.join("layout");
    write_image(&layout, &[fs::read(layer).unwrap()]);
    let layout = Layout::open(&LayoutReference::directory(&layout)).unwrap();
    let image = Image::open(&layout, Some("v1"), None).unwrap();
    let (tree, spool) = layers::load(&layout, &image, &everything_kept(), &|_| ()).unwrap();
    target(&tree, &spool, scratch)
}

/// GNU tar, with everything that it can keep.
fn tar(folder: &Path, to: &Path) {
    let mut tar = Command::new("tar");
    tar.env("LC_ALL", "C").args(["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse"]);
    judge(tar.arg("-cf").arg(to).arg("-C").arg(folder).arg("."));
}

#[test]
fn a_folder_a_tar_file_and_a_layer_become_the_same_root() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path();
    let root = scratch.join("root");
    fs::create_dir(&root).unwrap();
    make_folder(&root);
    // A file that may do something without root, and ones that steer how a build is cut.
    if is_root() {
        // cap_net_raw, permitted and effective.
        let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        xattr::set(root.join("private"), "security.capability", capability).unwrap();
    }
    fs::write(root.join("hinted"), "x").unwrap();
    let mut shown = seen_in(&root);
    xattr::set(root.join("hinted"), "user.component", b"c").unwrap();
    xattr::set(root.join("hinted"), "user.none", b"").unwrap();
    for entry in shown.values_mut() {
        entry.xattrs.remove(b"security.selinux".as_slice());
    }

    let (by_folder, expected) = of_folder(&root, scratch);
    assert_same("folder", &by_folder, &shown);
    if is_root() {
        assert!(
            shown[b"private".as_slice()].xattrs.contains_key(b"security.capability".as_slice())
        );
        assert!(shown[b"device".as_slice()].device == Some((4000, 70_000)));
    }
    let plain = scratch.join("root.tar");
    tar(&root, &plain);
    judge(Command::new("gzip").arg("-k").arg(&plain));
    judge(Command::new("zstd").arg("-qk").arg(&plain));
    for name in ["root.tar", "root.tar.gz", "root.tar.zst"] {
        let (by_tar, digest) = of_archive(&scratch.join(name), scratch);
        assert_same(name, &by_tar, &shown);
        assert_eq!(digest, expected, "{name}");
    }
    assert_eq!(of_layer(&plain, scratch), expected, "a layer");
}

#[test]
fn the_digest_of_a_folder_says_what_is_in_it_and_not_where_it_lies() {
    let scratch = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "deep/two"].map(|name| scratch.path().join(name));
    fs::create_dir(&one).unwrap();
    make_folder(&one);
    fs::create_dir(scratch.path().join("deep")).unwrap();
    let same =
        |folder: &Path| listing::digest(&folder::load(folder, &everything_kept()).unwrap().tree);
    let mut copy = Command::new("cp");
    judge(copy.args(["--archive", "--sparse=never"]).arg(&one).arg(&two));
    assert_eq!(same(&one), same(&two));
    fs::write(two.join("sticky"), "y").unwrap();
    assert_ne!(same(&one), same(&two));
}

#[test]
fn a_marker_in_a_root_is_a_file_and_in_a_layer_a_marker() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path();
    let root = scratch.join("root");
    fs::create_dir_all(root.join("usr/.wh..wh.plnk")).unwrap();
    fs::write(root.join("usr/.wh.gone"), "x").unwrap();
    fs::write(root.join("usr/.wh..wh..opq"), "x").unwrap();
    let plain = scratch.join("root.tar");
    tar(&root, &plain);
    let (by_folder, expected) = of_folder(&root, scratch);
    assert_same("folder", &by_folder, &seen_in(&root));
    let (by_tar, digest) = of_archive(&plain, scratch);
    assert_same("tar", &by_tar, &by_folder);
    assert_eq!(digest, expected);
    assert_ne!(of_layer(&plain, scratch), expected);
}

#[test]
fn what_is_mounted_in_a_folder_is_refused_by_name() {
    if !may_mount() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    // Even where content is left out: mode and time would be those of what is mounted.
    for name in ["proc", "run"] {
        let path = scratch.path().join(name);
        fs::create_dir(&path).unwrap();
        judge(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&path));
        let found = folder::load(scratch.path(), &Options::default());
        judge(Command::new("umount").arg(&path));
        assert_eq!(
            found.unwrap_err().to_string(),
            format!("{} is on another file system: unmount it, or give a tar file", path.display())
        );
        fs::remove_dir(path).unwrap();
    }
}

#[test]
fn a_tar_file_that_is_none_is_refused_with_the_place() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("x.tar");
    let refused = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let found = layers::load_archive(File::open(&file).unwrap(), &everything_kept(), &|_| ());
        found.unwrap_err().to_string()
    };
    assert_eq!(refused(&[b'x'; 2000]), "the checksum in the tar header is not a number in range");
    let root = scratch.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), vec![b'x'; 5000]).unwrap();
    let plain = scratch.path().join("root.tar");
    tar(&root, &plain);
    let whole = fs::read(&plain).unwrap();
    let cut = refused(&whole[..4096]);
    assert!(cut.starts_with("./file: the tar file is cut off at "), "{cut}");
}
