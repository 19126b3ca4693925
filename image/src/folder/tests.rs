//! What is left out of a folder, and what is refused in one.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;
use crate::content::ReadContent as _;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for directory in ["usr", "run/old", "tmp"] {
        fs::create_dir_all(folder.path().join(directory)).unwrap();
    }
    fs::write(folder.path().join("usr/file"), "content").unwrap();
    fs::hard_link(folder.path().join("usr/file"), folder.path().join("run/old/name")).unwrap();
    symlink("file", folder.path().join("usr/link")).unwrap();
    folder
}

fn refused(folder: &Path, options: &Options) -> String {
    let why = load(folder, options).unwrap_err().to_string();
    why.replace(&folder.display().to_string(), "FOLDER")
}

#[test]
fn sockets_and_what_belongs_to_the_machine_are_left_out() {
    let folder = folder();
    let _listener = UnixListener::bind(folder.path().join("usr/socket")).unwrap();
    let _emptied = UnixListener::bind(folder.path().join("tmp/socket")).unwrap();
    let found = load(folder.path(), &Options::default()).unwrap();
    let paths: Vec<_> =
        found.tree.walk().map(|(path, _)| String::from_utf8(path).unwrap()).collect();
    assert_eq!(paths, ["", "run", "tmp", "usr", "usr/file", "usr/link"]);
    assert_eq!(found.skipped, [folder.path().join("usr/socket")]);
    let id = found.tree.find(b"usr/file").unwrap();
    assert_eq!(found.tree.links().of(id), 1, "a name that was left out counted");
    let Kind::File(content) = &found.tree.node(id).kind else { panic!("a file") };
    let mut bytes = [0; 7];
    found.spool.read_at(content, 0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"content");
}

#[test]
fn what_is_too_much_is_refused_with_both_numbers() {
    let folder = folder();
    // Four of them are read: usr, run, tmp, and one in usr.
    let options = Options { entry_count_max: 4, ..Options::default() };
    assert_eq!(refused(folder.path(), &options), "FOLDER/usr/link: more than 4 entries");
    let options = Options { layer_len_max: 6, ..Options::default() };
    assert_eq!(
        refused(folder.path(), &options),
        "FOLDER/usr/file: contents are 7 bytes and more, limit 6"
    );
    assert_eq!(
        refused(&folder.path().join("none"), &Options::default()),
        "FOLDER: No such file or directory (os error 2)"
    );
}

#[test]
fn device_numbers_are_taken_apart_as_linux_puts_them_together() {
    for (number, major, minor) in
        [(0x0103, 1, 3), (0xfff0_0aff, 10, 0xf_ffff), (0xffff_a011, 0xfa0, 0xf_ff11)]
    {
        assert_eq!(device(number), Device { major, minor }, "{number:x}");
    }
}
