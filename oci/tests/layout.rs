//! Layouts and archives as skopeo and tar make them, and damaged ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use gybe_core::digest::Digest;
use gybe_oci::{Descriptor, Layout, LayoutReference, LayoutWriter, media_type};
use proptest::prelude::*;
use tempfile::TempDir;

/// Runs a tool, which must be there and succeed.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|cause| {
        panic!("{program}: {cause}; run: cargo full-test, which installs it")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
}

/// An image with an empty layer, tagged v1.
fn sample() -> (TempDir, PathBuf, Digest) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("layout");
    let writer = LayoutWriter::open(&root).unwrap();
    let layer = [0; 1024];
    let diff = Digest::of(&layer);
    let (layer, layer_len) = writer.write_blob(&layer).unwrap();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#
    );
    let (config, config_len) = writer.write_blob(config.as_bytes()).unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_len}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{layer_len}}}]}}"#,
        media_type::MANIFEST
    );
    let (digest, len) = writer.write_blob(manifest.as_bytes()).unwrap();
    writer.list(&Descriptor::new(media_type::MANIFEST, digest, len), Some("v1")).unwrap();
    (scratch, root, digest)
}

fn open(text: &str) -> Result<Layout, String> {
    Layout::open(&text.parse().unwrap()).map_err(|error| error.problem.to_string())
}

fn assert_is_sample(reference: &str, digest: Digest) {
    let reference: LayoutReference = reference.parse().unwrap();
    let layout = Layout::open(&reference).unwrap();
    let found = layout.resolve(reference.tag.as_deref(), None).unwrap();
    assert_eq!(found.descriptor.digest, digest);
    let manifest = layout.manifest(&found).unwrap();
    let layer = manifest.layers.first().unwrap();
    assert_eq!(layout.read_blob(&layer.digest, 1024).unwrap(), [0; 1024]);
    let mut part = [1; 24];
    layout.read_blob_at(&layer.digest, 1000, &mut part).unwrap();
    assert_eq!(part, [0; 24]);
    assert!(layout.read_blob_at(&layer.digest, 1001, &mut part).is_err());
}

#[test]
fn skopeo_reads_what_is_written_here_and_writes_what_is_read_here() {
    let (scratch, root, digest) = sample();
    let source = format!("oci:{}:v1", root.display());
    let copy = scratch.path().join("copy").display().to_string();
    let archive = scratch.path().join("copy.tar").display().to_string();
    let policy = "--insecure-policy";
    for target in [format!("oci:{copy}:v1"), format!("oci-archive:{archive}:v1")] {
        run("skopeo", &[policy, "copy", "--quiet", "--preserve-digests", &source, &target]);
        assert_is_sample(&target, digest);
    }
    // And on top of what skopeo wrote.
    let writer = LayoutWriter::open(Path::new(&copy)).unwrap();
    let (other, len) = writer.write_blob(b"{}").unwrap();
    writer.list(&Descriptor::new("a/b", other, len), Some("other")).unwrap();
    let again = format!("dir:{}", scratch.path().join("dir").display());
    run("skopeo", &[policy, "copy", "--quiet", &format!("oci:{copy}:v1"), &again]);
}

#[test]
fn archives_of_every_format_are_read_in_place() {
    let (scratch, root, digest) = sample();
    let root = root.display().to_string();
    let archive = scratch.path().join("archive.tar").display().to_string();
    for format in ["gnu", "pax", "ustar"] {
        for member in [".", "blobs"] {
            let rest: &[&str] =
                if member == "." { &["."] } else { &["blobs", "index.json", "oci-layout"] };
            let format = format!("--format={format}");
            run("tar", &[&["-C", &root, &format, "-cf", &archive], rest].concat());
            assert_is_sample(&format!("oci-archive:{archive}:v1"), digest);
        }
    }
    run("bsdtar", &["-C", &root, "-cf", &archive, "--format=pax", "."]);
    assert_is_sample(&format!("oci-archive:{archive}"), digest);
}

#[test]
fn an_archive_that_cannot_be_read_in_place_says_why() {
    let (scratch, root, _) = sample();
    let root = root.display().to_string();
    let archive = scratch.path().join("archive.tar");
    let name = archive.display().to_string();
    let reference = format!("oci-archive:{name}");
    run("tar", &["-C", &root, "-czf", &name, "."]);
    assert_eq!(
        open(&reference).unwrap_err(),
        "the archive is compressed by gzip; it is read in place and must not be"
    );
    run("tar", &["-C", &root, "-cf", &name, "."]);
    let whole = fs::read(&archive).unwrap();
    let mut cut = 0;
    for len in (0..whole.len()).step_by(512).skip(1) {
        fs::write(&archive, &whole[..len - 100]).unwrap();
        cut += usize::from(open(&reference).is_err());
    }
    assert!(cut > 10, "only {cut} of the cut archives were refused");
    fs::write(&archive, b"no archive").unwrap();
    assert!(open(&reference).is_err());
    run("tar", &["-C", &root, "-cf", &name, "index.json", "oci-layout"]);
    run("tar", &["-C", &root, "-rf", &name, "index.json"]);
    assert_eq!(open(&reference).unwrap_err(), "index.json is in the archive twice");
}

#[test]
fn links_and_pipes_inside_a_layout_are_refused() {
    let (_scratch, root, digest) = sample();
    let reference = format!("oci:{}", root.display());
    let blob = root.join("blobs/sha256").join(digest.hex().to_string());
    fs::rename(&blob, root.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(root.join("elsewhere"), &blob).unwrap();
    let read = || {
        let layout = open(&reference).unwrap();
        layout.read_blob(&digest, 4096).unwrap_err().problem.to_string()
    };
    assert_eq!(read(), format!("cannot read {digest}: is a symbolic link"));
    fs::remove_file(&blob).unwrap();
    run("mkfifo", &[&blob.display().to_string()]);
    assert_eq!(read(), format!("cannot read {digest}: is not a regular file"));
    fs::rename(root.join("blobs"), root.join("blobs2")).unwrap();
    std::os::unix::fs::symlink("blobs2", root.join("blobs")).unwrap();
    assert!(read().starts_with(&format!("cannot read {digest}: ")));
}

#[test]
fn what_is_no_layout_says_what_is_missing() {
    let (_scratch, root, digest) = sample();
    let reference = format!("oci:{}", root.display());
    let layout = open(&reference).unwrap();
    let limit = layout.read_blob(&digest, 10).unwrap_err().problem.to_string();
    let len = layout.blob(&digest).unwrap().len();
    assert_eq!(limit, format!("{digest} is {len} bytes, limit 10"));

    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_eq!(open(&reference).unwrap_err(), "the layout has version 2.0.0, not 1.0.0");
    fs::remove_file(root.join("oci-layout")).unwrap();
    assert_eq!(open(&reference).unwrap_err(), "no OCI layout: there is no oci-layout");
    fs::remove_dir_all(&root).unwrap();
    assert!(open(&reference).unwrap_err().starts_with("cannot open the directory: No such file"));
}

#[test]
fn an_index_beyond_its_limit_is_not_read() {
    let (_scratch, root, _) = sample();
    let index = fs::File::options().write(true).open(root.join("index.json")).unwrap();
    // A hole: only a reader that ignores the limit would read a terabyte.
    index.set_len(1 << 40).unwrap();
    assert_eq!(
        open(&format!("oci:{}", root.display())).unwrap_err(),
        "index.json is 1099511627776 bytes, limit 1048576"
    );
}

/// An archive, made once, and the digest of the image in it.
static WHOLE: LazyLock<(Vec<u8>, Digest)> = LazyLock::new(|| {
    let (scratch, root, digest) = sample();
    let archive = scratch.path().join("archive.tar");
    let name = archive.display().to_string();
    run("tar", &["-C", &root.display().to_string(), "-cf", &name, "."]);
    (fs::read(&archive).unwrap(), digest)
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_damaged_archive_gives_the_right_bytes_or_an_error(
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8),
        cut in any::<u16>(),
    ) {
        let (mut bytes, digest) = WHOLE.clone();
        for (at, with) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = with;
        }
        bytes.truncate(usize::from(cut).max(512));
        let archive = tempfile::NamedTempFile::new().unwrap();
        fs::write(archive.path(), &bytes).unwrap();
        if let Ok(layout) = open(&format!("oci-archive:{}", archive.path().display()))
            && let Ok(found) = layout.resolve(None, None)
        {
            prop_assert_eq!(Digest::of(&found.manifest), found.descriptor.digest);
            let same = layout.read_blob(&digest, 4096).map(|manifest| Digest::of(&manifest));
            prop_assert!(same.is_err() || same.is_ok_and(|same| same == digest));
        }
    }
}
