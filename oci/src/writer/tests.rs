//! What a written layout holds, and what stays when writing ends early.

use super::*;

fn entry(writer: &LayoutWriter, text: &str) -> Descriptor {
    let (digest, len) = writer.write_blob(text.as_bytes()).unwrap();
    Descriptor::new(media_type::MANIFEST, digest, len)
}

fn listed(root: &Path) -> Vec<(Option<String>, Digest)> {
    let layout = Layout::open(&LayoutReference::directory(root)).unwrap();
    let entries = layout.index().manifests.iter();
    entries.map(|entry| (entry.ref_name().map(str::to_owned), entry.digest)).collect()
}

#[test]
fn a_blob_is_found_under_its_digest() {
    let root = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(root.path()).unwrap();
    let mut blob = writer.blob().unwrap();
    blob.write_all(b"ab").unwrap();
    blob.write_all(b"c").unwrap();
    let (digest, len) = blob.finish().unwrap();
    assert_eq!((digest, len), (Digest::of(b"abc"), 3));
    assert_eq!(writer.layout().read_blob(&digest, 3).unwrap(), b"abc");
    let mut part = [0; 2];
    writer.layout().read_blob_at(&digest, 1, &mut part).unwrap();
    assert_eq!(&part, b"bc");
}

#[test]
fn an_unfinished_blob_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(root.path()).unwrap();
    let blobs = root.path().join("blobs/sha256");
    writer.blob().unwrap().write_all(b"abc").unwrap();
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 0);
    // As a killed writer leaves it.
    fs::write(blobs.join("tmp-7"), b"x").unwrap();
    drop(writer);
    LayoutWriter::open(root.path()).unwrap();
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 0);
}

#[test]
fn a_tag_moves_and_other_entries_stay() {
    let root = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(root.path()).unwrap();
    let [one, two, three] = ["1", "2", "3"].map(|text| entry(&writer, text));
    writer.list(&one, Some("v1")).unwrap();
    writer.list(&two, None).unwrap();
    writer.list(&two, None).unwrap();
    writer.list(&three, Some("v1")).unwrap();
    let tag = || Some("v1".to_owned());
    assert_eq!(listed(root.path()), [(None, two.digest), (tag(), three.digest)]);
}

#[test]
fn members_unknown_here_stay_in_the_index() {
    let root = tempfile::tempdir().unwrap();
    drop(LayoutWriter::open(root.path()).unwrap());
    let path = root.path().join("index.json");
    let old = fs::read_to_string(&path).unwrap().replace('{', r#"{"x-other":[1],"#);
    fs::write(&path, old).unwrap();
    let writer = LayoutWriter::open(root.path()).unwrap();
    writer.list(&entry(&writer, "1"), None).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains(r#""x-other":[1]"#));
}

#[test]
fn what_is_missing_or_of_another_size_is_not_listed() {
    let root = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(root.path()).unwrap();
    let missing = Descriptor::new(media_type::MANIFEST, Digest::of(b"no"), 2);
    let error = writer.list(&missing, None).unwrap_err().to_string();
    assert!(error.ends_with(&format!("{} is missing", Digest::of(b"no"))), "{error}");
    let longer = Descriptor { size: 9, ..entry(&writer, "1") };
    let error = writer.list(&longer, None).unwrap_err().to_string();
    assert!(error.ends_with("is 1 bytes, its descriptor says 9"), "{error}");
    assert_eq!(listed(root.path()), []);
}

#[test]
fn a_second_writer_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let _first = LayoutWriter::open(root.path()).unwrap();
    let error = LayoutWriter::open(root.path()).unwrap_err();
    assert!(matches!(error.problem, Problem::Locked), "{error}");
}

#[test]
fn a_damaged_blob_is_not_copied() {
    let roots = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [from, to] = roots.each_ref().map(|root| LayoutWriter::open(root.path()).unwrap());
    let (digest, len) = from.write_blob(b"abc").unwrap();
    let reader = || from.layout().blob_of_len(&digest, len).unwrap().reader();
    to.take_blob(&digest, &mut reader()).unwrap();
    assert_eq!(to.layout().read_blob(&digest, 3).unwrap(), b"abc");
    let (digest, len) = from.write_blob(b"def").unwrap();
    fs::write(from.blobs.join(digest.hex().to_string()), b"dex").unwrap();
    let mut reader = from.layout().blob_of_len(&digest, len).unwrap().reader();
    let error = to.take_blob(&digest, &mut reader).unwrap_err();
    assert!(matches!(error.problem, Problem::Digest { .. }), "{error}");
    assert!(to.layout().blob(&digest).is_err());
}
