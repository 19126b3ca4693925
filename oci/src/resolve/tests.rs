//! Which image a reference means, and when two would do.

use std::path::Path;

use super::*;
use crate::manifest::media_type;
use crate::reference::LayoutReference;
use crate::writer::LayoutWriter;

struct Sample {
    root: tempfile::TempDir,
    writer: LayoutWriter,
}

impl Sample {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let writer = LayoutWriter::open(root.path()).unwrap();
        Self { root, writer }
    }

    /// A manifest that differs from others by `name`.
    fn manifest(&self, name: &str, more: &str) -> Descriptor {
        let config = serde_json::to_string(&Descriptor::new(name, Digest::of(b""), 0)).unwrap();
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{more}}}"#);
        let (digest, len) = self.writer.write_blob(text.as_bytes()).unwrap();
        Descriptor::new(media_type::MANIFEST, digest, len)
    }

    fn index(&self, entries: &[Descriptor]) -> Descriptor {
        let entries = serde_json::to_string(entries).unwrap();
        let text = format!(r#"{{"schemaVersion":2,"manifests":{entries}}}"#);
        let (digest, len) = self.writer.write_blob(text.as_bytes()).unwrap();
        Descriptor::new(media_type::INDEX, digest, len)
    }

    fn list(&self, entry: &Descriptor, tag: Option<&str>) {
        self.writer.list(entry, tag).unwrap();
    }

    fn resolve(&self, tag: Option<&str>, arch: Option<&str>) -> Result<Resolved, String> {
        let layout = Layout::open(&LayoutReference::directory(self.root.path())).unwrap();
        let platform = arch.map(platform);
        layout.resolve(tag, platform.as_ref()).map_err(|error| error.problem.to_string())
    }
}

fn platform(text: &str) -> Platform {
    let (arch, variant) = text.split_once('/').map_or((text, None), |(a, v)| (a, Some(v)));
    Platform { variant: variant.map(str::to_owned), ..Platform::linux(arch) }
}

fn on(entry: &Descriptor, arch: &str) -> Descriptor {
    Descriptor { platform: Some(platform(arch)), ..entry.clone() }
}

#[test]
fn the_only_image_needs_neither_tag_nor_architecture() {
    let sample = Sample::new();
    let image = sample.manifest("a", "");
    sample.list(&image, Some("v1"));
    for (tag, arch) in [(None, None), (Some("v1"), None), (None, Some("arm64"))] {
        let found = sample.resolve(tag, arch).unwrap();
        assert_eq!((found.descriptor.digest, found.indexes.len()), (image.digest, 0));
        assert_eq!(Digest::of(&found.manifest), image.digest);
    }
    assert_eq!(
        sample.resolve(Some("v2"), None).unwrap_err(),
        "no image has the tag v2; there are v1"
    );
}

#[test]
fn the_tag_chooses_and_several_without_one_are_refused() {
    let sample = Sample::new();
    let [one, two] = ["1", "2"].map(|name| sample.manifest(name, ""));
    sample.list(&one, Some("v1"));
    sample.list(&two, Some("v2"));
    assert_eq!(sample.resolve(Some("v2"), None).unwrap().descriptor.digest, two.digest);
    let error = sample.resolve(None, None).unwrap_err();
    assert!(error.starts_with("2 images fit; name one by tag or architecture: v"), "{error}");
}

#[test]
fn the_architecture_chooses_through_nested_indexes() {
    let sample = Sample::new();
    let [one, two] = ["1", "2"].map(|name| sample.manifest(name, ""));
    let attestation = on(&sample.manifest("3", ""), "unknown");
    let inner = sample.index(&[on(&one, "amd64"), on(&two, "arm64/v8"), attestation]);
    let outer = sample.index(std::slice::from_ref(&inner));
    sample.list(&outer, Some("v1"));
    let found = sample.resolve(None, Some("arm64")).unwrap();
    assert_eq!(found.descriptor.digest, two.digest);
    assert_eq!(found.indexes, [outer.digest, inner.digest]);
    let cases = [
        (Some("s390x"), "there is no image for linux/s390x, only for linux/amd64, linux/arm64/v8"),
        (None, "2 images fit; name one by tag or architecture: linux/"),
    ];
    for (arch, message) in cases {
        let error = sample.resolve(None, arch).unwrap_err();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn docker_types_are_taken_for_what_they_are() {
    let sample = Sample::new();
    let of_docker = format!(r#","mediaType":"{}""#, media_type::DOCKER_MANIFEST);
    let image = Descriptor {
        media_type: media_type::DOCKER_MANIFEST.to_owned(),
        ..on(&sample.manifest("1", &of_docker), "amd64")
    };
    let index = Descriptor {
        media_type: media_type::DOCKER_INDEX.to_owned(),
        ..sample.index(std::slice::from_ref(&image))
    };
    sample.list(&index, None);
    assert_eq!(sample.resolve(None, Some("amd64")).unwrap().descriptor, image);
}

#[test]
fn two_images_for_one_machine_are_refused() {
    let sample = Sample::new();
    let [one, two] = ["1", "2"].map(|name| sample.manifest(name, ""));
    sample.list(&sample.index(&[on(&one, "arm64"), on(&two, "arm64/v8")]), None);
    let error = sample.resolve(None, Some("arm64")).unwrap_err();
    assert!(error.starts_with("2 images fit;"), "{error}");
}

#[test]
fn an_image_listed_for_another_machine_is_not_taken() {
    let sample = Sample::new();
    sample.list(&on(&sample.manifest("1", ""), "arm64"), Some("v1"));
    assert_eq!(
        sample.resolve(Some("v1"), Some("amd64")).unwrap_err(),
        "there is no image for linux/amd64, only for linux/arm64"
    );
}

#[test]
fn signatures_are_not_taken_for_images() {
    let sample = Sample::new();
    let image = sample.manifest("1", "");
    let subject = serde_json::to_string(&image).unwrap();
    sample.list(&image, None);
    sample.list(&sample.manifest("2", &format!(r#","subject":{subject}"#)), None);
    let tag = format!("sha256-{}.sig", image.digest.hex());
    sample.list(&sample.manifest("3", ""), Some(&tag));
    assert_eq!(sample.resolve(None, None).unwrap().descriptor.digest, image.digest);
}

#[test]
fn what_leads_nowhere_is_named() {
    let sample = Sample::new();
    assert_eq!(sample.resolve(None, None).unwrap_err(), "there is no image");
    let odd = Descriptor { media_type: "a/b".to_owned(), ..sample.manifest("1", "") };
    sample.list(&odd, Some("odd"));
    assert_eq!(
        sample.resolve(Some("odd"), None).unwrap_err(),
        format!("{} is a a/b, neither an image nor an index", odd.digest)
    );
    let deep = (0..6).fold(sample.manifest("2", ""), |inner, _| sample.index(&[inner]));
    sample.list(&deep, Some("deep"));
    let error = sample.resolve(Some("deep"), None).unwrap_err();
    assert!(error.ends_with("lies more than 4 indexes deep"), "{error}");
}

#[test]
fn a_manifest_that_was_changed_is_refused() {
    let sample = Sample::new();
    let image = sample.manifest("1", "");
    sample.list(&image, None);
    let path = sample.root.path().join("blobs/sha256").join(image.digest.hex().to_string());
    let text = std::fs::read_to_string(&path).unwrap();
    write(&path, &text.replace("layers", "layerz"));
    let error = sample.resolve(None, None).unwrap_err();
    assert!(error.starts_with(&format!("{} is corrupt: the digest", image.digest)), "{error}");
    write(&path, &format!("{text} "));
    let error = sample.resolve(None, None).unwrap_err();
    assert!(error.ends_with(&format!("its descriptor says {}", image.size)), "{error}");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn every_image_is_listed_once_with_what_leads_to_it_and_none_is_read() {
    let sample = Sample::new();
    let [one, two, three] = ["1", "2", "3"].map(|name| sample.manifest(name, ""));
    let unknown = on(&sample.manifest("4", ""), "unknown");
    let inner = sample.index(&[on(&two, "arm64"), unknown, on(&one, "amd64")]);
    let outer = sample.index(&[inner.clone(), on(&one, "amd64")]);
    sample.list(&outer, Some("v1"));
    sample.list(&three, Some("v2"));
    let listed = |tag| {
        let layout = Layout::open(&LayoutReference::directory(sample.root.path())).unwrap();
        let all = layout.listed(tag).map_err(|error| error.problem.to_string())?;
        Ok::<_, String>(
            all.into_iter().map(|it| (it.descriptor.digest, it.indexes)).collect::<Vec<_>>(),
        )
    };
    let path = vec![outer.digest, inner.digest];
    let (both, alone) = ([(two.digest, path.clone()), (one.digest, path)], (three.digest, vec![]));
    assert_eq!(listed(Some("v1")).unwrap(), both);
    assert_eq!(listed(None).unwrap(), [&both[..], &[alone]].concat());
    assert_eq!(listed(Some("v3")).unwrap_err(), "no image has the tag v3; there are v1, v2");
    let blob = sample.root.path().join("blobs/sha256").join(one.digest.hex().to_string());
    std::fs::remove_file(blob).unwrap();
    assert_eq!(listed(Some("v1")).unwrap().len(), 2);
}

#[test]
fn there_is_a_limit_to_what_is_listed() {
    let sample = Sample::new();
    let images: Vec<_> =
        (0..IMAGES_MAX + 1).map(|number| sample.manifest(&number.to_string(), "")).collect();
    sample.list(&sample.index(&images), None);
    let listed = || {
        let layout = Layout::open(&LayoutReference::directory(sample.root.path())).unwrap();
        layout.listed(None).map_err(|error| error.problem.to_string())
    };
    assert_eq!(listed().unwrap_err(), "there are more images than 64");
    // Indexes that list each other's parts again and again do not take for ever.
    let mut level: Vec<_> = images.iter().take(4).cloned().collect();
    for depth in 0..4 {
        level = (0..100_u32)
            .map(|number| {
                let mut entries = level.clone();
                entries.push(Descriptor::new(
                    "a/b",
                    Digest::of(&[depth, u8::try_from(number).unwrap()]),
                    0,
                ));
                sample.index(&entries)
            })
            .collect();
    }
    let sample_of = |entries: &[Descriptor]| {
        let top = sample.index(entries);
        sample.list(&top, Some("deep"));
    };
    sample_of(&level);
    let layout = Layout::open(&LayoutReference::directory(sample.root.path())).unwrap();
    let error = layout.listed(Some("deep")).unwrap_err().problem.to_string();
    assert!(error.starts_with("there are more ") || error.contains("indexes deep"), "{error}");
}
