//! Documents that cosign wrote, and some that it would not.

use std::cell::Cell;

use gybe_core::trust::PublicKey;
use serde_json::{Value, json};

use super::*;
use crate::key::PrivateKey;

/// Made for this test: `COSIGN_PASSWORD=secret cosign generate-key-pair`, cosign 3.1.1; what is
/// in the PEM block of `cosign.key`, and `cosign.pub`.
const SALT: &str = "h/XqkJef8Jw6CONX8lMv8RZVvyGWSGdd4gQj1b/OU4c=";
const NONCE: &str = "QXlBBYG4pwgSmGXM4KbGDOsAAuDp06O+";
const CIPHERTEXT: &str = "Jt/OOqYMtWkJZJmBxc5gp41Ff3KRnZpHQiGxlSWq6tsCw8JH+wE18Px8s/6unRGlvhrXZwSUmr/J\
    s7Vo4ArNrYthFCnwd4qA+q3k6fGKCxbtarkoQ9+w/weh3ZPeAtq+sgQTKAjz24NbSF0c/qvY/9l6\
    SEvEvgUYzORY8Tyh1DN6LI1VCycdyw2F5QxQWgplIG2wLUhHMp5FTA==";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEgMIrORKXeiegxeq9WQBnkSjgAXL4\n\
    BeCgd+k0UNQbpcIGoAZQY70eNNFtiYwI9arwY5pKzeIyfYdPBHU9RHIrag==\n\
    -----END PUBLIC KEY-----\n";

fn document() -> Value {
    json!({
        "kdf": {"name": "scrypt", "params": {"N": 65536, "r": 8, "p": 1}, "salt": SALT},
        "cipher": {"name": "nacl/secretbox", "nonce": NONCE},
        "ciphertext": CIPHERTEXT,
    })
}

fn unlocked(document: &Value, password: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let password = || Ok(Zeroizing::new(password.as_bytes().to_vec()));
    unlock(document.to_string().as_bytes(), &password).map_err(|why| why.to_string())
}

#[test]
fn a_key_of_cosign_opens_with_its_password_only() {
    let key = PrivateKey::from_pkcs8(&unlocked(&document(), "secret").unwrap()).unwrap();
    assert_eq!(*key.public(), PublicKey::from_pem(PUBLIC).unwrap());
    for password in ["", "Secret", "secret "] {
        assert_eq!(unlocked(&document(), password).unwrap_err(), "wrong password, or damaged");
    }
}

#[test]
fn a_change_anywhere_opens_nothing() {
    for (member, at) in
        [("/kdf/salt", 3), ("/cipher/nonce", 7), ("/ciphertext", 0), ("/ciphertext", 90)]
    {
        let mut document = document();
        let place = document.pointer_mut(member).unwrap();
        let mut text = place.as_str().unwrap().to_owned();
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        text.replace_range(at..=at, other);
        *place = text.into();
        assert_eq!(
            unlocked(&document, "secret").unwrap_err(),
            "wrong password, or damaged",
            "{member}"
        );
    }
}

#[test]
fn what_cannot_be_a_key_is_refused_before_a_password_is_asked_for() {
    let impossible = |n: u64, r: u64, p: u64| json!({"N": n, "r": r, "p": p});
    let limit = "limit 268435456";
    let cases: [(&str, Value, &str); 14] = [
        ("/kdf/name", "argon2".into(), "\"argon2\" and \"nacl/secretbox\""),
        ("/cipher/name", "aes".into(), "\"scrypt\" and \"aes\""),
        ("/kdf/params", impossible(1 << 18, 8, 2), limit),
        ("/kdf/params", impossible(1 << 63, 8, 1), limit),
        ("/kdf/params", impossible(2, 4_294_967_295, 4_294_967_295), limit),
        ("/kdf/params", impossible(65_535, 8, 1), "no N=65535, r=8, p=1"),
        ("/kdf/params", impossible(1, 8, 1), "no N=1, r=8, p=1"),
        ("/kdf/params", impossible(0, 8, 1), "no N=0, r=8, p=1"),
        ("/kdf/params", impossible(65_536, 0, 1), "no N=65536, r=0, p=1"),
        ("/kdf/params", impossible(65_536, 8, 0), "no N=65536, r=8, p=0"),
        ("/kdf/salt", "?".into(), "kdf.salt"),
        ("/cipher/nonce", "AAAA".into(), "cipher.nonce"),
        ("/ciphertext", "AAAA".into(), "ciphertext"),
        ("/ciphertext", 7.into(), "not as cosign does it: invalid type"),
    ];
    for (member, value, why) in cases {
        let mut document = document();
        *document.pointer_mut(member).unwrap() = value.clone();
        let asked = Cell::new(false);
        let password = || {
            asked.set(true);
            Err(PasswordError::NoTerminal)
        };
        let refused = unlock(document.to_string().as_bytes(), &password).unwrap_err().to_string();
        assert!(refused.contains(why), "{member} {value}: {refused}");
        assert!(!asked.get(), "{member} {value}");
    }
}

#[test]
fn twice_the_most_that_scrypt_may_do_is_refused_and_the_most_is_not() {
    let params = |n| Params { n, r: 8, p: 1 };
    assert!(params(1 << 18).check().is_ok());
    let refused = params(1 << 19).check().unwrap_err().to_string();
    assert!(refused.contains("536870912 bytes, limit 268435456"), "{refused}");
}
