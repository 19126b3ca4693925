//! Private keys: EC P-256 and Ed25519 in PEM, as openssl and cosign write them.
//!
//! Sources: RFC 5958 (`PRIVATE KEY`), RFC 5915 (`EC PRIVATE KEY`), RFC 6979 (ECDSA without a
//! random number), RFC 8032 (Ed25519).

mod cosign;
mod password;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use gybe_core::trust::{KeyError, PublicKey};
use p256::ecdsa::signature::Signer as _;
use zeroize::Zeroizing;

use cosign::LockedError;
use password::Password;

/// How long a key file may be, in bytes.
const FILE_LEN_MAX: u64 = 16 * 1024;

/// What openssl writes before an EC key and what says nothing that the key does not say.
const PARAMETERS: (&str, &str) = ("-----BEGIN EC PARAMETERS-----", "-----END EC PARAMETERS-----");

/// A private key. The same message always gives the same signature.
pub struct PrivateKey {
    secret: Secret,
    public: PublicKey,
}

enum Secret {
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl PrivateKey {
    /// Reads a key from a file. The password of one of cosign's is the variable
    /// `COSIGN_PASSWORD`, or is asked for on the terminal.
    ///
    /// # Errors
    /// [`PrivateKeyError`] names the file.
    pub fn read(path: &Path) -> Result<Self, PrivateKeyError> {
        let at = |cause| PrivateKeyError { path: path.to_owned(), cause };
        let mut pem = Zeroizing::new(String::new());
        let file = File::open(path).map_err(|cause| at(Cause::Read(cause)))?;
        file.take(FILE_LEN_MAX + 1).read_to_string(&mut pem).map_err(|e| at(Cause::Read(e)))?;
        if pem.len() as u64 > FILE_LEN_MAX {
            return Err(at(Cause::TooLong));
        }
        Self::from_pem(&pem, &|| password::of(path)).map_err(at)
    }

    pub(crate) fn from_pem(pem: &str, password: Password<'_>) -> Result<Self, Cause> {
        let pem = match pem.split_once(PARAMETERS.0) {
            Some((_, rest)) => rest.split_once(PARAMETERS.1).ok_or(Cause::Pem)?.1,
            None => pem,
        };
        let (label, der) =
            pem_rfc7468::decode_vec(pem.trim().as_bytes()).map_err(|_| Cause::Pem)?;
        let der = Zeroizing::new(der);
        match label {
            "PRIVATE KEY" => Self::from_pkcs8(&der),
            "EC PRIVATE KEY" => {
                let key = p256::SecretKey::from_sec1_der(&der).map_err(|_| Cause::Unsupported)?;
                Self::p256(&key)
            }
            label if cosign::LABELS.contains(&label) => {
                Self::from_pkcs8(&cosign::unlock(&der, password)?)
            }
            label if label.contains("ENCRYPTED") => Err(Cause::Encrypted),
            label if label.contains("PUBLIC") => Err(Cause::Public),
            _ => Err(Cause::Unsupported),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, Cause> {
        if let Ok(key) = p256::SecretKey::from_pkcs8_der(der) {
            Self::p256(&key)
        } else if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_der(der) {
            Self::ed25519(key)
        } else {
            Err(Cause::Unsupported)
        }
    }

    fn p256(key: &p256::SecretKey) -> Result<Self, Cause> {
        let secret = p256::ecdsa::SigningKey::from(key);
        let point = secret.verifying_key().to_sec1_point(false);
        let point = point.as_bytes().try_into().map_err(|_| Cause::Unsupported)?;
        Ok(Self { public: PublicKey::from_p256(point)?, secret: Secret::P256(secret) })
    }

    fn ed25519(secret: ed25519_dalek::SigningKey) -> Result<Self, Cause> {
        let point = secret.verifying_key().to_bytes();
        Ok(Self { public: PublicKey::from_ed25519(point)?, secret: Secret::Ed25519(secret) })
    }

    /// The other half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs: ECDSA with SHA-256 in DER, or pure Ed25519.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        }
    }
}

/// Only the public half is ever shown.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public.fmt(f)
    }
}

/// Why a file is not a private key that we sign with.
#[derive(Debug, thiserror::Error)]
#[error("key {path}: {cause}", path = path.display())]
pub struct PrivateKeyError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("cannot read: {0}")]
    Read(io::Error),
    #[error("longer than {FILE_LEN_MAX} bytes")]
    TooLong,
    #[error("not one PEM block")]
    Pem,
    #[error("encrypted; decrypt it first, as with: openssl pkey -in FILE -out PLAIN.pem")]
    Encrypted,
    #[error(transparent)]
    Locked(#[from] LockedError),
    #[error("a public key where a private key belongs")]
    Public,
    #[error("neither an EC P-256 key nor an Ed25519 key")]
    Unsupported,
    #[error(transparent)]
    Key(#[from] KeyError),
}
