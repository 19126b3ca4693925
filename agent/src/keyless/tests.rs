//! Claims about certificates. Whom a device accepts is tried in `hw-tests`, with tools; here it is what
//! nobody can make by hand.

use gybe_core::base64;
use gybe_core::trust::{Candidate, Device, KeySet, Policy, Verifier as CoreVerifier};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const BUNDLE: &str = include_str!("golden/bundle.json");
const ROOT: &str = include_str!("golden/trusted_root.json");
const SAN: &str = "https://git.acme.example/gateway/release";
const ISSUER: &str = "https://issuer.acme.example";

fn ci(san: &str, issuer: &str) -> Certificates {
    let wanted = Wanted { name: "ci".into(), san: san.into(), issuer: issuer.into() };
    Certificates::new(ROOT, vec![wanted]).unwrap()
}

fn payload() -> Vec<u8> {
    let bundle: Value = serde_json::from_str(BUNDLE).unwrap();
    let mut buffer = [0; 1024];
    let text = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    base64::decode(text, &mut buffer).unwrap().to_vec()
}

fn signed() -> Digest {
    Digest::of(b"hello\n")
}

#[test]
fn a_certificate_counts_for_whom_it_names() {
    let digests = [Digest::of(b"another"), signed()];
    let found = |certificates: &Certificates, digests: &[Digest]| {
        certificates.signer(BUNDLE.as_bytes(), &payload(), digests).map_err(|why| why.to_string())
    };
    assert_eq!(found(&ci(SAN, ISSUER), &digests), Ok(0));
    assert!(found(&ci(SAN, ISSUER), &digests[..1]).unwrap_err().contains("artifact mismatch"));
    let stranger = "nobody trusted: https://git.acme.example/gateway/release by https://issuer";
    for (san, issuer) in [("https://git.acme.example", ISSUER), (SAN, "https://issuer"), ("", "")] {
        assert!(found(&ci(san, issuer), &digests).unwrap_err().starts_with(stranger));
    }
    assert!(found(&ci(SAN, ISSUER).without(&["ci".to_owned()]), &digests).is_err());
}

#[test]
fn what_is_verified_is_what_the_core_reads() {
    let certificates = ci(SAN, ISSUER);
    let refused = "the bundle does not hold what was read";
    let other = String::from_utf8(payload()).unwrap().replace("stable", "beta");
    for (json, payload) in [
        (BUNDLE.to_owned(), other.into_bytes()),
        (BUNDLE.to_owned(), Vec::new()),
        (BUNDLE.replace("vnd.in-toto+json", "vnd.in-toto+json "), payload()),
    ] {
        let why = certificates.signer(json.as_bytes(), &payload, &[signed()]).unwrap_err();
        assert_eq!(why.to_string(), refused);
    }
}

#[test]
fn a_root_that_could_vouch_for_nobody_is_refused() {
    for (root, why) in [
        ("{}", "not a trusted root: "),
        ("", "not a trusted root: "),
        (&ROOT.replace("certificateAuthorities", "others"), "no certificate authority in the"),
        (&ROOT.replace("timestampAuthorities", "others"), "neither a log nor a time-stamp"),
        (&ROOT.replace("MIIB", "AAAA"), "not a trusted root: "),
    ] {
        let found = Certificates::new(root, Vec::new()).unwrap_err().to_string();
        assert!(found.starts_with(why), "{found}\n does not begin with\n{why}");
    }
}

#[test]
fn the_public_instances_roots_are_accepted() {
    use sigstore_verify::trust_root::SigstoreInstance;
    for instance in [SigstoreInstance::PublicGood, SigstoreInstance::Staging] {
        let root = instance.embedded_trusted_root_json();
        assert!(Certificates::new(root, Vec::new()).is_ok(), "{instance:?}");
    }
}

proptest! {
    /// Whatever is changed in a bundle: it counts only with the payload that was signed.
    #[test]
    fn no_bytes_make_a_certificate_count(
        at: prop::sample::Index, with: u8, len in 0..40_usize, cut: bool
    ) {
        let certificates = ci(SAN, ISSUER);
        let keys = KeySet::new();
        let device = Device { compatible: "acme", architecture: "amd64", floor: 0 };
        let policy = Policy::with_identities(&keys, Some(&certificates), 1, device).unwrap();
        let mut verifier = CoreVerifier::new(&policy, signed());
        let mut bytes = BUNDLE.as_bytes().to_vec();
        let at = at.index(bytes.len());
        let end = (at + len).min(bytes.len());
        bytes.splice(at..end, if cut { vec![] } else { vec![with] });
        let mut scratch = vec![0; 4096];
        if let Ok(accepted) = verifier.offer(Candidate::Bundle { json: &bytes }, &mut scratch) {
            let channel = accepted.annotations.find("dev.gybe.channel").unwrap().unwrap();
            prop_assert_eq!(channel.str(), Ok("stable"));
        }
    }
}
