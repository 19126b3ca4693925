//! Claims about keys, with the edge cases that Project Wycheproof made known.

use std::format;

use std::vec::Vec;

use ed25519_dalek::Signer as _;
use p256::ecdsa::{Signature, SigningKey};

use super::*;

const P256: &str = include_str!("../golden/p256.pub");
const ED25519: &str = include_str!("../golden/ed25519.pub");

fn hex(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn p256() -> (SigningKey, PublicKey) {
    let private = SigningKey::from_slice(&[7; 32]).unwrap();
    let point = private.verifying_key().to_sec1_point(false);
    (private, PublicKey::from_p256(point.as_bytes().try_into().unwrap()).unwrap())
}

#[test]
fn openssl_keys_are_read_and_their_id_is_the_hint_of_cosign() {
    let key = PublicKey::from_pem(P256).unwrap();
    assert_eq!(key.algorithm(), Algorithm::P256);
    // The hint in golden/cosign3-p256.json.
    let hint = "PfsCl7AoRiyrzdyxaQCHvqzVWLpdFBQYdodAErBd/pw=";
    assert_eq!(format!("{}", crate::base64::Base64(key.id().as_bytes())), hint);
    let key = PublicKey::from_pem(ED25519).unwrap();
    assert_eq!(key.algorithm(), Algorithm::Ed25519);
    let windows = format!("# the release key\r\n{}", ED25519.replace('\n', "\r\n"));
    assert_eq!(PublicKey::from_pem(&windows), Ok(key));
}

#[test]
fn what_is_not_one_public_key_of_a_known_kind_is_refused() {
    let pem = |base64: &str| format!("{BEGIN}\n{base64}\n{END}\n");
    let two = format!("{P256}{ED25519}");
    let mixed = format!("{P256}-----BEGIN CERTIFICATE-----");
    let compressed =
        pem("MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgAD/BokzcX6WgU09S3bwx14Yk/oWdzq5k6VQ6BgevX9x08=");
    let p384 = pem("MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEnecXbT1hEFm4Kcmkpjul2i2CLZVS4LwG\n\
         DPKEE5BQrgS4Q7E/BQCfut4ik2JnsYm3FdOIl6StyGsl/+uScwfzpBPN+vkMT8tH\n\
         Wn/Gg3iQS0UtfGh/iyiGMdzaGAoPOgOb");
    let off_curve = P256.replace("==\n", "").replace('A', "B");
    let cut = P256.replace(END, "");
    let cases: [(&str, KeyError); 9] = [
        ("", KeyError::NoBlock),
        (&cut, KeyError::NoBlock),
        ("-----BEGIN EC PRIVATE KEY-----", KeyError::Private),
        (&two, KeyError::MoreBlocks),
        (&mixed, KeyError::MoreBlocks),
        (&compressed, KeyError::Unsupported),
        (&p384, KeyError::Unsupported),
        (&pem("MCow"), KeyError::Unsupported),
        (&pem("MCow="), KeyError::Base64(Base64Error::Padding)),
    ];
    for (pem, expected) in cases {
        assert_eq!(PublicKey::from_pem(pem), Err(expected), "{pem}");
    }
    assert!(PublicKey::from_pem(&off_curve).is_err());
    let mut point = [1; 65];
    point[0] = 4;
    assert_eq!(PublicKey::from_p256(point), Err(KeyError::NotAPoint));
    let (private, _) = p256();
    let good = private.verifying_key().to_sec1_point(false);
    for tag in [0, 1, 2, 3, 5, 6, 7] {
        let mut point: [u8; 65] = good.as_bytes().try_into().unwrap();
        point[0] = tag;
        assert_eq!(PublicKey::from_p256(point), Err(KeyError::NotAPoint), "tag {tag}");
    }
}

#[test]
fn ed25519_keys_of_small_order_are_refused() {
    for (digits, expected) in [
        ("0100000000000000000000000000000000000000000000000000000000000000", KeyError::Weak),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", KeyError::Weak),
        ("0000000000000000000000000000000000000000000000000000000000000000", KeyError::Weak),
        ("0000000000000000000000000000000000000000000000000000000000000080", KeyError::Weak),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", KeyError::Weak),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", KeyError::Weak),
        ("0200000000000000000000000000000000000000000000000000000000000000", KeyError::NotAPoint),
    ] {
        let point = hex(digits).try_into().unwrap();
        assert_eq!(PublicKey::from_ed25519(point), Err(expected), "{digits}");
    }
}

#[test]
fn ed25519_signatures_are_taken_in_their_one_form() {
    // RFC 8032, 7.1, test 1: an empty message.
    let point = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let key = PublicKey::from_ed25519(point.try_into().unwrap()).unwrap();
    let good = hex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c\
         f9b46bd25bf5f0595bbe24655141438e7a100b",
    );
    assert!(key.verifies(b"", &good));
    assert!(!key.verifies(b"x", &good));
    assert!(!key.verifies(b"", &good[..63]));

    // s + L signs the same, to a careless verifier.
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut high = good.clone();
    let mut carry = 0;
    for (byte, add) in high[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert!(!key.verifies(b"", &high));

    // R of small order and s = 0.
    let mut small = [0; 64];
    small[0] = 1;
    assert!(!key.verifies(b"", &small));
}

#[test]
fn ed25519_prehashed_is_taken_with_an_empty_context_only() {
    // RFC 8032, 7.3: the message abc.
    let secret = hex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
    let private = ed25519_dalek::SigningKey::from_bytes(&secret.try_into().unwrap());
    let key = PublicKey::from_ed25519(private.verifying_key().to_bytes()).unwrap();
    let signature = hex(
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062\
         adf5aaa10b8c61e636062aaad11c2a26083406",
    );
    assert!(key.verifies(b"abc", &signature));
    assert!(!key.verifies(b"abd", &signature));
    let other = private.sign_prehashed(Sha512::new_with_prefix(b"abc"), Some(b"other")).unwrap();
    assert!(!key.verifies(b"abc", &other.to_bytes()));
    assert!(key.verifies(b"abc", &private.sign(b"abc").to_bytes()));
}

#[test]
fn p256_signatures_are_taken_with_low_and_high_s() {
    let (private, key) = p256();
    let signature: Signature = private.sign(b"message");
    let (r, s) = signature.split_scalars();
    let other = Signature::from_scalars(r, -s).unwrap();
    assert_ne!(signature, other);
    for signature in [signature, other] {
        assert!(key.verifies(b"message", signature.to_der().as_bytes()));
        assert!(!key.verifies(b"massage", signature.to_der().as_bytes()));
        // The form without DER is not cosign's.
        assert!(!key.verifies(b"message", &signature.to_bytes()));
    }
}

#[test]
fn p256_signatures_are_taken_in_strict_der_only() {
    let (private, key) = p256();
    // A message whose r and s both have 32 bytes, so that the lengths below are known.
    let (message, der) = (0_u8..)
        .map(|byte| {
            let signature: Signature = private.sign(&[byte]);
            ([byte], signature.to_der().as_bytes().to_vec())
        })
        .find(|(_, der)| der.len() == 70)
        .unwrap();
    let integer = |at: usize| &der[at..at + 34];
    let (r, s) = (integer(2), integer(36));
    let sequence = |parts: &[&[u8]]| {
        let content = parts.concat();
        [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    };
    assert!(key.verifies(&message, &sequence(&[r, s])));
    let zero: &[u8] = &[2, 1, 0];
    let padded = [&[2, 33, 0], &r[2..]].concat();
    let long_form = [&[2, 0x81, 32], &r[2..]].concat();
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let order = [&[2, 33, 0], &order[..]].concat();
    let negative = [&[2, 32, 0xff], &r[3..]].concat();
    let cases: [(&str, Vec<u8>); 11] = [
        ("empty", Vec::new()),
        ("cut", der[..69].to_vec()),
        ("byte behind", [&der[..], &[0]].concat()),
        ("byte inside", sequence(&[r, s, &[0]])),
        ("third integer", sequence(&[r, s, zero])),
        ("r is 0", sequence(&[zero, s])),
        ("s is 0", sequence(&[r, zero])),
        ("r has a needless zero", sequence(&[&padded, s])),
        ("r has a long length", sequence(&[&long_form, s])),
        ("r is the order", sequence(&[&order, s])),
        ("r is negative", sequence(&[&negative, s])),
    ];
    for (name, signature) in cases {
        assert!(!key.verifies(&message, &signature), "{name}");
    }
}

#[test]
fn a_set_has_each_key_once_and_eight_at_most() {
    let key = |byte| {
        let private = ed25519_dalek::SigningKey::from_bytes(&[byte; 32]);
        PublicKey::from_ed25519(private.verifying_key().to_bytes()).unwrap()
    };
    let mut keys = KeySet::new();
    for byte in 0..8_u8 {
        keys.push(&format!("key{byte}"), key(byte)).unwrap();
    }
    assert_eq!(keys.push("key8", key(8)), Err(KeyError::TooMany));
    assert_eq!(keys.push("other", key(0)), Err(KeyError::Twice));
    assert_eq!(keys.push("key0", key(9)), Err(KeyError::Twice));
    let long = "x".repeat(33);
    assert_eq!(keys.push(&long, key(9)), Err(KeyError::NameTooLong { len: 33 }));
    assert_eq!(keys.as_slice().len(), KEYS_MAX);
}
