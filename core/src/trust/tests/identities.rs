//! Claims about signers that are known by certificates, with a fake that knows whatever it is told.

use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use super::{DEVICE, INDEX, MANIFEST, P256, P256_BUNDLE, P256_SIMPLE, keys};
use crate::base64::Base64;
use crate::digest::Digest;
use crate::trust::{
    Candidate, Excerpt, Identities, Identity, KeySet, Policy, PolicyError, Reason, Repository,
    Signer, Verifier,
};

/// Answers with `answer`, and claims that it was asked about what is in the bundle.
#[derive(Debug)]
struct Fake {
    all: Vec<Identity>,
    answer: Result<usize, &'static str>,
    digests: usize,
}

impl Fake {
    fn new(answer: Result<usize, &'static str>) -> Self {
        let identity = |name: &str| Identity::new(name, Digest::of(name.as_bytes())).unwrap();
        Self { all: ["ci", "release"].map(identity).to_vec(), answer, digests: 1 }
    }
}

impl Identities for Fake {
    fn all(&self) -> &[Identity] {
        &self.all
    }

    fn signer(&self, json: &[u8], payload: &[u8], digests: &[Digest]) -> Result<usize, Excerpt> {
        let encoded = Base64(payload).to_string();
        assert!(core::str::from_utf8(json).unwrap().contains(&encoded));
        assert_eq!(digests.len(), self.digests);
        assert_eq!(digests[0], Digest::of(MANIFEST));
        self.answer.map_err(|why| Excerpt::new(why.chars()))
    }
}

fn bundle(digest: Digest, predicate: &str) -> String {
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}},
        "annotations":{{"dev.gybe.channel":"stable"}}}}],"predicateType":"{predicate}"}}"#,
        digest.hex()
    );
    format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial":{{"certificate":{{"rawBytes":"AA=="}}}},"dsseEnvelope":{{
        "payload":"{}","payloadType":"application/vnd.in-toto+json","signatures":[{{"sig":""}}]}}}}"#,
        Base64(statement.as_bytes())
    )
}

const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

fn offer(fake: &Fake, json: &str) -> Result<String, String> {
    let (none, mut scratch) = (KeySet::new(), [0; 2048]);
    let policy = Policy::with_identities(&none, Some(fake), 1, DEVICE).unwrap();
    let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
    let accepted = verifier.offer(Candidate::Bundle { json: json.as_bytes() }, &mut scratch);
    match accepted {
        Ok(accepted) => {
            let channel = accepted.annotations.find("dev.gybe.channel").unwrap().unwrap();
            let said = format!("{} {}", accepted.signer.name(), channel.str().unwrap());
            verifier.finish(MANIFEST).map(|_| said).map_err(|why| why.to_string())
        }
        Err(reason) => {
            assert!(verifier.finish(MANIFEST).is_err());
            Err(reason.to_string())
        }
    }
}

#[test]
fn an_identity_counts_and_its_annotations_with_it() {
    let good = bundle(Digest::of(MANIFEST), SIGN);
    assert_eq!(offer(&Fake::new(Ok(0)), &good).as_deref(), Ok("ci stable"));
    assert_eq!(offer(&Fake::new(Ok(1)), &good).as_deref(), Ok("release stable"));
}

#[test]
fn what_an_identity_signed_is_still_for_the_core_to_read() {
    let fake = Fake::new(Ok(0));
    for (json, why) in [
        (
            bundle(Digest::of(MANIFEST), "https://slsa.dev/provenance/v1"),
            "attestation in place of a signature: predicate type https://slsa.dev/provenance/v1",
        ),
        (bundle(Digest::of(b"other"), SIGN), "signature over another digest: sha256:"),
    ] {
        let found = offer(&fake, &json).unwrap_err();
        assert!(found.starts_with(why), "{found}");
    }
    let good = bundle(Digest::of(MANIFEST), SIGN);
    for (answer, why) in [
        (Err("made out to nobody\n"), "certificate: made out to nobody?"),
        // Nobody can be counted whom the policy does not have.
        (Ok(2), "made with a certificate, but only keys are trusted here"),
    ] {
        assert_eq!(offer(&Fake::new(answer), &good).unwrap_err(), why);
    }
}

#[test]
fn keys_and_identities_reach_a_threshold_together_and_each_counts_once() {
    let (keys, fake) = (keys(&[P256]), Fake::new(Ok(1)));
    let good = bundle(Digest::of(MANIFEST), SIGN);
    let policy = Policy::with_identities(&keys, Some(&fake), 2, DEVICE).unwrap();
    let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
    for _ in 0..2 {
        verifier.offer(Candidate::Bundle { json: good.as_bytes() }, &mut [0; 2048]).unwrap();
    }
    assert!(verifier.finish(MANIFEST).unwrap_err().to_string().starts_with("1 of 2 required"));
    verifier.offer(Candidate::Bundle { json: P256_BUNDLE }, &mut [0; 2048]).unwrap();
    let names: Vec<_> = verifier.signers().map(Signer::name).collect();
    assert_eq!(names, ["key0", "release"]);
    assert_eq!(verifier.finish(MANIFEST).unwrap().version, "1.0");
}

#[test]
fn an_identity_may_sign_the_index() {
    let (none, fake) = (KeySet::new(), Fake { digests: 2, ..Fake::new(Ok(0)) });
    let policy = Policy::with_identities(&none, Some(&fake), 1, DEVICE).unwrap();
    let verifier = Verifier::new(&policy, Digest::of(MANIFEST));
    let mut verifier = verifier.with_index(INDEX).unwrap();
    let over_index = bundle(Digest::of(INDEX), SIGN);
    verifier.offer(Candidate::Bundle { json: over_index.as_bytes() }, &mut [0; 2048]).unwrap();
    assert!(verifier.finish(MANIFEST).is_ok());
}

#[test]
fn a_policy_has_room_for_eight_signers_of_both_kinds() {
    let (keys, fake) = (keys(&[P256]), Fake::new(Ok(0)));
    let with = |fake, threshold| Policy::with_identities(&keys, Some(fake), threshold, DEVICE);
    assert!(with(&fake, 3).is_ok());
    let error = PolicyError::ThresholdAboveKeys { threshold: 4, count: 3 };
    assert_eq!(with(&fake, 4).unwrap_err(), error);
    let many = (0..8).map(|name: u8| Identity::new(&name.to_string(), Digest::of(&[name])));
    let many = Fake { all: many.map(Result::unwrap).collect(), ..Fake::new(Ok(0)) };
    assert_eq!(with(&many, 1).unwrap_err(), PolicyError::TooMany { count: 9 });
}

#[test]
fn a_policy_may_ask_under_which_name_a_release_was_signed() {
    let keys = keys(&[P256]);
    let simple = P256_SIMPLE;
    let Candidate::SimpleSigning { payload, .. } = simple else { unreachable!("it is one") };
    let payload = core::str::from_utf8(payload).unwrap();
    let (_, name) = payload.split_once("\"docker-reference\":\"").unwrap();
    let (name, _) = name.split_once('"').unwrap();
    let offer = |repository, candidate| {
        let policy = Policy::new(&keys, 1, DEVICE).unwrap().signed_as(repository);
        let mut verifier = Verifier::new(&policy, Digest::of(MANIFEST));
        verifier.offer(candidate, &mut [0; 2048]).map(drop)
    };
    assert_eq!(offer(Repository::In(name), simple), Ok(()));
    assert_eq!(offer(Repository::Exactly(name), simple), Ok(()));
    let other = Err(Reason::OtherRepository(Excerpt::new(name.chars())));
    assert_eq!(offer(Repository::In("registry.example/other"), simple), other);
    let tagged = format!("{name}:stable");
    assert_eq!(offer(Repository::Exactly(&tagged), simple), other);
    // A bundle names no repository, so that it could be for any.
    let bundle = Candidate::Bundle { json: P256_BUNDLE };
    assert_eq!(offer(Repository::In(name), bundle), Err(Reason::NoRepository));
}
