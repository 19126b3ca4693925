//! Manifests and indexes: what is read, and what is refused by name.

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn descriptor(more: &str) -> String {
    format!(r#"{{"mediaType":"a/b","digest":"{DIGEST}","size":7{more}}}"#)
}

fn index(entries: &str, more: &str) -> Result<Index, serde_json::Error> {
    Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[{entries}]{more}}}"#).as_bytes())
}

#[test]
fn a_descriptor_is_read_with_all_its_members() {
    let more = r#","platform":{"architecture":"arm64","os":"linux","variant":"v8","os.version":"1"},
        "annotations":{"org.opencontainers.image.ref.name":"v1"},"artifactType":"c/d","urls":["x"]"#;
    let all = index(&descriptor(more), "").unwrap().manifests;
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((one.media_type.as_str(), one.size, one.ref_name()), ("a/b", 7, Some("v1")));
    assert_eq!(one.digest, Digest::of(b""));
    assert_eq!(one.artifact_type.as_deref(), Some("c/d"));
    assert_eq!(one.platform.as_ref().unwrap().to_string(), "linux/arm64/v8");
    let again = serde_json::to_string(one).unwrap();
    assert_eq!(serde_json::from_str::<Descriptor>(&again).unwrap(), *one);
}

#[test]
fn null_annotations_are_none() {
    let all = index(&descriptor(r#","annotations":null"#), "").unwrap();
    assert_eq!(all.manifests.first().unwrap().annotations, Annotations::new());
}

#[test]
fn what_is_no_index_is_refused_with_its_reason() {
    let one = descriptor("");
    let cases = [
        (index("", r#","layers":[]"#), "has both layers and manifests"),
        (index("", r#","mediaType":"a/b""#), "media type is a/b"),
        (index(&one.replace("7}", "-7}"), ""), "invalid value: integer `-7`, expected u64"),
        (index(&one.replace("7}", "1e300}"), ""), "invalid type: floating point `1e+300`"),
        (index(&one.replace("sha256", "sha512"), ""), "digest does not begin with sha256:"),
        (index(&one.replace("e3b0", "E3B0"), ""), "digest has a character that is not"),
        (index(&one.replace("sha256:", "sha256:../"), ""), "digest has 67 digits, not 64"),
        (index(&vec![one; DESCRIPTORS_MAX + 1].join(","), ""), "more than 1024 descriptors"),
        (Index::parse(br#"{"schemaVersion":1,"manifests":[]}"#), "schemaVersion is 1, not 2"),
        (Index::parse(b"{"), "EOF while parsing"),
    ];
    for (found, message) in cases {
        let found = found.unwrap_err().to_string();
        assert!(found.contains(message), "{found}, not {message}");
    }
}

#[test]
fn annotations_are_bounded() {
    let text = |count: usize| {
        let all: Vec<_> = (0..count).map(|number| format!(r#""{number}":"""#)).collect();
        index(&descriptor(&format!(r#","annotations":{{{}}}"#, all.join(","))), "")
    };
    assert_eq!(text(ANNOTATIONS_MAX).unwrap().manifests[0].annotations.len(), 64);
    assert!(
        text(ANNOTATIONS_MAX + 1).unwrap_err().to_string().contains("more than 64 annotations")
    );
}

#[test]
fn deep_nesting_takes_no_stack() {
    let deep = format!(r#","x":{}{}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(index("", &deep).unwrap().manifests, []);
    let error = index(&descriptor(&deep.replace('x', "annotations")), "").unwrap_err();
    assert!(error.to_string().contains("expected annotations"), "{error}");
}

#[test]
fn arm64_has_version_8_unless_it_says_otherwise() {
    let arm = |variant: Option<&str>| Platform {
        variant: variant.map(str::to_owned),
        ..Platform::linux("arm64")
    };
    assert!(arm(None).is(&arm(Some("v8"))));
    assert!(!arm(None).is(&arm(Some("v9"))));
    assert!(!arm(None).is(&Platform::linux("amd64")));
    assert!(!arm(None).is(&Platform { os: "windows".to_owned(), ..arm(None) }));
}
