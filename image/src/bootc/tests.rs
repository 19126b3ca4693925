//! Each check of an image, on the smallest tree that shows it.

use std::io;

use gybe_core::digest::Digest;

use super::*;
use crate::tree::{Meta, Node};

/// Files whose bytes stand where their layer says.
struct Files(Vec<Vec<u8>>);

impl ReadContent for Files {
    fn read_at(&self, content: &Content, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&self.0[content.layer][at..at + buffer.len()]);
        Ok(())
    }
}

/// A tree of what `paths` name: `d/` is a directory, `l>target` a link, `f=bytes` a file.
fn image(paths: &[&str]) -> (Tree, Files) {
    let mut tree = Tree::new(Meta::implied());
    let mut files = Files(Vec::new());
    for path in paths {
        let (path, kind) = if let Some((path, bytes)) = path.split_once('=') {
            let bytes = bytes.as_bytes().to_vec();
            let (len, digest) = (bytes.len() as u64, Digest::of(&bytes));
            files.0.push(bytes);
            let layer = files.0.len() - 1;
            (path, Kind::File(Content { layer, len, digest, pieces: Vec::new() }))
        } else if let Some((path, target)) = path.split_once('>') {
            (path, Kind::Symlink(target.into()))
        } else {
            (path.trim_end_matches('/'), Kind::Directory(BTreeMap::new()))
        };
        let mut at = tree.root();
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        for parent in parents.split('/').filter(|name| !name.is_empty()) {
            at = tree.entry(at, parent.as_bytes()).unwrap_or_else(|| {
                let id = tree.add(Node::directory(Meta::implied()));
                tree.insert(at, parent.as_bytes(), id);
                id
            });
        }
        let id = tree.add(Node { meta: Meta::implied(), kind });
        tree.insert(at, name.as_bytes(), id);
    }
    (tree, files)
}

fn checked(paths: &[&str], labels: &[&str]) -> Result<Bootable, String> {
    let (tree, contents) = image(paths);
    let labels = labels.iter().map(|key| ((*key).into(), String::new())).collect();
    let image = Image { tree: &tree, contents: &contents, architecture: "arm64", labels: &labels };
    check(image, "arm64", Labels::Required).map_err(|error| error.to_string())
}

const KERNEL_FILE: &str = "usr/lib/modules/6.1.0/vmlinuz=kernel";
const INITRAMFS_FILE: &str = "usr/lib/modules/6.1.0/initramfs.img=initramfs";

fn refusal(more: &[&str]) -> String {
    checked(&[&[KERNEL_FILE, INITRAMFS_FILE], more].concat(), &["ostree.bootable"]).unwrap_err()
}

#[test]
fn a_bootable_image_shows_what_boots_it() {
    let found = checked(
        &[
            KERNEL_FILE,
            INITRAMFS_FILE,
            "usr/lib/modules/6.0.0/modules.dep=left behind",
            "usr/lib/modules/6.1.0/dtb/vendor/x.dtb=tree",
            "usr/lib/modules/6.1.0/dtb/y.dtb>vendor/../vendor/x.dtb",
            "usr/lib/bootc/kargs.d/20-b.toml=kargs = ['quiet']",
            "usr/lib/bootc/kargs.d/10-a.toml=kargs = ['console=ttyS0 b=1', 'c']",
            "usr/lib/bootc/kargs.d/30-x86.toml=kargs = ['x']\nmatch-architectures = ['x86_64']",
            "usr/lib/bootc/kargs.d/40.toml=kargs = ['y']\nmatch-architectures = ['x', 'aarch64']",
            "usr/lib/bootc/kargs.d/README=not read",
        ],
        &["other", "containers.bootc"],
    )
    .unwrap();
    assert_eq!(found.kernel_version, "6.1.0");
    assert_eq!(found.kernel.digest, Digest::of(b"kernel"));
    assert_eq!(found.initramfs.digest, Digest::of(b"initramfs"));
    assert_eq!(found.kargs, ["console=ttyS0 b=1", "c", "quiet", "y"]);
    let trees: Vec<_> =
        found.device_trees.iter().map(|(path, content)| (path.as_str(), content.digest)).collect();
    let tree = Digest::of(b"tree");
    assert_eq!(trees, [("vendor/x.dtb", tree), ("y.dtb", tree)]);
}

#[test]
fn a_label_and_the_architecture_are_asked_for() {
    let refused = checked(&[KERNEL_FILE, INITRAMFS_FILE], &["bootable"]).unwrap_err();
    assert_eq!(refused, "image has neither the label containers.bootc nor ostree.bootable");

    let (tree, contents) = image(&[KERNEL_FILE, INITRAMFS_FILE]);
    let labels = BTreeMap::new();
    let image = Image { tree: &tree, contents: &contents, architecture: "arm64", labels: &labels };
    check(image, "arm64", Labels::Optional).unwrap();
    let refused = check(image, "amd64", Labels::Optional).unwrap_err().to_string();
    assert_eq!(refused, "image has architecture arm64, expected amd64");
}

#[test]
fn there_is_exactly_one_kernel_with_an_initramfs() {
    for (paths, message) in [
        (&["etc/"] as &[_], "image has no directory /usr/lib/modules"),
        (
            &["usr/lib/modules/"],
            "no directory of /usr/lib/modules has a vmlinuz (directories: none)",
        ),
        (
            &["usr/lib/modules/1/", "usr/lib/modules/2/initramfs.img=x"],
            "no directory of /usr/lib/modules has a vmlinuz (directories: 1, 2)",
        ),
        (
            &["usr/lib/modules/1/vmlinuz=x", "usr/lib/modules/2/vmlinuz=y"],
            "found multiple subdirectories with a vmlinuz in /usr/lib/modules: 1, 2",
        ),
        (&[KERNEL_FILE], "/usr/lib/modules/6.1.0 has no initramfs.img"),
        (
            &[KERNEL_FILE, "usr/lib/modules/6.1.0/initramfs.img="],
            "/usr/lib/modules/6.1.0/initramfs.img is empty",
        ),
        (
            &["usr/lib/modules/6.1.0/vmlinuz>/boot/vmlinuz", INITRAMFS_FILE],
            "/usr/lib/modules/6.1.0/vmlinuz: is missing, or a link to what is not in the image",
        ),
        (
            &["usr/lib/modules/6.1.0/vmlinuz>vmlinuz", INITRAMFS_FILE],
            "/usr/lib/modules/6.1.0/vmlinuz: leads through more than 40 symbolic links",
        ),
        (
            &["usr/lib/modules/6.1.0/vmlinuz/", INITRAMFS_FILE],
            "/usr/lib/modules/6.1.0/vmlinuz: is not a regular file",
        ),
    ] {
        assert_eq!(checked(paths, &["ostree.bootable"]).unwrap_err(), message);
    }
    for paths in [
        ["usr/lib/modules/6.1.0/", "boot/EFI/Linux/6.1.0.efi=uki"],
        ["usr/lib/modules/6.1.0/6.1.0.efi=uki", "boot/"],
    ] {
        let refused = checked(&paths, &["ostree.bootable"]).unwrap_err();
        assert!(
            refused.starts_with("image has a unified kernel (*.efi) and no vmlinuz"),
            "{refused}"
        );
    }
}

#[test]
fn etc_is_in_one_place() {
    assert_eq!(refusal(&["etc/", "usr/etc/"]), "image has both /etc and /usr/etc");
    checked(&[KERNEL_FILE, INITRAMFS_FILE, "usr/etc/"], &["ostree.bootable"]).unwrap();
}

#[test]
fn wrong_kernel_arguments_are_refused_with_their_file() {
    for (text, message) in [
        ("kargs = ['a']\ntypo = 1", "unknown field `typo`"),
        ("match-architectures = []", "missing field `kargs`"),
        ("kargs = 'a'", "invalid type"),
        ("kargs = ['']", "kernel argument is empty"),
        (
            "kargs = ['a b\\c']",
            "\"a b\\\\c\" has the character '\\\\', which not every boot loader",
        ),
        ("kargs = ['a=\"b c\"']", "has the character '\"'"),
        ("kargs = [\"a\\nb\"]", "has the character '\\n'"),
        ("kargs = ['a init=/bin/sh']", "\"init=/bin/sh\" is gybe's to set"),
        ("kargs = ['root=/dev/sda']", "\"root=/dev/sda\" is gybe's to set"),
        ("kargs = ['roothash=00']", "\"roothash=00\" is gybe's to set"),
        ("kargs = ['systemd.verity-root-options=x']", "is gybe's to set"),
        ("kargs = ['rd.systemd.verity=0']", "is gybe's to set"),
        ("kargs = ['gybe.slot=b']", "is gybe's to set"),
        ("kargs = ['a -- single']", "\"--\" is gybe's to set"),
        ("kargs = ['a /b*']", "\"/b*\" begins with / or (, which GRUB takes for a path"),
        ("kargs = ['(hd0)']", "\"(hd0)\" begins with / or ("),
    ] {
        let refused = refusal(&[&format!("usr/lib/bootc/kargs.d/10-a.toml={text}")]);
        assert!(refused.starts_with("/usr/lib/bootc/kargs.d/10-a.toml: "), "{refused}");
        assert!(refused.contains(message), "{refused}");
    }
    let refused = refusal(&["usr/lib/bootc/kargs.d/10-a.toml>/nowhere"]);
    assert!(refused.ends_with("is missing, or a link to what is not in the image"), "{refused}");
    let long = format!("usr/lib/bootc/kargs.d/1.toml={}", "#".repeat(65_537));
    assert_eq!(refusal(&[&long]), "/usr/lib/bootc/kargs.d/1.toml has 65537 bytes, limit 65536");
    for fine in ["rootwait", "init.x", "initcall_debug", "a=root=b", "systemd.show_status=1"] {
        assert_eq!(kargs::check(fine), Ok(()), "{fine}");
    }
}

#[test]
fn an_old_kernel_with_large_pages_is_refused() {
    let labels = BTreeMap::new();
    let mut header = vec![0; 64];
    header[56..60].copy_from_slice(b"ARM\x64");
    for (name, page_flags, refused) in [
        ("6.1.0", 1, false),
        ("6.1.0", 2, true),
        ("6.1.0", 3, true),
        ("6.1.0", 0, false),
        ("6.1.0-64k", 0, true),
        ("6.1.0-64k", 1, false),
        ("6.12.0", 3, false),
    ] {
        let [kernel, initramfs] = [KERNEL_FILE, INITRAMFS_FILE].map(|p| p.replace("6.1.0", name));
        let (tree, mut contents) = image(&[&kernel, &initramfs]);
        header[24] = page_flags << 1;
        contents.0[0] = header.clone();
        let mut tree = tree;
        let id = tree.find(format!("{MODULES}/{name}/vmlinuz").as_bytes()).unwrap();
        if let Kind::File(content) = &mut tree.node_mut(id).kind {
            content.len = 64;
        }
        let image =
            Image { tree: &tree, contents: &contents, architecture: "arm64", labels: &labels };
        let found = check(image, "arm64", Labels::Optional);
        assert_eq!(found.is_err(), refused, "{name} {page_flags}: {found:?}");
    }
}
