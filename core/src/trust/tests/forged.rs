//! Claims about signatures that a trusted key made over the wrong thing.

use std::format;
use std::string::{String, ToString as _};

use p256::ecdsa::signature::Signer as _;

use super::{Candidate, DEVICE, MANIFEST};
use crate::base64::Base64;
use crate::digest::Digest;
use crate::trust::{KeySet, Policy, PublicKey, SIGNATURE_LEN_MAX, Verifier};

/// Signs as cosign does, with whatever is to be tried in the payload.
struct Forge(p256::ecdsa::SigningKey);

impl Forge {
    fn new() -> Self {
        Self(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap())
    }

    fn keys(&self) -> KeySet {
        let point = self.0.verifying_key().to_sec1_point(false);
        let mut keys = KeySet::new();
        keys.push("forge", PublicKey::from_p256(point.as_bytes().try_into().unwrap()).unwrap())
            .unwrap();
        keys
    }

    fn sign(&self, message: &[u8]) -> String {
        let signature: p256::ecdsa::Signature = self.0.sign(message);
        Base64(signature.to_der().as_bytes()).to_string()
    }

    fn bundle(&self, statement: &str) -> String {
        let kind = "application/vnd.in-toto+json";
        let pae = format!("DSSEv1 28 {kind} {} {statement}", statement.len());
        format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial":{{"publicKey":{{"hint":"{}"}}}},"dsseEnvelope":{{
            "payload":"{}","payloadType":"{kind}","signatures":[{{"sig":"{}"}}]}}}}"#,
            Base64(self.keys().as_slice()[0].key().id().as_bytes()),
            Base64(statement.as_bytes()),
            self.sign(pae.as_bytes()),
        )
    }

    fn offer(&self, candidate: Candidate<'_>) -> Result<(), String> {
        let keys = self.keys();
        let policy = Policy::new(&keys, 1, DEVICE).unwrap();
        let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
        let mut scratch = [0; 2048];
        let outcome = verifier.offer(candidate, &mut scratch);
        outcome.map(drop).map_err(|reason| reason.to_string())
    }

    fn offer_bundle(&self, json: &str) -> Result<(), String> {
        self.offer(Candidate::Bundle { json: json.as_bytes() })
    }

    fn offer_simple(&self, payload: &str) -> Result<(), String> {
        let signature = self.sign(payload.as_bytes());
        self.offer(Candidate::SimpleSigning { payload: payload.as_bytes(), signature: &signature })
    }
}

fn statement() -> String {
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],
        "predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#,
        Digest::of(MANIFEST).hex()
    )
}

fn payload() -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"x"}},"image":{{
        "docker-manifest-digest":"{}"}},"type":"cosign container image signature"}},
        "optional":{{"creator":"containers/image 5.39.1","timestamp":1795167900}}}}"#,
        Digest::of(MANIFEST)
    )
}

#[test]
fn signed_statements_that_are_no_signature_over_this_release_are_refused() {
    let forge = Forge::new();
    assert_eq!(forge.offer_bundle(&forge.bundle(&statement())), Ok(()));
    let ours = Digest::of(MANIFEST).hex().to_string();
    let other = Digest::of(b"").hex().to_string();
    let over_other = format!("signature over another digest: sha256:{other}");
    let upper = ours.to_uppercase();
    let cases: [(&str, &str, &str); 8] = [
        (&ours, &other, &over_other),
        (&ours, &upper, "statement without a subject"),
        ("sha256", "sha512", "statement without a subject"),
        (
            "cosign/sign/v1",
            "cosign/sign/v2",
            "attestation in place of a signature: predicate type https://sigstore.dev/cosign/sign/v2",
        ),
        ("Statement/v1", "Statement/v2", "payload is not an image signature"),
        ("\"subject\"", "\"object\"", "malformed: byte 0: \"subject\" is missing"),
        ("\"predicate\"", "\"_type\"", "malformed: byte 207: key comes twice in one object"),
        ("\"predicateType\"", "\"p\"", "malformed: byte 0: \"predicateType\" is missing"),
    ];
    for (from, to, expected) in cases {
        let statement = statement().replace(from, to);
        assert_eq!(forge.offer_bundle(&forge.bundle(&statement)).unwrap_err(), expected, "{to}");
    }
}

#[test]
fn one_subject_of_several_is_enough() {
    let forge = Forge::new();
    let statement = statement().replace("[{", r#"[{"digest":{"sha1":"00"}},{"name":"x"},{"#);
    assert_eq!(forge.offer_bundle(&forge.bundle(&statement)), Ok(()));
}

#[test]
fn bundles_of_other_kinds_are_refused_by_name() {
    let forge = Forge::new();
    let bundle = forge.bundle(&statement());
    for (from, to, expected) in [
        ("bundle.v0.3", "bundle.v0.2", "bundle is not of version 0.3"),
        ("publicKey", "certificate", "made with a certificate, but only keys are trusted here"),
        ("dsseEnvelope", "messageSignature", "bundle over a file, not over an image"),
        ("dsseEnvelope", "envelope", "malformed: byte 0: \"dsseEnvelope\" is missing"),
        ("in-toto+json", "in-toto+yaml", "payload is not an image signature"),
        ("[{", "[{\"sig\":\"\"},{", "envelope has no signature, or more than one"),
        (
            "eyJfdHlw",
            "eyJfdHlx",
            "bad signature: it names a trusted key, but does not match what it is over",
        ),
        ("eyJfdHlw", "eyJfdHl-", "malformed: symbol 7 is not base64"),
    ] {
        assert_ne!(bundle.replace(from, to), bundle);
        assert_eq!(forge.offer_bundle(&bundle.replace(from, to)).unwrap_err(), expected, "{to}");
    }
}

#[test]
fn a_payload_says_exactly_what_the_format_says() {
    let forge = Forge::new();
    // What skopeo writes: `optional` holds a number.
    assert_eq!(forge.offer_simple(&payload()), Ok(()));
    for (from, to, expected) in [
        ("cosign container", "atomic container", "payload is not an image signature"),
        ("\"optional\"", "\"extra\"", "malformed: byte 227: unknown member"),
        ("\"identity\"", "\"name\"", "malformed: byte 20: unknown member"),
        ("sha256:", "sha512:", "malformed: digest does not begin with sha256:"),
        ("\"type\"", "\"identity\"", "malformed: byte 167: key comes twice in one object"),
        ("{\"docker-reference\":\"x\"}", "[", "malformed: byte 25: not JSON"),
    ] {
        let payload = payload().replace(from, to);
        assert_eq!(forge.offer_simple(&payload).unwrap_err(), expected, "{to}");
    }
    let other = payload().replace(&Digest::of(MANIFEST).to_string(), &Digest::of(b"").to_string());
    assert_eq!(
        forge.offer_simple(&other).unwrap_err(),
        format!("signature over another digest: {}", Digest::of(b""))
    );
}

#[test]
fn what_is_too_long_is_refused_unread() {
    let forge = Forge::new();
    let long = " ".repeat(SIGNATURE_LEN_MAX + 1);
    let too_long = "signature is 65537 bytes, limit 65536";
    assert_eq!(forge.offer_bundle(&long).unwrap_err(), too_long);
    assert_eq!(forge.offer_simple(&long).unwrap_err(), too_long);
    let large = statement().replace("{}", &format!("\"{}\"", "x".repeat(2048)));
    assert_eq!(
        forge.offer_bundle(&forge.bundle(&large)).unwrap_err(),
        "signature needs more than the 2048 bytes of scratch memory"
    );
}
