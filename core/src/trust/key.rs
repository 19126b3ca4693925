//! Public keys: EC P-256 and Ed25519, as `PUBLIC KEY` in PEM.
//!
//! Sources: RFC 7468 (PEM), RFC 5280 4.1 (SubjectPublicKeyInfo), RFC 5480 (EC), RFC 8410
//! (Ed25519). Each kind of key has exactly one DER prefix, so that is what is compared.

mod der;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;

use core::fmt;

use heapless::{String, Vec};
use p256::AffinePoint;
use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::Verifier as _;
use p256::elliptic_curve::point::AffineCoordinates as _;
use sha2::{Digest as _, Sha512};

use crate::base64::{Base64Error, decode_lines};
use crate::digest::Digest;

/// How many keys a device may trust.
pub const KEYS_MAX: usize = 8;
/// How long the name of a key may be, in bytes.
pub const KEY_NAME_LEN_MAX: usize = 32;

/// `SEQUENCE { SEQUENCE { ecPublicKey, prime256v1 }, BIT STRING }`, before the uncompressed point.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P256_LEN: usize = 65;
/// First byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

/// `SEQUENCE { SEQUENCE { Ed25519 }, BIT STRING }`, before the key.
const ED25519_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const ED25519_LEN: usize = 32;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// A public key that has been checked to be a point of its curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    id: Digest,
    point: Point,
}

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// Ed25519, pure or prehashed.
    Ed25519,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    P256([u8; P256_LEN]),
    Ed25519([u8; ED25519_LEN]),
}

impl PublicKey {
    /// A key from a PEM file. Text around the one block is ignored.
    ///
    /// # Errors
    /// [`KeyError`] if there is not exactly one public key of a kind that we know.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let Some((before, rest)) = pem.split_once(BEGIN) else {
            return Err(if pem.contains("PRIVATE KEY-----") {
                KeyError::Private
            } else {
                KeyError::NoBlock
            });
        };
        let (block, after) = rest.split_once(END).ok_or(KeyError::NoBlock)?;
        if before.contains("-----BEGIN") || after.contains("-----BEGIN") {
            return Err(KeyError::MoreBlocks);
        }
        // One more than the longest that we accept, so that a longer one is known as such.
        let mut der = [0; P256_PREFIX.len() + P256_LEN + 1];
        match decode_lines(block, &mut der) {
            Ok(der) => Self::from_spki(der),
            Err(Base64Error::TooLong { .. }) => Err(KeyError::Unsupported),
            Err(cause) => Err(KeyError::Base64(cause)),
        }
    }

    /// A key from its `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// [`KeyError`] if it is not a sound key of a kind that we know.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        if let Some(point) = der.strip_prefix(&P256_PREFIX) {
            return Self::from_p256(point.try_into().map_err(|_| KeyError::Unsupported)?);
        }
        if let Some(point) = der.strip_prefix(&ED25519_PREFIX) {
            return Self::from_ed25519(point.try_into().map_err(|_| KeyError::Unsupported)?);
        }
        Err(KeyError::Unsupported)
    }

    /// A P-256 key from its uncompressed point.
    ///
    /// # Errors
    /// [`KeyError::NotAPoint`] if it does not lie on the curve.
    pub fn from_p256(point: [u8; P256_LEN]) -> Result<Self, KeyError> {
        p256_key(&point).ok_or(KeyError::NotAPoint)?;
        let mut der = [0; P256_PREFIX.len() + P256_LEN];
        fill(&mut der, &P256_PREFIX, &point);
        Ok(Self { id: Digest::of(&der), point: Point::P256(point) })
    }

    /// An Ed25519 key from its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::NotAPoint`] if it does not lie on the curve, [`KeyError::Weak`] if it lies in
    /// the small subgroup, where one signature fits many messages.
    pub fn from_ed25519(point: [u8; ED25519_LEN]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&point);
        if key.map_err(|_| KeyError::NotAPoint)?.is_weak() {
            return Err(KeyError::Weak);
        }
        let mut der = [0; ED25519_PREFIX.len() + ED25519_LEN];
        fill(&mut der, &ED25519_PREFIX, &point);
        Ok(Self { id: Digest::of(&der), point: Point::Ed25519(point) })
    }

    /// SHA-256 of the key's `SubjectPublicKeyInfo`: what cosign writes in base64 as a hint.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// What the key signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.point {
            Point::P256(_) => Algorithm::P256,
            Point::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// Whether `signature` was made over `message` with this key's private half.
    ///
    /// P-256: DER, both values of s that fit (Go and so cosign do not normalise it; a signature
    /// is never counted or compared, only its key is). Ed25519: pure, or prehashed with an empty
    /// context as cosign 3 writes it; the two are domain-separated. Both strictly: no point of
    /// small order, s reduced.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.point {
            Point::P256(point) => {
                let (key, signature) = (p256_key(point), p256_signature(signature));
                let (Some(key), Some(signature)) = (key, signature) else { return false };
                key.verify(message, &signature).is_ok()
            }
            Point::Ed25519(point) => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(point);
                let signature = ed25519_dalek::Signature::from_slice(signature);
                let (Ok(key), Ok(signature)) = (key, signature) else { return false };
                let prehashed = || Sha512::new_with_prefix(message);
                key.verify_strict(message, &signature).is_ok()
                    || key.verify_prehashed_strict(prehashed(), None, &signature).is_ok()
            }
        }
    }
}

/// The key of an uncompressed point, if it lies on the curve. Spelt out, because the library's own
/// reader brings the arithmetic for compressed points, which a small device has no room for.
fn p256_key(point: &[u8; P256_LEN]) -> Option<VerifyingKey> {
    let ([UNCOMPRESSED], coordinates) = point.split_first_chunk::<1>()? else { return None };
    let (x, y) = coordinates.split_first_chunk::<32>()?;
    let y = y.first_chunk::<32>()?;
    let point = AffinePoint::from_coordinates(&(*x).into(), &(*y).into());
    VerifyingKey::from_affine(point.into_option()?).ok()
}

fn p256_signature(der: &[u8]) -> Option<p256::ecdsa::Signature> {
    let (r, s) = der::numbers(der)?;
    p256::ecdsa::Signature::from_scalars(r, s).ok()
}

fn fill(der: &mut [u8], prefix: &[u8], point: &[u8]) {
    for (to, from) in der.iter_mut().zip(prefix.iter().chain(point)) {
        *to = *from;
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.algorithm(), self.id)
    }
}

/// A trusted key and what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    name: String<KEY_NAME_LEN_MAX>,
    key: PublicKey,
}

impl NamedKey {
    /// What people call the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// The keys that a device trusts, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<NamedKey, KEYS_MAX>);

impl KeySet {
    /// A set without keys.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`KeyError`] if the set is full, the name is too long, or the key or its name is there
    /// already: one key under two names would count twice towards a threshold.
    pub fn push(&mut self, name: &str, key: PublicKey) -> Result<(), KeyError> {
        if self.0.iter().any(|other| other.key.id == key.id || other.name == name) {
            return Err(KeyError::Twice);
        }
        let short =
            String::try_from(name).map_err(|_| KeyError::NameTooLong { len: name.len() })?;
        self.0.push(NamedKey { name: short, key }).map_err(|_| KeyError::TooMany)
    }

    /// The keys, in the order in which they were added.
    #[must_use]
    pub fn as_slice(&self) -> &[NamedKey] {
        self.0.as_slice()
    }
}

/// Why a key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no `PUBLIC KEY` block.
    #[error("no PEM block PUBLIC KEY")]
    NoBlock,
    /// There is a private key instead.
    #[error("a private key where a public key belongs")]
    Private,
    /// There is more than one block.
    #[error("more than one PEM block")]
    MoreBlocks,
    /// The block is not base64.
    #[error("PEM block: {0}")]
    Base64(Base64Error),
    /// The key is of another kind.
    #[error("neither an uncompressed EC P-256 key nor an Ed25519 key")]
    Unsupported,
    /// The key is not a point of its curve.
    #[error("key is not a point of its curve")]
    NotAPoint,
    /// The key lies in the small subgroup.
    #[error("key is weak: a point of small order")]
    Weak,
    /// The name is longer than [`KEY_NAME_LEN_MAX`].
    #[error("key name is {len} bytes, limit {KEY_NAME_LEN_MAX}")]
    NameTooLong {
        /// Its length.
        len: usize,
    },
    /// The key, or another of the same name, is in the set already.
    #[error("key or key name comes twice")]
    Twice,
    /// The set has [`KEYS_MAX`] keys already.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
}
