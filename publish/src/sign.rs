//! `gybe-publish sign`: signatures as cosign writes them, in both of its formats.
//!
//! Both, because cosign 3 looks for one, podman and skopeo know only the other, and a release
//! should be good for whoever has it.

mod bundle;
mod error;
mod layout;
mod registry;
pub(crate) mod simple;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use gybe_core::digest::Digest;
use gybe_oci::{Descriptor, Layout, LayoutReference, LayoutWriter, Reference, Sources, Transport};
use serde::Serialize;

use crate::cli::{Sign, Signing};
use crate::key::PrivateKey;
use crate::push::{PushFailure, access};
use crate::{epoch, output};

pub use self::error::SignError;

/// The version of the JSON report.
const REPORT_VERSION: u32 = 1;

/// The longest name and the longest value of an annotation, in bytes.
const ANNOTATION_LEN_MAX: usize = 1024;

/// What annotations begin with by which devices decide.
const DECISION: &str = "dev.gybe.";

/// The annotation that orders the statements about a release: seconds since 1970, unless given.
const ISSUED: &str = "dev.gybe.issued";

/// Something to be said in the signed bytes, beside the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    key: String,
    value: String,
}

impl FromStr for Annotation {
    type Err = AnnotationError;

    fn from_str(text: &str) -> Result<Self, AnnotationError> {
        let (key, value) = text.split_once('=').ok_or(AnnotationError::NoValue)?;
        if text.len() > ANNOTATION_LEN_MAX {
            return Err(AnnotationError::TooLong { len: text.len() });
        }
        // Devices refuse keys with an escape in them, and Go escapes these three as well.
        let escaped = |char: char| char.is_control() || "\"\\<>&\u{2028}\u{2029}".contains(char);
        if key.is_empty() || key.contains(escaped) {
            return Err(AnnotationError::Key);
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// Why a text is not an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// There is no `=`.
    #[error("not KEY=VALUE")]
    NoValue,
    /// It is longer than [`ANNOTATION_LEN_MAX`].
    #[error("{len} bytes, limit {ANNOTATION_LEN_MAX}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// The key is empty or has a character that JSON writes with an escape.
    #[error("key is empty, or has a control character or one of \" \\ < > &")]
    Key,
}

/// What every signature of one call says.
#[derive(Debug)]
struct Claim {
    /// What is signed.
    subject: Descriptor,
    docker_reference: String,
    annotations: BTreeMap<String, String>,
    /// When the manifests that carry the signatures say they were made.
    created: String,
}

/// A signature that was written.
#[derive(Debug, Serialize)]
pub struct Signed {
    key: String,
    format: Format,
    /// The manifest that carries the signature.
    manifest: String,
}

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    SimpleSigning,
    Bundle,
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    digest: String,
    signatures: &'a [Signed],
}

/// Runs the verb.
pub fn run(arguments: &Sign) -> Result<(), SignError> {
    let keys = read_keys(&arguments.signing)?;
    let (digest, signed) = match &arguments.source {
        Reference::Layout(source) => in_layout(source, &keys, &arguments.signing)?,
        Reference::Registry(reference) => {
            let repository = Sources::new(access()).repository(reference);
            let repository = repository.map_err(PushFailure::from)?;
            registry::sign(&repository, reference, &keys, &arguments.signing)?
        }
    };
    if arguments.json {
        let digest = digest.to_string();
        output::json(&Report { version: REPORT_VERSION, digest, signatures: &signed })?;
    } else {
        output::data(digest);
        for Signed { key, manifest, .. } in &signed {
            output::talk(format_args!("signed with {key}: {manifest}"));
        }
    }
    Ok(())
}

/// Signs what a layout has. Gives its digest, and what was made.
fn in_layout(
    source: &LayoutReference,
    keys: &[PrivateKey],
    signing: &Signing,
) -> Result<(Digest, Vec<Signed>), SignError> {
    if source.transport != Transport::Directory {
        return Err(SignError::ReadOnly { source_name: source.to_string() });
    }
    // A writer would make a layout where there is none.
    Layout::open(source)?;
    let writer = LayoutWriter::open(&source.path)?;
    let subject = layout::subject(writer.layout(), source.tag.as_deref())?;
    let digest = subject.digest;
    Ok((digest, sign(&writer, subject, &directory_name(&source.path), keys, signing)?))
}

/// Reads the private keys, each of which may be given once.
///
/// # Errors
/// A file is not a key, or two are the same.
pub fn read_keys(signing: &Signing) -> Result<Vec<PrivateKey>, SignError> {
    let mut keys: Vec<PrivateKey> = Vec::new();
    for path in &signing.keys {
        let key = PrivateKey::read(path)?;
        if keys.iter().any(|other| other.public() == key.public()) {
            return Err(SignError::KeyTwice { path: path.clone() });
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Signs what `subject` names in a layout, with every key, in both formats. The signatures say that it
/// belongs to `repository`, unless they are told otherwise.
///
/// # Errors
/// [`SignError`] or what the layout says; some signatures may have been written.
pub fn sign(
    writer: &LayoutWriter,
    subject: Descriptor,
    repository: &str,
    keys: &[PrivateKey],
    signing: &Signing,
) -> Result<Vec<Signed>, SignError> {
    let mut annotations = BTreeMap::new();
    for Annotation { key, value } in &signing.annotations {
        if annotations.insert(key.clone(), value.clone()).is_some() {
            return Err(SignError::AnnotationTwice { key: key.clone() });
        }
    }
    // What is decided about a release is in the newest statement: so each says when it was made.
    let decides = annotations.keys().any(|key| key.starts_with(DECISION));
    if decides && !annotations.contains_key(ISSUED) {
        annotations.insert(ISSUED.to_owned(), epoch::now()?.to_string());
    }
    let docker_reference =
        signing.docker_reference.clone().unwrap_or_else(|| repository.to_owned());
    let created = epoch::created()?;
    let claim = Claim { subject, docker_reference, annotations, created };
    let mut signed = layout::add_simple(writer, &claim, keys)?;
    for key in keys {
        signed.push(layout::add_bundle(writer, &claim, key)?);
    }
    Ok(signed)
}

/// The name of a directory, also where it is `.`.
pub(crate) fn directory_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
