//! Private keys as cosign keeps them: PKCS#8, encrypted under a password.
//!
//! Source: sigstore/cosign `pkg/cosign/keys.go` and go-securesystemslib `encrypted/encrypted.go`,
//! read 2026-11: JSON in PEM, with a key from scrypt (RFC 7914) for NaCl's secretbox, which is
//! XSalsa20 and Poly1305.

use gybe_core::base64;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::password::{Password, PasswordError};

/// The names of the PEM block; the second is that of cosign before 2.0.
pub(super) const LABELS: [&str; 2] =
    ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// How many bytes scrypt may pass through, 128·N·r·p, which also bounds its memory. cosign asks
/// for 64 MiB.
const SCRYPT_LEN_MAX: u64 = 256 << 20;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// The document in the PEM block.
#[derive(Deserialize)]
struct Locked {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Clone, Copy, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The PKCS#8 key in `document`, the content of the PEM block.
///
/// The password is asked for last: nobody should type one for a file that is no key.
pub(super) fn unlock(
    document: &[u8],
    password: Password<'_>,
) -> Result<Zeroizing<Vec<u8>>, LockedError> {
    let locked: Locked = serde_json::from_slice(document).map_err(LockedError::Json)?;
    let names = (locked.kdf.name.as_str(), locked.cipher.name.as_str());
    if names != ("scrypt", "nacl/secretbox") {
        return Err(LockedError::Names { kdf: locked.kdf.name, cipher: locked.cipher.name });
    }
    let params = locked.kdf.params.check()?;
    let salt = bytes("kdf.salt", &locked.kdf.salt)?;
    let nonce = bytes("cipher.nonce", &locked.cipher.nonce)?;
    let nonce: [u8; NONCE_LEN] =
        nonce.try_into().map_err(|_| LockedError::Value { member: "cipher.nonce" })?;
    let sealed = bytes("ciphertext", &locked.ciphertext)?;
    let (tag, body) =
        sealed.split_at_checked(TAG_LEN).ok_or(LockedError::Value { member: "ciphertext" })?;

    let password = password().map_err(LockedError::Password)?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    scrypt::scrypt(&password, &salt, &params, &mut *key).map_err(|_| LockedError::Wrong)?;
    let mut cipher = XSalsa20::new((&*key).into(), &nonce.into());
    // The first bytes of the stream are the key under which what follows them is authenticated.
    let mut mac_key = Zeroizing::new([0; KEY_LEN]);
    cipher.apply_keystream(&mut *mac_key);
    let found = Poly1305::new((&*mac_key).into()).compute_unpadded(body);
    // Whoever could learn from how long this takes has the file, and guesses faster at home.
    if found.as_slice() != tag {
        return Err(LockedError::Wrong);
    }
    let mut plain = Zeroizing::new(body.to_vec());
    cipher.apply_keystream(&mut plain);
    Ok(plain)
}

impl Params {
    fn check(self) -> Result<scrypt::Params, LockedError> {
        let Self { n, r, p } = self;
        let len = [u64::from(r), u64::from(p), 128].into_iter().fold(n, u64::saturating_mul);
        if len > SCRYPT_LEN_MAX {
            return Err(LockedError::Scrypt { len });
        }
        let impossible = LockedError::Params { n, r, p };
        let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
        if n < 2 || !n.is_power_of_two() {
            return Err(impossible);
        }
        scrypt::Params::new(log_n, r, p).map_err(|_| impossible)
    }
}

/// The bytes that a member holds in base64.
fn bytes(member: &'static str, text: &str) -> Result<Vec<u8>, LockedError> {
    let mut buffer = vec![0; text.len()];
    let len = base64::decode(text, &mut buffer).map_err(|_| LockedError::Value { member })?.len();
    buffer.truncate(len);
    Ok(buffer)
}

/// Why an encrypted key is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockedError {
    #[error("encrypted, but not as cosign does it: {0}")]
    Json(serde_json::Error),
    #[error("encrypted with {kdf:?} and {cipher:?}; only scrypt and nacl/secretbox are known")]
    Names { kdf: String, cipher: String },
    #[error("encrypted, but {member} is not what belongs there")]
    Value { member: &'static str },
    #[error("encrypted, but scrypt has no N={n}, r={r}, p={p}")]
    Params { n: u64, r: u32, p: u32 },
    #[error("encrypted, and scrypt would work through {len} bytes, limit {SCRYPT_LEN_MAX}")]
    Scrypt { len: u64 },
    #[error(transparent)]
    Password(PasswordError),
    #[error("wrong password, or damaged")]
    Wrong,
}

#[cfg(test)]
mod tests;
