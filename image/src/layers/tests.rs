//! Layers of every compression, and layers that are not what they say.

use std::io::Write as _;
use std::path::Path;

use gybe_oci::{LayoutReference, LayoutWriter, media_type};

use super::*;
use crate::content::ReadContent as _;
use crate::tar::build::{member, pax, tar};
use crate::tree::Kind;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer as it is put into an image.
#[derive(Clone)]
struct Sample {
    media_type: String,
    stored: Vec<u8>,
    diff_id: Digest,
}

impl Sample {
    fn plain(tar: Vec<u8>) -> Self {
        Self { media_type: TAR.to_owned(), diff_id: Digest::of(&tar), stored: tar }
    }

    fn gzip(tar: &[u8]) -> Self {
        // Two members, as parallel gzip programs make them.
        let stored = tar.chunks(tar.len() / 2 + 1).flat_map(|part| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap()
        });
        Self { stored: stored.collect(), ..Self::plain(tar.to_vec()) }
    }

    /// As zstd:chunked: several frames, and frames to skip before and after.
    fn zstd(tar: &[u8]) -> Self {
        let skip = [0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let mut stored = skip.to_vec();
        for part in tar.chunks(700) {
            stored.extend(zstd::encode_all(part, 3).unwrap());
        }
        stored.extend(skip);
        Self { stored, ..Self::plain(tar.to_vec()) }
    }
}

fn write(root: &Path, layers: &[Sample]) -> Layout {
    let writer = LayoutWriter::open(root).unwrap();
    let descriptors: Vec<_> = layers
        .iter()
        .map(|layer| {
            let (digest, len) = writer.write_blob(&layer.stored).unwrap();
            Descriptor::new(&layer.media_type, digest, len)
        })
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let config = serde_json::json!({
        "architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let (digest, len) = writer.write_blob(config.to_string().as_bytes()).unwrap();
    let config = Descriptor::new("application/vnd.oci.image.config.v1+json", digest, len);
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": descriptors});
    let (digest, len) = writer.write_blob(manifest.to_string().as_bytes()).unwrap();
    writer.list(&Descriptor::new(media_type::MANIFEST, digest, len), None).unwrap();
    Layout::open(&LayoutReference::directory(root)).unwrap()
}

fn load_with(layers: &[Sample], options: &Options) -> Result<(Tree, Spool), String> {
    let root = tempfile::tempdir().unwrap();
    let layout = write(root.path(), layers);
    let image = Image::open(&layout, None, None).map_err(|error| error.to_string())?;
    let reports = Mutex::new(Vec::new());
    let loaded = load(&layout, &image, options, &|progress| reports.lock().unwrap().push(progress));
    if loaded.is_ok() {
        let total = layers.iter().map(|layer| layer.stored.len() as u64).sum();
        let reports = reports.into_inner().unwrap();
        assert!(reports.contains(&Progress { done: total, total }), "{reports:?}");
    }
    loaded.map_err(|error| error.to_string())
}

fn load_layers(layers: &[Sample]) -> Result<(Tree, Spool), String> {
    load_with(layers, &Options::default())
}

/// The message after the layer's digest.
fn error(layers: &[Sample]) -> String {
    let error = load_layers(layers).unwrap_err();
    error.split_once("): ").map_or(error.clone(), |(_, rest)| rest.to_owned())
}

fn content(tree: &Tree, spool: &Spool, path: &str) -> Vec<u8> {
    let Kind::File(content) = &tree.node(tree.find(path.as_bytes()).unwrap()).kind else {
        panic!("{path} is not a file")
    };
    let mut bytes = vec![0; usize::try_from(content.len).unwrap()];
    spool.read_at(content, 0, &mut bytes).unwrap();
    assert_eq!(Digest::of(&bytes), content.digest);
    bytes
}

fn file(path: &str, content: &[u8]) -> Vec<u8> {
    member(path, b'0', "", content)
}

#[test]
fn plain_gzip_and_zstd_layers_give_the_same_tree() {
    let noise: Vec<u8> =
        (0..300_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let lower = tar(&[file("./a", b"lower"), file("b/c", &noise), member("d", b'1', "b/c", b"")]);
    let upper = tar(&[file("a", b"upper"), file("b/.wh.c", b"")]);
    let kinds: [fn(&[u8]) -> Sample; 3] =
        [|tar| Sample::plain(tar.to_vec()), Sample::gzip, Sample::zstd];
    let mut trees = Vec::new();
    for kind in kinds {
        let (tree, spool) = load_layers(&[kind(&lower), kind(&upper)]).unwrap();
        assert_eq!(content(&tree, &spool, "a"), b"upper");
        assert_eq!(content(&tree, &spool, "d"), noise);
        let all: Vec<_> = tree.walk().map(|(path, id)| (path, id, tree.node(id).clone())).collect();
        assert_eq!(all.len(), 4);
        trees.push(all);
    }
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
}

#[test]
fn the_media_type_may_name_another_compression_but_not_another_thing() {
    let layer = Sample::gzip(&tar(&[file("a", b"x")]));
    let typed = |media_type: &str| Sample { media_type: media_type.to_owned(), ..layer.clone() };
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ] {
        assert!(load_layers(&[typed(media_type)]).is_ok(), "{media_type}");
    }
    for (media_type, message) in [
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted layers ("),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign layers ("),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", "foreign layers ("),
        ("application/json", "media type application/json is not that of a layer"),
    ] {
        let found = error(&[typed(media_type)]);
        assert!(found.starts_with(message), "{found}");
    }
}

#[test]
fn an_error_names_the_layer_its_digest_and_the_path() {
    let good = Sample::plain(tar(&[file("a", b"")]));
    let bad = Sample::plain(tar(&[file("a", b""), file("b/../c", b"")]));
    let digest = Digest::of(&bad.stored);
    assert_eq!(
        load_layers(&[good.clone(), bad]).unwrap_err(),
        format!("layer 1 ({digest}): b/../c: path has a .. component")
    );
    let link = Sample::plain(tar(&[member("x", b'1', "y", b"")]));
    let digest = Digest::of(&link.stored);
    assert_eq!(
        load_layers(&[good, link]).unwrap_err(),
        format!("layer 1 ({digest}): x: hardlink to y, which is not there")
    );
}

#[test]
fn digests_that_lie_are_found() {
    let bytes = tar(&[file("a", b"x")]);
    let other = Digest::of(b"other");
    for layer in [Sample::plain(bytes.clone()), Sample::gzip(&bytes), Sample::zstd(&bytes)] {
        let diff = Digest::of(&bytes);
        assert_eq!(
            error(&[Sample { diff_id: other, ..layer.clone() }]),
            format!("the digest of the uncompressed layer is {diff}, config says {other}")
        );
        let root = tempfile::tempdir().unwrap();
        let layout = write(root.path(), std::slice::from_ref(&layer));
        let image = Image::open(&layout, None, None).unwrap();
        let name = image.manifest.layers[0].digest.hex().to_string();
        // Any flipped bit, wherever it is and whatever it does to the decompressor.
        for at in (0..layer.stored.len()).step_by(layer.stored.len() / 20 + 1) {
            let mut bytes = layer.stored.clone();
            bytes[at] ^= 1;
            std::fs::write(root.path().join("blobs/sha256").join(&name), &bytes).unwrap();
            let found = load(&layout, &image, &Options::default(), &|_| ()).unwrap_err();
            assert!(
                found.to_string().contains("): corrupt: the digest of its bytes is "),
                "{found}"
            );
        }
    }
}

#[test]
fn a_layer_that_is_cut_off_or_too_long_is_refused() {
    let bytes = tar(&[file("a", &[0; 100_000])]);
    let gzip = Sample::gzip(&bytes);
    let zstd = Sample::zstd(&bytes);
    for whole in [&gzip, &zstd] {
        let stored = whole.stored[..whole.stored.len() - 15].to_vec();
        assert!(load_layers(&[Sample { stored, ..whole.clone() }]).is_err());
    }
    let options = Options { layer_len_max: 50_000, ..Options::default() };
    for bomb in [gzip, zstd] {
        let found = load_with(&[bomb], &options).unwrap_err();
        assert!(found.contains("bytes or more, limit 50000"), "{found}");
    }
    let plain = Sample::plain(bytes);
    let found = load_with(&[plain], &options).unwrap_err();
    assert!(found.ends_with("layer is 101888 bytes or more, limit 50000"), "{found}");
}

#[test]
fn a_layer_of_999_terabytes_is_refused_before_anything_is_read() {
    let root = tempfile::tempdir().unwrap();
    let layout = write(root.path(), &[Sample::plain(tar(&[]))]);
    let mut image = Image::open(&layout, None, None).unwrap();
    image.manifest.layers[0].size = 999_000_000_000_000;
    std::fs::remove_dir_all(root.path().join("blobs")).unwrap();
    let found = load(&layout, &image, &Options::default(), &|_| ()).unwrap_err().to_string();
    assert!(
        found.ends_with("layer is 999000000000000 bytes or more, limit 68719476736"),
        "{found}"
    );
    image.config.diff_ids.clear();
    let found = load(&layout, &image, &Options::default(), &|_| ()).unwrap_err().to_string();
    assert_eq!(found, "manifest has 1 layers, config has 0 diff_ids");
}

#[test]
fn entries_are_counted_over_all_layers() {
    let layer = |path: &str| Sample::plain(tar(&[file(path, b"")]));
    let options = Options { entry_count_max: 2, ..Options::default() };
    let all = [layer("a"), layer("b"), layer("c")];
    assert!(load_with(&all[..2], &options).is_ok());
    let found = load_with(&all, &options).unwrap_err();
    assert!(found.ends_with("more than 2 entries in all layers"), "{found}");
    let one = Sample::plain(tar(&["a", "b", "c"].map(|path| file(path, b""))));
    let found = load_with(&[one], &options).unwrap_err();
    assert!(found.ends_with("c: more than 2 entries in all layers"), "{found}");
    // Parents that no layer names count as well.
    let found = load_with(&[layer("a/b/c")], &options).unwrap_err();
    assert!(found.ends_with("more than 2 files and directories in all layers"), "{found}");
}

#[test]
fn markers_are_markers_and_nothing_else() {
    let lower = tar(&[file("a/x", b""), file("a/y", b"")]);
    let upper = tar(&[
        file("a/.wh..wh.plnk", b"aufs"),
        file(".wh..wh.orph/junk", b"aufs"),
        member("a/.wh.x", b'6', "", b""),
    ]);
    let (tree, _) = load_layers(&[Sample::plain(lower), Sample::plain(upper)]).unwrap();
    let paths: Vec<_> = tree.walk().map(|(path, _)| path).collect();
    assert_eq!(paths, [&b""[..], b"a", b"a/y"]);
    for (name, marker) in [("a/.wh.", ".wh."), ("a/.wh...", ".wh..."), (".wh.a/x", ".wh.a")] {
        let found = error(&[Sample::plain(tar(&[file(name, b"")]))]);
        assert_eq!(found, format!("{name}: {marker} marks nothing"));
    }
}

#[test]
fn metadata_of_the_root_is_taken_and_mount_points_are_emptied() {
    let layer = tar(&[
        pax(b'x', &[("uid", b"7")]),
        member("./", b'5', "", b""),
        file("boot/vmlinuz", b"k"),
        file("sysroot/ostree/repo/objects/aa/b.file", b"data"),
        member("usr/bin/x", b'1', "sysroot/ostree/repo/objects/aa/b.file", b""),
        member("tmp", b'2', "var/tmp", b""),
        file("run/lock/x", b""),
    ]);
    let (tree, spool) = load_layers(&[Sample::plain(layer.clone())]).unwrap();
    assert_eq!(tree.node(tree.root()).meta.uid, 7);
    let paths: Vec<_> =
        tree.walk().skip(1).map(|(path, _)| String::from_utf8(path).unwrap()).collect();
    assert_eq!(paths, ["boot", "run", "sysroot", "tmp", "usr", "usr/bin", "usr/bin/x"]);
    assert_eq!(content(&tree, &spool, "usr/bin/x"), b"data");
    assert_eq!(tree.links().of(tree.find(b"usr/bin/x").unwrap()), 1);
    let options = Options { emptied: Vec::new(), ..Options::default() };
    let (tree, _) = load_with(&[Sample::plain(layer)], &options).unwrap();
    assert!(tree.find(b"boot/vmlinuz").is_some());
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let layout = write(root.path(), &[]);
    assert!(Image::open(&layout, None, Some("aarch64")).is_ok());
    let found = Image::open(&layout, None, Some("x86_64")).unwrap_err().to_string();
    assert_eq!(found, "image is for linux/arm64, linux/amd64 was asked for");
}

#[test]
fn a_layer_of_no_bytes_or_no_entries_changes_nothing() {
    let layers = [Sample::plain(Vec::new()), Sample::gzip(&tar(&[])), Sample::plain(tar(&[]))];
    let (tree, _) = load_layers(&layers).unwrap();
    assert_eq!(tree.walk().count(), 1);
}
