//! Layers as every tar program writes them, and images as umoci unpacks them.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use gybe_image::image::Image;
use gybe_image::layers::{Options, load};
use gybe_oci::{Layout, LayoutReference};

#[allow(clippy::panic, clippy::print_stderr, clippy::indexing_slicing, reason = "for tests")]
mod fixture;

use fixture::folder::{is_root, make_folder, write_image};
use fixture::judge;
use fixture::seen::{Seen, assert_same, seen, seen_in};

/// What the layers become.
fn read_image(root: &Path) -> Seen {
    let layout = Layout::open(&LayoutReference::directory(root)).unwrap();
    let image = Image::open(&layout, Some("v1"), Some("x86_64")).unwrap();
    let options = Options { emptied: Vec::new(), ..Options::default() };
    let (tree, spool) = load(&layout, &image, &options, &|_| ()).unwrap();
    seen(&tree, &spool)
}

/// What a format cannot keep is not compared.
fn without(mut seen: Seen, nanoseconds: bool, xattrs: bool) -> Seen {
    for entry in seen.values_mut() {
        if nanoseconds {
            entry.mtime.1 = 0;
        }
        if xattrs {
            entry.xattrs.clear();
        }
    }
    seen
}

#[test]
fn every_tar_program_and_format_gives_what_the_folder_shows() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("folder");
    fs::create_dir(&folder).unwrap();
    make_folder(&folder);
    let expected = seen_in(&folder);
    let tar = scratch.path().join("layer.tar");
    let python = |format: &str| {
        format!(
            "import sys, tarfile\nwith tarfile.open(sys.argv[1], 'w', format=tarfile.{format}) as tar:\n tar.add(sys.argv[2], '.')"
        )
    };
    let gnu = ["--xattrs", "--xattrs-include=*", "--sparse"];
    let sparse = |version: &str| format!("--sparse-version={version}");
    // Name, command, and whether the format loses nanoseconds and attributes.
    let programs: [(&str, Vec<String>, bool, bool); 9] = [
        ("tar", vec!["--format=gnu".into()], true, true),
        ("tar", vec!["--format=gnu".into(), "--sparse".into()], true, true),
        ("tar", vec!["--format=posix".into(), gnu[0].into(), gnu[1].into()], false, false),
        (
            "tar",
            [&["--format=posix".into(), sparse("0.0")][..], &gnu.map(Into::into)].concat(),
            false,
            false,
        ),
        (
            "tar",
            [&["--format=posix".into(), sparse("0.1")][..], &gnu.map(Into::into)].concat(),
            false,
            false,
        ),
        (
            "tar",
            [&["--format=posix".into(), sparse("1.0")][..], &gnu.map(Into::into)].concat(),
            false,
            false,
        ),
        (
            "bsdtar",
            vec!["--format=pax".into(), "--xattrs".into(), "--no-fflags".into()],
            false,
            false,
        ),
        ("python3", vec!["PAX_FORMAT".into()], true, true),
        ("python3", vec!["GNU_FORMAT".into()], true, true),
    ];
    for (number, (program, options, nanoseconds, xattrs)) in programs.into_iter().enumerate() {
        let mut command = Command::new(program);
        // A locale of bytes, so that no program takes offence at names.
        command.env("LC_ALL", "C");
        if program == "python3" {
            command.arg("-c").arg(python(&options[0])).arg(&tar).arg(&folder);
        } else {
            command.args(&options).arg("-cf").arg(&tar).arg("-C").arg(&folder).arg(".");
        }
        judge(&mut command);
        let root = scratch.path().join(format!("layout{number}"));
        write_image(&root, &[fs::read(&tar).unwrap()]);
        let found = without(read_image(&root), nanoseconds, xattrs);
        // Seconds before 1970 round down, and Python rounds toward zero what it cannot keep.
        let expected = without(expected.clone(), nanoseconds, xattrs);
        assert_same(&format!("{program} {options:?}"), &found, &expected);
    }
}

/// Layers that use every rule on which unpackers agree.
const LAYERS: &str = r#"
import io, sys, tarfile
out = sys.argv[1]
def layer(number, members):
    with tarfile.open(f"{out}/{number}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, more in members:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime, data = 0o644, 1600000000, None
            if kind == "d": info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif kind == "f": data = more.pop("data", f"{number} {name}").encode(); info.size = len(data)
            elif kind == "l": info.type, info.linkname = tarfile.SYMTYPE, more.pop("to")
            elif kind == "h": info.type, info.linkname = tarfile.LNKTYPE, more.pop("to")
            elif kind == "p": info.type = tarfile.FIFOTYPE
            elif kind in "cb":
                info.type = tarfile.CHRTYPE if kind == "c" else tarfile.BLKTYPE
                info.devmajor, info.devminor = 4000, 70000
            info.pax_headers = {"SCHILY.xattr." + k: v for k, v in more.pop("x", {}).items()}
            for key, value in more.items(): setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
D = lambda name, **more: (name, "d", more)
F = lambda name, **more: (name, "f", more)
L = lambda name, to, **more: (name, "l", dict(to=to, **more))
H = lambda name, to, **more: (name, "h", dict(to=to, **more))
W = lambda name: (name, "f", dict(data=""))
layer(0, [
    D("./"), D("a"), F("a/x"), F("a/y"), D("a/d"), F("a/d/z"), D("opaque", mode=0o700, uid=5), F("opaque/old"),
    D("opaque/sub"), F("opaque/sub/old"), F("file-to-dir"), D("dir-to-file"), F("dir-to-file/in"), L("link-to-dir", "a"),
    F("one"), H("two", "one"), H("three", "./one"), F("lone"), F("linked-above"), F("hidden-above"),
    D("usr"), D("usr/lib"), F("usr/lib/old"), L("lib", "usr/lib"), D("abs"), L("abs/link", "/usr/lib"),
    F("set", mode=0o6755, uid=70000, gid=3000000), F("cap", x={"security.capability": "\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"}),
    F("attr", x={"user.a": "line\n=\0", "trusted.b": ""}), ("char", "c", {}), ("block", "b", {}), ("pipe", "p", {}),
    F("n" * 255), F("/".join(["d" * 100] * 6) + "/x"), L("long", "t" * 1000), F("time", mtime=1600000000.25), F("old-time", mtime=-5),
    F("chmod-above"), D("keep"), F("keep/x"), D("gone"), F("gone/x"), F("again"),
])
layer(1, [
    F("a/new"), W("a/.wh.x"), W("opaque/.wh..wh..opq"), F("opaque/new"), D("file-to-dir"), F("file-to-dir/in"), W(".wh.nothing"),
    F("dir-to-file"), D("link-to-dir"), F("link-to-dir/in"), F("one"), W(".wh.lone"), H("second", "linked-above"),
    F("lib/new"), F("abs/link/newer"), W("lib/.wh.old"), F("implied/by/this"), D("keep", mode=0o711, uid=9),
    W(".wh.gone"), W(".wh.again"), F("again"), ("char", "f", {}), F("chmod-above", mode=0o600),
])
layer(2, [H("third", "second"), W(".wh.second"), H("a/x", "two"), D("a/d", mode=0o755), W("a/d/.wh..wh..opq"), F("a/d/q"), D("gone"), L("gone/l", "x")])
"#;

#[test]
fn an_image_becomes_what_umoci_unpacks() {
    let scratch = tempfile::tempdir().unwrap();
    judge(Command::new("python3").arg("-c").arg(LAYERS).arg(scratch.path()));
    let layers: Vec<_> = (0..3)
        .map(|number| fs::read(scratch.path().join(format!("{number}.tar"))).unwrap())
        .collect();
    let root = scratch.path().join("layout");
    write_image(&root, &layers);
    let mut unpack = Command::new("umoci");
    unpack.arg("unpack").arg("--image").arg(format!("{}:v1", root.display()));
    if !is_root() {
        unpack.arg("--rootless");
    }
    let bundle = scratch.path().join("bundle");
    judge(unpack.arg(&bundle));
    let compared = |mut seen: Seen| {
        for entry in seen.values_mut() {
            // Unpackers disagree about directories that no header names, or whose content changed.
            if entry.mode & 0o170_000 == 0o040_000 {
                entry.mtime = (0, 0);
            }
            if !is_root() {
                (entry.uid, entry.gid, entry.device) = (0, 0, None);
                entry.xattrs.retain(|name, _| {
                    name.starts_with(b"user.") && name != b"user.rootlesscontainers"
                });
            }
        }
        if !is_root() {
            // Without root a device becomes an empty file.
            seen.retain(|path, _| path != b"block");
        }
        seen
    };
    let expected = compared(seen_in(&bundle.join("rootfs")));
    assert_same("umoci", &compared(read_image(&root)), &expected);
    assert!(expected.contains_key(&b"a/new"[..]));
}
