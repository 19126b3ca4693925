//! Claims about the trust file.

use std::fs;

use super::*;
use crate::config::IMAGE_FOLDER;

/// Made with `openssl genpkey -algorithm ed25519 | openssl pkey -pubout`, for this test only.
const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAfEB9E7LIYerB7pvaSzG8ld5cvh/nLO2C8JCpYv3YCx4=\n\
    -----END PUBLIC KEY-----\n";

fn load(text: &str) -> Result<Trust, TrustError> {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::below(folder.path().to_owned());
    fs::create_dir_all(root.path(IMAGE_FOLDER)).unwrap();
    fs::write(root.path(FILE), text).unwrap();
    fs::write(root.path(IMAGE_FOLDER).join("release.pub"), ED25519).unwrap();
    fs::write(root.path(IMAGE_FOLDER).join("broken.pub"), "no key").unwrap();
    let trusted_root = include_str!("../keyless/golden/trusted_root.json");
    fs::write(root.path(IMAGE_FOLDER).join("trusted_root.json"), trusted_root).unwrap();
    Trust::load(&root)
}

const RELEASE: &str = "[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";

#[test]
fn one_key_and_no_threshold_is_one_of_one() {
    assert_eq!(load(RELEASE).unwrap().threshold, 1);
}

#[test]
fn what_would_trust_nobody_or_everybody_is_refused() {
    for (text, expected) in [
        ("", "trust: threshold is 1, but there are 0 keys"),
        (&format!("threshold = 2\n{RELEASE}"), "trust: threshold is 2, but there are 1 keys"),
        (&format!("threshold = 0\n{RELEASE}"), "trust.toml:1: threshold is 0, not 1 to 8"),
        (&format!("{RELEASE}{RELEASE}"), "release.pub: "),
        (&RELEASE.replace("release.pub", "../x"), "trust.toml:3: key.file is not the name"),
        (&RELEASE.replace("release.pub", "none.pub"), "none.pub does not exist"),
        (&RELEASE.replace("release.pub", "broken.pub"), "broken.pub: "),
        (&RELEASE.replace("file", "path"), "trust.toml:3: unknown key key.path"),
        ("[[key]]\nname = \"release\"\n", "trust.toml:1: key.file is not set"),
    ] {
        let found = load(text).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}\n has no\n{expected}");
    }
}

#[test]
fn a_release_is_to_be_signed_as_its_source_is_called_or_as_the_image_says() {
    let name = |head: &str, source: &str| {
        let trust = load(&format!("{head}\n{RELEASE}")).unwrap();
        trust.name_for(source).map(|name| format!("{name:?}")).map_err(|cause| cause.to_string())
    };
    let source = "docker://registry.example:5000/acme/gateway:stable@sha256:00";
    let (repository, exact) = ("docker_reference = \"repository\"", "docker_reference = \"exact\"");
    let ours = "repository = \"registry.example/ours:7\"";
    for (head, source, expected) in [
        ("", source, "Any"),
        ("", "oci:/stick", "Any"),
        (repository, source, "In(\"registry.example:5000/acme/gateway\")"),
        (exact, source, "Exactly(\"registry.example:5000/acme/gateway:stable\")"),
        (&format!("{repository}\n{ours}"), source, "In(\"registry.example/ours\")"),
        (&format!("{exact}\n{ours}"), "oci:/stick", "Exactly(\"registry.example/ours:7\")"),
    ] {
        assert_eq!(name(head, source).as_deref(), Ok(expected), "{head}");
    }
    assert!(name(exact, "oci-archive:/x").unwrap_err().contains("names no repository"));
}

#[cfg(feature = "keyless")]
mod identities {
    use super::*;

    const ROOT: &str = "trusted_root = \"trusted_root.json\"\n";
    const CI: &str = "[[identity]]\nname = \"ci\"\nsan = \"https://a\"\nissuer = \"https://b\"\n";

    #[test]
    fn an_identity_counts_as_a_key_does() {
        let trust = load(&format!("threshold = 2\n{ROOT}{RELEASE}{CI}")).unwrap();
        assert_eq!(trust.names().collect::<Vec<_>>(), ["release", "ci"]);
        let restrict = Restrict { distrust: vec!["ci".to_owned()], ..Restrict::default() };
        let less = trust.restricted(&restrict);
        assert_eq!(less.names().collect::<Vec<_>>(), ["release"]);
        let device = Device { compatible: "", architecture: "", floor: 0 };
        assert!(less.policy(device).unwrap_err().to_string().contains("threshold is 2"));
    }

    #[test]
    fn nobody_counts_under_two_names() {
        let other = CI.replace("\"ci\"", "\"other\"");
        for (text, expected) in [
            (format!("{ROOT}{CI}{CI}"), "trust: ci is called like another, or is the same"),
            (format!("{ROOT}{CI}{other}"), "trust: other is called like another"),
            (
                format!("{ROOT}{RELEASE}{}", CI.replace("\"ci\"", "\"release\"")),
                "trust: release is",
            ),
            (CI.to_owned(), "trust.toml:1: trusted_root is not set"),
            (format!("{ROOT}{}", CI.replace("san", "sub")), "unknown key identity.sub"),
            (format!("trusted_root = \"release.pub\"\n{CI}"), "release.pub: not a trusted root"),
            (format!("trusted_root = \"none.json\"\n{CI}"), "none.json does not exist"),
        ] {
            let found = load(&text).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}\n has no\n{expected}");
        }
    }
}
