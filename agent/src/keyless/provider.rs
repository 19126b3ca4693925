//! The arithmetic that `sigstore-verify` asks for, by the crates that the core uses too.
//!
//! P-256, P-384 and Ed25519: what the public instance signs with, and signers. Private authorities may
//! be older than these, and have RSA: that is ring's, which TLS brings along. ML-DSA is refused by name,
//! and so is RSA over a hash alone.

use ed25519_dalek::Signature as Ed25519Signature;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use ring::signature;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use sigstore_verify::crypto::{
    CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider,
};
use sigstore_verify::types::HashAlgorithm;

/// Makes the arithmetic known. Whoever came first did the same.
pub fn install() {
    let _ = install_default_provider(&Provider);
}

#[derive(Debug)]
struct Provider;

struct Hashing<H>(H);

impl<H: sha2::Digest + Send> HashContext for Hashing<H> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl CryptoProvider for Provider {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        Ok(match algorithm {
            HashAlgorithm::Sha2256 => Box::new(Hashing(Sha256::new())),
            HashAlgorithm::Sha2384 => Box::new(Hashing(Sha384::new())),
            HashAlgorithm::Sha2512 => Box::new(Hashing(Sha512::new())),
            other => return Err(Error::UnsupportedAlgorithm(other.to_string())),
        })
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signed: &[u8],
    ) -> Result<()> {
        let rsa = |algorithm| {
            let key = signature::UnparsedPublicKey::new(algorithm, key);
            key.verify(data, signed).map_err(|_| invalid(scheme))
        };
        match scheme {
            SigningScheme::Ed25519 => {
                let key = key.try_into().map_err(|_| invalid_key(scheme))?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(key);
                let key = key.map_err(|_| invalid_key(scheme))?;
                let signature = Ed25519Signature::from_slice(signed);
                let signature = signature.map_err(|_| invalid(scheme))?;
                key.verify_strict(data, &signature).map_err(|_| invalid(scheme))
            }
            SigningScheme::RsaPkcs1Sha256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            SigningScheme::RsaPkcs1Sha384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            SigningScheme::RsaPkcs1Sha512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            SigningScheme::RsaPssSha256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            SigningScheme::RsaPssSha384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            SigningScheme::RsaPssSha512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            _ => match scheme.hash_algorithm() {
                Some(algorithm) => {
                    let mut hashing = self.hash(algorithm)?;
                    hashing.update(data);
                    self.verify_prehashed(scheme, key, &hashing.finalize(), signed)
                }
                None => Err(unsupported(scheme)),
            },
        }
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        match scheme {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key);
                let key = key.map_err(|_| invalid_key(scheme))?;
                let signature = p256::ecdsa::Signature::from_der(signature);
                let signature = signature.map_err(|_| invalid(scheme))?;
                key.verify_prehash(digest, &signature).map_err(|_| invalid(scheme))
            }
            SigningScheme::EcdsaP384Sha256 | SigningScheme::EcdsaP384Sha384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key);
                let key = key.map_err(|_| invalid_key(scheme))?;
                let signature = p384::ecdsa::Signature::from_der(signature);
                let signature = signature.map_err(|_| invalid(scheme))?;
                key.verify_prehash(digest, &signature).map_err(|_| invalid(scheme))
            }
            _ => Err(unsupported(scheme)),
        }
    }
}

fn invalid(scheme: SigningScheme) -> Error {
    Error::Verification(format!("{} signature invalid", scheme.name()))
}

fn invalid_key(scheme: SigningScheme) -> Error {
    Error::InvalidKey(format!("not a key for {}", scheme.name()))
}

fn unsupported(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(scheme.name().to_owned())
}
