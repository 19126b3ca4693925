//! An image of several layers as umoci made it: what umoci unpacks of it is what the kernel shows
//! of our root target.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::path::Path;
use std::process::Command;

use gybe_core::digest::Digest;
use gybe_image::image::Image;
use gybe_image::layers::{self, Options};
use gybe_image::target::Target;
use gybe_image::{Spool, erofs};
use gybe_oci::Layout;

mod fixture;

use fixture::seen::{Seen, assert_same, seen, seen_in};
use fixture::{Mount, judge, may_mount, write_file};

fn loaded(reference: &str) -> (Seen, Target, Spool) {
    let layout = Layout::open(&reference.parse().unwrap()).unwrap();
    let image = Image::open(&layout, Some("t"), None).unwrap();
    let (tree, spool) = layers::load(&layout, &image, &Options::default(), &|_| ()).unwrap();
    let target = erofs::layout(&tree).unwrap();
    (seen(&tree, &spool), target, spool)
}

/// Directories whose content is not the image's.
const EMPTIED: [&str; 4] = ["boot", "run", "sysroot", "tmp"];

/// What umoci shows, where the layers decide. What it leaves as the time of a directory depends on
/// the order of its work.
fn comparable(seen: Seen) -> Seen {
    let is_dropped = |path: &[u8]| {
        let inside = |emptied: &&str| path.strip_prefix(emptied.as_bytes());
        EMPTIED.iter().filter_map(inside).any(|rest| rest.starts_with(b"/"))
    };
    seen.into_iter()
        .filter(|(path, _)| !is_dropped(path))
        .map(|(path, mut entry)| {
            if entry.mode >> 12 == 4 {
                entry.mtime = (0, 0);
            }
            if EMPTIED.iter().any(|emptied| path == emptied.as_bytes()) {
                entry.links = 2;
            }
            (path, entry)
        })
        .collect()
}

fn written(folder: &Path, reference: &str) -> (Seen, std::path::PathBuf) {
    let (seen, target, spool) = loaded(reference);
    let image = folder.join("root.erofs");
    write_file(&target, &spool, &image);
    (seen, image)
}

#[test]
fn the_kernel_shows_what_umoci_unpacks_however_the_layers_are_stored() {
    if !may_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/layers.sh");
    judge(Command::new("sh").arg(script).current_dir(&folder));
    let path = folder.path().display();

    let (tree, image) = written(folder.path(), &format!("oci:{path}/img:t"));
    let said = judge(Command::new("fsck.erofs").arg(&image));
    assert!(!said.contains("<E>"), "{said}");
    let mount = Mount::new(&image, "erofs", "");
    let kernel = seen_in(mount.path());
    assert_same("kernel and tree", &kernel, &tree);
    let umoci = seen_in(&folder.path().join("out/rootfs"));
    assert_same("kernel and umoci", &comparable(kernel), &comparable(umoci));
    drop(mount);

    let digest = |image: &Path| Digest::of(&std::fs::read(image).unwrap());
    let gzip = digest(&image);
    for reference in ["oci:PATH/zstd:t", "oci:PATH/plain:t", "oci-archive:PATH/img.tar:t"] {
        let reference = reference.replace("PATH", &path.to_string());
        let (_, image) = written(folder.path(), &reference);
        assert_eq!(digest(&image), gzip, "{reference}");
    }
}
