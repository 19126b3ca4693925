//! `gybe verify-bundle`: is a file what a Sigstore bundle says? The command line is that of the
//! conformance suite's client protocol, so that anyone can run that suite.
//!
//! Here what is signed may be anything, attestations too, and nothing of the device takes part. What
//! a device accepts as a signature over a release is narrower: that is `gybe verify`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use sigstore_verify::trust_root::{SigstoreInstance, TrustedRoot};
use sigstore_verify::types::{Artifact, Bundle, DerPublicKey, Sha256Hash};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, Verifier};

use crate::cli::{Exit, VerifyBundle};
use crate::config::document::FILE_LEN_MAX;
use crate::error::Error;
use crate::keyless;
use crate::output;

/// The longest bundle that is read, in bytes.
const BUNDLE_LEN_MAX: u64 = 4 << 20;
/// Up to which length a file is held in memory: some kinds of keys sign no hash but the file itself.
const HELD_LEN_MAX: u64 = 16 << 20;
const DIGEST_PREFIX: &str = "sha256:";

pub(super) fn run(asked: &VerifyBundle) -> Result<Exit, Error> {
    keyless::install_provider();
    let bundle = Bundle::from_json(&read(&asked.bundle, BUNDLE_LEN_MAX)?).map_err(refused)?;
    let root = match &asked.trusted_root {
        Some(file) => TrustedRoot::from_json(&read(file, FILE_LEN_MAX)?),
        None if asked.staging => TrustedRoot::from_embedded(SigstoreInstance::Staging),
        None => TrustedRoot::from_embedded(SigstoreInstance::PublicGood),
    };
    let verifier = Verifier::new(&root.map_err(refused)?).map_err(refused)?;
    let verified = match (&asked.key, &asked.certificate_identity, &asked.certificate_oidc_issuer) {
        (Some(key), ..) => {
            let key = DerPublicKey::from_pem(&read(key, FILE_LEN_MAX)?).map_err(refused)?;
            verify(&verifier, &bundle, &asked.artifact, &PublicKeyVerificationPolicy::new(key))
        }
        (None, Some(identity), Some(issuer)) => {
            let policy = VerificationPolicy::new(identity.as_str(), issuer.as_str());
            verify(&verifier, &bundle, &asked.artifact, &policy)
        }
        // The command line asks for one of both.
        (None, ..) => Err(Error::Bundle { why: "nobody is named who may have signed".to_owned() }),
    };
    verified?;
    output::data(format_args!("{} is what {} says", asked.artifact, asked.bundle.display()));
    Ok(Exit::Done)
}

fn verify(
    verifier: &Verifier,
    bundle: &Bundle,
    artifact: &str,
    policy: &impl sigstore_verify::Policy,
) -> Result<(), Error> {
    let path = Path::new(artifact);
    let digest = artifact.strip_prefix(DIGEST_PREFIX).filter(|_| !path.exists());
    let result = if let Some(digest) = digest.and_then(|hex| Sha256Hash::from_hex(hex).ok()) {
        verifier.verify(Artifact::from_digest(digest), bundle, policy)
    } else {
        let cannot = |cause| unreadable(path, cause);
        if fs::metadata(path).map_err(cannot)?.len() <= HELD_LEN_MAX {
            let bytes = fs::read(path).map_err(cannot)?;
            verifier.verify(bytes.as_slice(), bundle, policy)
        } else {
            verifier.verify_reader(File::open(path).map_err(cannot)?, bundle, policy)
        }
    };
    result.map(drop).map_err(refused)
}

fn refused(cause: impl std::error::Error) -> Error {
    Error::Bundle { why: cause.to_string() }
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::BundleFile { path: path.to_owned(), cause }
}

fn read(path: &Path, limit: u64) -> Result<String, Error> {
    let cannot = |cause| unreadable(path, cause);
    let len = fs::metadata(path).map_err(cannot)?.len();
    if len > limit {
        let why = format!("{} is {len} bytes, limit {limit}", path.display());
        return Err(Error::Bundle { why });
    }
    fs::read_to_string(path).map_err(cannot)
}
