//! Images that ostree-rs-ext made of an ostree commit, and layers that were put over them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use gybe_core::digest::Digest;
use gybe_image::bootc::{self, Labels};
use gybe_image::image::Image;
use gybe_image::layers::{self, Options};
use gybe_image::tree::Tree;
use gybe_image::{Spool, erofs};
use gybe_oci::{Layout, LayoutReference};

mod fixture;

use fixture::folder::{is_root, write_image};
use fixture::seen::{Seen, assert_same, seen, seen_in};
use fixture::{judge, write_file};

/// Directories whose content is not the image's.
const EMPTIED: [&str; 4] = ["boot", "run", "sysroot", "tmp"];
const KERNEL: &str = "usr/lib/modules/6.12.0/vmlinuz";

/// A commit in a repository, and layers of it in every form.
struct Base {
    scratch: tempfile::TempDir,
}

impl Base {
    fn new() -> Self {
        let base = Self { scratch: tempfile::tempdir().unwrap() };
        base.write_source();
        let repo = base.path("repo").display().to_string();
        let ostree = |arguments: &[&str]| {
            judge(Command::new("ostree").args(arguments).arg(format!("--repo={repo}")))
        };
        ostree(&["init", "--mode=bare-user"]);
        let tree = format!("--tree=dir={}", base.path("source").display());
        // Without root nothing belongs to anybody else.
        let owners: &[&str] = if is_root() { &[] } else { &["--owner-uid=0", "--owner-gid=0"] };
        ostree(&[&["commit", "--branch=os", "--timestamp=@0", &tree], owners].concat());
        base
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn write_source(&self) {
        let source = self.path("source");
        let put = |name: &str, content: &[u8], mode: u32| {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        put(KERNEL, b"a kernel", 0o644);
        put("usr/lib/modules/6.12.0/initramfs.img", b"an initramfs", 0o600);
        for name in ["a", "b"] {
            put(&format!("usr/bin/twin-{name}"), b"twin\n", 0o755);
        }
        put("usr/share/elsewhere/twin", b"twin\n", 0o755);
        put("usr/bin/removed", b"removed\n", 0o755);
        put("usr/bin/su", b"su\n", 0o4755);
        put("usr/bin/ping", b"ping\n", 0o755);
        put("usr/etc/passwd", b"root\n", 0o644);
        put("usr/lib/empty", b"", 0o644);
        put("usr/lib64/empty-too", b"", 0o644);
        for number in 0..30 {
            put(&format!("usr/share/many/{}/file", number % 7), &[number; 5000], 0o644);
            put(&format!("usr/share/many/file-{number}"), &[number; 200], 0o644);
        }
        symlink("twin-a", source.join("usr/bin/link")).unwrap();
        symlink("sysroot/ostree", source.join("ostree")).unwrap();
        for name in EMPTIED.iter().chain(&["var", "proc", "usr/share/private"]) {
            fs::create_dir_all(source.join(name)).unwrap();
        }
        let mode = |name: &str, mode| {
            fs::set_permissions(source.join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("usr/share/private", 0o700);
        mode("usr/share/many", 0o711);
        mode("tmp", 0o1777);
        xattr::set(source.join("usr/bin/su"), "user.note", &[b'n'; 300]).unwrap();
        xattr::set(source.join("usr/bin/ping"), "user.component", b"iputils").unwrap();
        if is_root() {
            let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
            xattr::set(source.join("usr/bin/ping"), "security.capability", capability).unwrap();
            std::os::unix::fs::chown(source.join("usr/etc/passwd"), Some(7), Some(8)).unwrap();
        }
    }

    /// Makes layers, and gives their bytes by name.
    fn layers(&self, parents: &str, attributes: &str) -> BTreeMap<String, Vec<u8>> {
        let out = self.path(&format!("{parents}-{attributes}"));
        fs::create_dir_all(&out).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/ostree.py");
        let mut make = Command::new("python3");
        make.arg(script).arg(self.path("repo")).arg("os").arg(&out);
        judge(make.args([parents, attributes]));
        let files = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files.map(|path| (name(&path), fs::read(path).unwrap())).collect()
    }

    fn load(&self, layers: &[Vec<u8>]) -> (Tree, Spool) {
        let folder = tempfile::tempdir_in(self.scratch.path()).unwrap();
        write_image(folder.path(), layers);
        let layout = Layout::open(&LayoutReference::directory(folder.path())).unwrap();
        let image = Image::open(&layout, Some("v1"), None).unwrap();
        layers::load(&layout, &image, &Options::default(), &|_| ()).unwrap()
    }

    /// The digest of the root target that layers become.
    fn root(&self, layers: &[Vec<u8>]) -> Digest {
        let (tree, spool) = self.load(layers);
        let file = self.path("root.erofs");
        write_file(&erofs::layout(&tree).unwrap(), &spool, &file);
        Digest::of(&fs::read(file).unwrap())
    }
}

fn chosen(layers: &BTreeMap<String, Vec<u8>>, names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| layers[*name].clone()).collect()
}

/// What does not depend on which files are one inode.
fn apart(seen: Seen) -> Seen {
    let is_emptied = |path: &[u8]| {
        let inside = |name: &&str| path.strip_prefix(name.as_bytes());
        EMPTIED.iter().filter_map(inside).any(|rest| rest.starts_with(b"/"))
    };
    let kept = seen.into_iter().filter(|(path, _)| !is_emptied(path));
    kept.map(|(path, mut entry)| {
        entry.links = 0;
        entry.same_as.clear();
        (path, entry)
    })
    .collect()
}

const EVERY_ORDER: [[&str; 3]; 6] = [
    ["0", "1", "2"],
    ["0", "2", "1"],
    ["1", "0", "2"],
    ["1", "2", "0"],
    ["2", "0", "1"],
    ["2", "1", "0"],
];

/// What a commit shows, as what a container shows of it.
fn as_in_a_container(commit: Seen) -> Seen {
    let moved = |path: Vec<u8>| match path.strip_prefix(b"usr/etc") {
        Some(rest) => [b"etc", rest].concat(),
        None => path,
    };
    let commit = apart(commit).into_iter();
    let mut seen: Seen = commit.map(|(path, entry)| (moved(path), entry)).collect();
    // A container has this directory, which no commit has.
    let mut temporary = seen[b"var".as_slice()].clone();
    temporary.mode = 0o041_777;
    seen.insert(b"var/tmp".to_vec(), temporary);
    for entry in seen.values_mut() {
        // Nor has a commit times.
        entry.mtime = (0, 0);
        for name in ["security.selinux", "user.component"] {
            entry.xattrs.remove(name.as_bytes());
        }
    }
    seen
}

#[test]
fn an_ostree_base_becomes_what_ostree_itself_shows() {
    let base = Base::new();
    let export = base.path("export.tar");
    let repo = format!("--repo={}", base.path("repo").display());
    let mut command = Command::new("ostree");
    command.arg("export").arg(&repo).arg(format!("--output={}", export.display()));
    judge(command.arg("os"));
    let all = Options { emptied: Vec::new(), ..Options::default() };
    let (tree, spool, _) =
        layers::load_archive(File::open(export).unwrap(), &all, &|_| ()).unwrap();
    let exported = as_in_a_container(seen(&tree, &spool));

    let layers = base.layers("sparse", "beside");
    let (tree, spool) = base.load(&chosen(&layers, &["0", "1", "2"]));
    let found = seen(&tree, &spool);
    // An export has no attributes, and a checkout has them where we may set them.
    let mut without = apart(found.clone());
    without.values_mut().for_each(|entry| entry.xattrs.clear());
    assert_same("ostree export", &without, &exported);
    if is_root() {
        let archive = format!("--repo={}", base.path("archive").display());
        judge(Command::new("ostree").args(["init", "--mode=archive", &archive]));
        let from = base.path("repo").display().to_string();
        judge(Command::new("ostree").args(["pull-local", &archive, &from, "os"]));
        let checkout = base.path("checkout");
        judge(Command::new("ostree").args(["checkout", &archive, "os"]).arg(&checkout));
        let expected = as_in_a_container(seen_in(&checkout));
        assert_same("ostree checkout", &apart(found.clone()), &expected);
    }
    // Identical files are one object, so they are one file; empty ones are not.
    let first = |path: &str| found[path.as_bytes()].same_as.clone();
    assert_eq!(first("usr/share/elsewhere/twin"), b"usr/bin/twin-a");
    assert_eq!(found[b"usr/bin/twin-a".as_slice()].links, 3);
    assert_eq!(first("usr/lib64/empty-too"), b"usr/lib64/empty-too");
    assert!(tree.node(tree.find(b"sysroot").unwrap()).entries().unwrap().is_empty());
    let note = &found[b"usr/bin/su".as_slice()].xattrs;
    assert_eq!(note[b"user.note".as_slice()], [b'n'; 300]);
    let ping = &found[b"usr/bin/ping".as_slice()].xattrs;
    assert!(!ping.contains_key(b"user.component".as_slice()));
    assert_eq!(ping.contains_key(b"security.capability".as_slice()), is_root());

    // It boots: kernel and initramfs are names of objects as well.
    let labels = BTreeMap::new();
    let image =
        bootc::Image { tree: &tree, contents: &spool, architecture: "amd64", labels: &labels };
    let bootable = bootc::check(image, "amd64", Labels::Optional).unwrap();
    assert_eq!(bootable.kernel.digest, Digest::of(b"a kernel"));
}

#[test]
fn the_layers_of_an_ostree_base_give_one_root_in_every_form_and_order() {
    let base = Base::new();
    let first = base.root(&chosen(&base.layers("sparse", "beside"), &EVERY_ORDER[0]));
    for (parents, attributes) in [("sparse", "beside"), ("sparse", "both"), ("parents", "both")] {
        let layers = base.layers(parents, attributes);
        for order in EVERY_ORDER {
            let root = base.root(&chosen(&layers, &order));
            assert_eq!(root, first, "{parents}, {attributes}, {order:?}");
        }
    }
    // Made again elsewhere, of a folder with another history.
    let again = Base::new();
    assert_eq!(again.root(&chosen(&again.layers("parents", "both"), &EVERY_ORDER[5])), first);
}

#[test]
fn what_is_built_on_an_ostree_base_changes_what_it_names_and_nothing_else() {
    let base = Base::new();
    let layers = base.layers("parents", "both");
    let look = |name: &str| {
        let (tree, spool) = base.load(&chosen(&layers, &["0", "1", "2", name]));
        seen(&tree, &spool)
    };
    let digest = |seen: &Seen, path: &str| seen[path.as_bytes()].digest;
    let [changed, twin] = [b"changed\n".as_slice(), b"twin\n"].map(|it| Some(Digest::of(it)));

    // As overlayfs shows it: one name was written to, the object is as it was.
    let overlay = look("overlay");
    assert_eq!(digest(&overlay, "usr/bin/twin-a"), changed);
    assert_eq!(overlay[b"usr/bin/twin-a".as_slice()].mtime.0, 1_700_000_000);
    for name in ["usr/bin/twin-b", "usr/share/elsewhere/twin", "usr/bin/added"] {
        assert_eq!(digest(&overlay, name), twin, "{name}");
        assert_eq!(overlay[name.as_bytes()].mtime.0, 0, "{name}");
    }
    assert!(!overlay.contains_key(b"usr/bin/removed".as_slice()));

    // As a comparison of trees shows it: the object was written to, and two names are listed.
    let naive = look("naive");
    for name in ["usr/bin/twin-a", "usr/bin/twin-b"] {
        assert_eq!(digest(&naive, name), changed, "{name}");
        assert_eq!(naive[name.as_bytes()].same_as, b"usr/bin/twin-a", "{name}");
    }
    assert_eq!(digest(&naive, "usr/share/elsewhere/twin"), twin);
    assert!(naive.contains_key(b"usr/bin/removed".as_slice()));
}

#[test]
fn an_image_on_an_ostree_base_becomes_what_umoci_unpacks() {
    let base = Base::new();
    let layers = base.layers("parents", "both");
    for (number, top) in ["overlay", "naive"].into_iter().enumerate() {
        let layers = chosen(&layers, &["0", "1", "2", top]);
        let layout = base.path(&format!("layout{number}"));
        write_image(&layout, &layers);
        let bundle = base.path(&format!("bundle{number}"));
        let mut unpack = Command::new("umoci");
        unpack.arg("unpack").arg("--image").arg(format!("{}:v1", layout.display()));
        if !is_root() {
            unpack.arg("--rootless");
        }
        judge(unpack.arg(&bundle));
        let comparable = |seen: Seen| -> Seen {
            let mut seen = apart(seen);
            for entry in seen.values_mut() {
                // Unpackers leave what they like as the time of a directory.
                if entry.mode >> 12 == 4 {
                    entry.mtime = (0, 0);
                }
                entry.xattrs.retain(|name, _| {
                    name != b"user.component" && (is_root() || name == b"user.note")
                });
                if !is_root() {
                    (entry.uid, entry.gid) = (0, 0);
                }
            }
            seen
        };
        let (tree, spool) = base.load(&layers);
        let found = comparable(seen(&tree, &spool));
        assert_same(top, &found, &comparable(seen_in(&bundle.join("rootfs"))));
    }
}
