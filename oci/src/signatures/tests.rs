//! Where signatures of a release are found in a layout.

use super::*;
use crate::manifest::media_type;
use crate::reference::LayoutReference;
use crate::writer::LayoutWriter;

struct Sample {
    root: tempfile::TempDir,
    writer: LayoutWriter,
    image: Descriptor,
}

impl Sample {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let writer = LayoutWriter::open(root.path()).unwrap();
        let image = write(&writer, media_type::MANIFEST, &manifest("image", "a/b", None));
        writer.list(&image, Some("v1")).unwrap();
        Self { root, writer, image }
    }

    fn signature(&self, name: &str, layer: &str, subject: Option<&Descriptor>) -> Descriptor {
        write(&self.writer, media_type::MANIFEST, &manifest(name, layer, subject))
    }

    fn found(&self) -> Vec<Digest> {
        let layout = Layout::open(&LayoutReference::directory(self.root.path())).unwrap();
        let all = layout.signature_candidates(&self.image.digest).unwrap();
        assert!(all.iter().all(|one| Digest::of(&one.manifest) == one.digest));
        all.into_iter().map(|one| one.digest).collect()
    }
}

fn write(writer: &LayoutWriter, media_type: &str, text: &str) -> Descriptor {
    let (digest, len) = writer.write_blob(text.as_bytes()).unwrap();
    Descriptor::new(media_type, digest, len)
}

fn manifest(name: &str, layer: &str, subject: Option<&Descriptor>) -> String {
    let [config, layer] = [name, layer]
        .map(|it| serde_json::to_string(&Descriptor::new(it, Digest::of(b""), 0)).unwrap());
    let subject = serde_json::to_string(&subject).unwrap();
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}],"subject":{subject}}}"#)
}

#[test]
fn every_way_of_listing_a_signature_is_found_in_order() {
    let sample = Sample::new();
    let hex = sample.image.digest.hex().to_string();
    let image = Some(&sample.image);
    let scanned = sample.signature("scanned", SIMPLE_SIGNING, None);
    let unlisted = sample.signature("unlisted", "bundle", image);
    let subject = sample.signature("subject", "bundle", image);
    sample.writer.list(&subject, None).unwrap();
    let in_index = sample.signature("in index", "bundle", image);
    let entries = serde_json::to_string(&[&in_index]).unwrap();
    let index = format!(r#"{{"schemaVersion":2,"manifests":{entries}}}"#);
    let index = write(&sample.writer, media_type::INDEX, &index);
    sample.writer.list(&index, Some(&format!("sha256-{hex}"))).unwrap();
    let legacy = sample.signature("legacy", SIMPLE_SIGNING, None);
    sample.writer.list(&legacy, Some(&format!("sha256-{hex}.sig"))).unwrap();
    let mut marked = sample.signature("marked", SIMPLE_SIGNING, None);
    marked.annotations.insert(KIND.0.to_owned(), KIND.1.to_owned());
    sample.writer.list(&marked, None).unwrap();

    let mut last = [scanned.digest, unlisted.digest];
    last.sort_unstable();
    let first = [legacy.digest, marked.digest, in_index.digest, subject.digest];
    assert_eq!(sample.found(), [&first[..], &last[..]].concat());
}

#[test]
fn what_is_about_another_image_is_not_a_candidate() {
    let sample = Sample::new();
    let other = sample.signature("other", "a/b", None);
    let about_other = sample.signature("about other", "bundle", Some(&other));
    sample.writer.list(&about_other, None).unwrap();
    assert_eq!(sample.found(), []);
}

#[test]
fn a_name_for_another_image_hides_nothing_that_is_named_or_marked_for_this_one() {
    let sample = Sample::new();
    let [ours, other] = [sample.image.digest, Digest::of(b"other")].map(|it| it.hex().to_string());
    let image = Some(&sample.image);
    let both = sample.signature("both", "bundle", image);
    for hex in [&other, &ours] {
        sample.writer.list(&both, Some(&format!("sha256-{hex}.sig"))).unwrap();
    }
    let mut marked = sample.signature("marked", SIMPLE_SIGNING, None);
    marked.annotations.insert(KIND.0.to_owned(), KIND.1.to_owned());
    sample.writer.list(&marked, None).unwrap();
    let of_other = sample.signature("of other", SIMPLE_SIGNING, None);
    sample.writer.list(&of_other, Some(&format!("sha256-{other}"))).unwrap();
    assert_eq!(sample.found(), [both.digest, marked.digest]);
}

#[test]
fn there_are_never_more_candidates_than_the_limit() {
    let sample = Sample::new();
    for number in 0..SIGNATURE_CANDIDATES_MAX + 8 {
        sample.signature(&number.to_string(), "bundle", Some(&sample.image));
    }
    assert_eq!(sample.found().len(), 32);
}

#[test]
fn a_missing_or_long_signature_hides_no_other() {
    let sample = Sample::new();
    let long = "x".repeat(usize::try_from(SIGNATURE_MANIFEST_LEN_MAX).unwrap());
    let long = sample.signature(&long, "bundle", Some(&sample.image));
    let gone = sample.signature("gone", "bundle", Some(&sample.image));
    let good = sample.signature("good", "bundle", Some(&sample.image));
    for entry in [&long, &gone, &good] {
        sample.writer.list(entry, None).unwrap();
    }
    let blobs = sample.root.path().join("blobs/sha256");
    std::fs::remove_file(blobs.join(gone.digest.hex().to_string())).unwrap();
    assert_eq!(sample.found(), [good.digest]);
}
