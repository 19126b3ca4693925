//! Claims about trust. What cosign made is in `golden/`, with the commands beside it.

mod forged;
mod identities;

use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

const MANIFEST: &[u8] = include_bytes!("golden/manifest.json");
const INDEX: &[u8] = include_bytes!("golden/index.json");
const P256: &str = include_str!("golden/p256.pub");
const ED25519: &str = include_str!("golden/ed25519.pub");
const P256_BUNDLE: &[u8] = include_bytes!("golden/cosign3-p256.json");
const ED25519PH_BUNDLE: &[u8] = include_bytes!("golden/cosign3-ed25519ph.json");
const ATTESTATION: &[u8] = include_bytes!("golden/cosign3-attestation.json");
const INDEX_BUNDLE: &[u8] = include_bytes!("golden/cosign3-p256-index.json");

macro_rules! simple {
    ($name:literal) => {
        Candidate::SimpleSigning {
            payload: include_bytes!(concat!("golden/", $name, ".payload")),
            signature: include_str!(concat!("golden/", $name, ".signature")).trim_ascii_end(),
        }
    };
}

const P256_SIMPLE: Candidate<'_> = simple!("cosign2-p256");
const DEVICE: Device<'_> = Device { compatible: "acme-gateway", architecture: "amd64", floor: 7 };

fn keys(pems: &[&str]) -> KeySet {
    let mut keys = KeySet::new();
    for (index, pem) in pems.iter().enumerate() {
        keys.push(&format!("key{index}"), PublicKey::from_pem(pem).unwrap()).unwrap();
    }
    keys
}

/// The verdict over the golden manifest: the names of the signers, or the refusal.
fn verdict(
    pems: &[&str],
    threshold: usize,
    candidates: &[Candidate<'_>],
) -> Result<String, String> {
    let keys = keys(pems);
    let policy = Policy::new(&keys, threshold, DEVICE).unwrap();
    let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
    for candidate in candidates {
        let _ = verifier.offer(*candidate, &mut [0; 2048]);
    }
    let names: Vec<_> = verifier.signers().map(Signer::name).collect();
    verifier.finish(MANIFEST).map(|_| names.join(" ")).map_err(|refused| refused.to_string())
}

#[test]
fn what_cosign_signs_is_accepted() {
    let bundle = |json| Candidate::Bundle { json };
    for (pem, candidate) in [
        (P256, simple!("cosign2-p256")),
        (P256, simple!("cosign3-p256")),
        (P256, bundle(P256_BUNDLE)),
        (ED25519, simple!("cosign2-ed25519")),
        (ED25519, simple!("cosign3-ed25519ph")),
        (ED25519, bundle(ED25519PH_BUNDLE)),
    ] {
        assert_eq!(verdict(&[pem], 1, &[candidate]).as_deref(), Ok("key0"));
        let other = if pem == P256 { ED25519 } else { P256 };
        assert_eq!(
            verdict(&[other], 1, &[candidate]).unwrap_err(),
            "0 of 1 required signatures: 1 refused: not made by a trusted key"
        );
    }
}

#[test]
fn nothing_signed_is_nothing_accepted() {
    assert_eq!(
        verdict(&[P256], 1, &[]).unwrap_err(),
        "0 of 1 required signatures: no other signature was found"
    );
}

#[test]
fn an_attestation_by_the_right_key_is_no_signature() {
    assert_eq!(
        verdict(&[P256], 1, &[Candidate::Bundle { json: ATTESTATION }]).unwrap_err(),
        "0 of 1 required signatures: 1 refused: attestation in place of a signature: predicate \
         type https://cosign.sigstore.dev/attestation/v1"
    );
}

#[test]
fn a_threshold_counts_different_keys() {
    let twice = [simple!("cosign2-p256"), Candidate::Bundle { json: P256_BUNDLE }];
    assert_eq!(verdict(&[P256, ED25519], 1, &twice).as_deref(), Ok("key0"));
    assert_eq!(
        verdict(&[P256, ED25519], 2, &twice).unwrap_err(),
        "1 of 2 required signatures: no other signature was found"
    );
    let both = [simple!("cosign2-p256"), Candidate::Bundle { json: ED25519PH_BUNDLE }];
    assert_eq!(verdict(&[P256, ED25519], 2, &both).as_deref(), Ok("key0 key1"));
}

#[test]
fn a_signature_over_the_index_reaches_what_the_index_lists() {
    let keys = keys(&[P256]);
    let policy = Policy::new(&keys, 1, DEVICE).unwrap();
    let candidate = Candidate::Bundle { json: INDEX_BUNDLE };

    let mut without = Verifier::new(&policy, Digest::of(MANIFEST));
    let reason = without.offer(candidate, &mut [0; 2048]).unwrap_err();
    assert_eq!(reason, Reason::OtherDigest { digest: Digest::of(INDEX) });

    let mut with = Verifier::new(&policy, Digest::of(MANIFEST)).with_index(INDEX).unwrap();
    assert_eq!(with.offer(candidate, &mut [0; 2048]).unwrap().signer.name(), "key0");
    assert_eq!(with.finish(MANIFEST).unwrap().version, "1.0");

    let other = Digest::of(b"another manifest");
    let error = Verifier::new(&policy, other).with_index(INDEX).unwrap_err();
    assert_eq!(error, ChainError::NotListed { manifest: other });
}

#[test]
fn annotations_come_out_of_the_signed_payload() {
    let keys = keys(&[P256]);
    let policy = Policy::new(&keys, 1, DEVICE).unwrap();
    for candidate in [simple!("cosign2-p256"), Candidate::Bundle { json: P256_BUNDLE }] {
        let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
        let mut scratch = [0; 2048];
        let annotations = verifier.offer(candidate, &mut scratch).unwrap().annotations;
        assert_eq!(annotations.find("board").unwrap().unwrap().str(), Ok("rpi4"));
        assert_eq!(annotations.find("q").unwrap().unwrap().text().unwrap(), "a&b");
        assert!(annotations.find("channel").unwrap().is_none());
    }
}

#[test]
fn only_the_signed_bytes_pass() {
    let keys = keys(&[P256]);
    let policy = Policy::new(&keys, 1, DEVICE).unwrap();
    let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
    verifier.offer(simple!("cosign2-p256"), &mut []).unwrap();
    let mut other = MANIFEST.to_vec();
    other.push(b'\n');
    assert_eq!(
        verifier.finish(&other).unwrap_err().to_string(),
        format!(
            "manifest has the digest {}, signed is {}",
            Digest::of(&other),
            Digest::of(MANIFEST)
        )
    );
    let verified = verifier.finish(MANIFEST).unwrap();
    assert_eq!(*verified.config(b"{}").unwrap(), b"{}");
    assert_eq!(verified.config(b"[]").unwrap_err(), BlobError::Digest { name: "config" });
    assert_eq!(
        verified.recipe(b"recip").unwrap_err().to_string(),
        "recipe is 5 bytes, the manifest says 6"
    );
}

#[test]
fn a_release_for_another_device_is_refused() {
    let keys = keys(&[P256]);
    for (device, expected) in [
        (
            Device { compatible: "acme-gateway2", ..DEVICE },
            "release is for \"acme-gateway\", this device is \"acme-gateway2\"",
        ),
        (
            Device { architecture: "arm64", ..DEVICE },
            "release is for the architecture amd64, this device is arm64",
        ),
        (Device { floor: 8, ..DEVICE }, "rollback index of the release is 7, the floor is 8"),
    ] {
        let policy = Policy::new(&keys, 1, device).unwrap();
        let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
        verifier.offer(simple!("cosign2-p256"), &mut []).unwrap();
        assert_eq!(verifier.finish(MANIFEST).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_policy_that_accepts_all_or_nothing_is_refused() {
    let keys = keys(&[P256]);
    assert_eq!(Policy::new(&keys, 0, DEVICE).unwrap_err(), PolicyError::ThresholdZero);
    assert_eq!(
        Policy::new(&keys, 2, DEVICE).unwrap_err().to_string(),
        "threshold is 2, but there are 1 keys"
    );
}

#[test]
fn what_comes_after_the_last_candidate_is_refused_unread() {
    let keys = keys(&[P256]);
    let policy = Policy::new(&keys, 1, DEVICE).unwrap();
    let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
    for _ in 0..CANDIDATES_MAX {
        assert!(verifier.offer(Candidate::Bundle { json: b"" }, &mut []).is_err());
    }
    let late = verifier.offer(simple!("cosign2-p256"), &mut []);
    assert_eq!(late.unwrap_err(), Reason::TooMany);
    assert_eq!(
        verifier.finish(MANIFEST).unwrap_err().to_string(),
        "0 of 1 required signatures: 32 refused: malformed: byte 0: unexpected end; \
         1 refused: more than 32 signatures"
    );
}

#[test]
fn the_tally_has_room_for_every_reason() {
    let json = JsonError { at: 0, cause: crate::json::Cause::End };
    let digest = Digest::of(b"");
    let all = [
        Reason::NoTrustedKey,
        Reason::BadSignature,
        Reason::OtherDigest { digest },
        Reason::Certificate,
        Reason::Identity(Excerpt::new("".chars())),
        Reason::OtherRepository(Excerpt::new("".chars())),
        Reason::NoRepository,
        Reason::Attestation(Excerpt::new("".chars())),
        Reason::MessageSignature,
        Reason::BundleType,
        Reason::PayloadType,
        Reason::SignatureCount,
        Reason::NoSubject,
        Reason::Json(json),
        Reason::Unknown { at: 0 },
        Reason::Base64(crate::base64::Base64Error::Padding),
        Reason::Digest(crate::digest::DigestError::NotHex),
        Reason::TooLong { len: 0 },
        Reason::Scratch { limit: 0 },
        Reason::TooMany,
    ];
    let mut tally = Tally::default();
    for reason in all.iter().chain(&all) {
        tally.add(reason);
    }
    assert_eq!(tally.as_slice().len(), all.len());
    assert!(tally.as_slice().iter().all(|(_, count)| *count == 2));
}

proptest! {
    /// No bit of a signed bundle or payload can be turned without the signature falling, unless
    /// it is outside of what is signed.
    #[test]
    fn a_flipped_bit_never_changes_what_was_signed(at: prop::sample::Index, bit in 0..8, simple: bool) {
        let keys = keys(&[P256]);
        let policy = Policy::new(&keys, 1, DEVICE).unwrap();
        let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
        let Candidate::SimpleSigning { payload, signature } = simple!("cosign2-p256") else {
            unreachable!("simple! makes one")
        };
        let mut bytes = if simple { payload.to_vec() } else { P256_BUNDLE.to_vec() };
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let mut scratch = [0; 2048];
        let outcome = if simple {
            verifier.offer(Candidate::SimpleSigning { payload: &bytes, signature }, &mut scratch)
        } else {
            verifier.offer(Candidate::Bundle { json: &bytes }, &mut scratch)
        };
        if let Ok(accepted) = outcome {
            prop_assert!(!simple);
            prop_assert_eq!(accepted.annotations.find("board").unwrap().unwrap().str(), Ok("rpi4"));
        }
    }

    #[test]
    fn no_bytes_make_a_candidate_panic(json: Vec<u8>, signature: String, room in 0..200_usize) {
        let keys = keys(&[P256, ED25519]);
        let policy = Policy::new(&keys, 1, DEVICE).unwrap();
        let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
        let mut scratch = std::vec![0; room];
        let bundle = Candidate::Bundle { json: &json };
        prop_assert!(verifier.offer(bundle, &mut scratch).is_err());
        let simple = Candidate::SimpleSigning { payload: &json, signature: &signature };
        prop_assert!(verifier.offer(simple, &mut scratch).is_err());
        let short = Candidate::Bundle { json: P256_BUNDLE };
        prop_assert!(verifier.offer(short, &mut scratch).is_err());
    }
}
