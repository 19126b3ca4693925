//! cosign's first wire format: the "simple signing" payload.
//!
//! ```text
//! {"critical":{"identity":{"docker-reference":"…"},
//!              "image":{"docker-manifest-digest":"sha256:…"},
//!              "type":"cosign container image signature"},
//!  "optional":{"key":"value"} or null}
//! ```
//! Source: cosign `specs/SIGNATURE_SPEC.md`; containers/image `docs/containers-signature.5.md`,
//! which also demands that nothing else stands in it.

use super::reason::{Excerpt, Reason};
use super::verifier::Wanted;
use super::{Annotations, Repository};
use crate::json::{Kind, Value};

/// What a payload must say of itself.
const TYPE: &str = "cosign container image signature";

/// Reads a payload of which the signature has been verified.
pub(super) fn read<'s>(
    payload: &'s [u8],
    wanted: &Wanted,
    repository: Repository<'_>,
) -> Result<Annotations<'s>, Reason> {
    let root = Value::parse(payload)?;
    let (mut critical, mut optional) = (None, None);
    for member in root.object()? {
        match member? {
            ("critical", value) => critical = Some(value),
            ("optional", value) => optional = (value.kind() != Kind::Null).then_some(value),
            (_, value) => return Err(Reason::Unknown { at: value.at() }),
        }
    }
    read_critical(critical.ok_or(root.missing("critical"))?, wanted, repository)?;
    Ok(Annotations::new(optional))
}

fn read_critical(
    critical: Value<'_>,
    wanted: &Wanted,
    repository: Repository<'_>,
) -> Result<(), Reason> {
    let (mut image, mut kind, mut identity) = (None, None, None);
    for member in critical.object()? {
        match member? {
            ("image", value) => image = Some(value),
            ("type", value) => kind = Some(value.text()?),
            ("identity", value) => identity = Some(value),
            (_, value) => return Err(Reason::Unknown { at: value.at() }),
        }
    }
    if kind.ok_or(critical.missing("type"))? != TYPE {
        return Err(Reason::PayloadType);
    }
    read_image(image.ok_or(critical.missing("image"))?, wanted)?;
    // Under which name it was signed: registries rename, so most ask for `compatible` only.
    if repository == Repository::Any { Ok(()) } else { read_identity(identity, repository) }
}

fn read_identity(identity: Option<Value<'_>>, wanted: Repository<'_>) -> Result<(), Reason> {
    let mut reference = None;
    for member in identity.ok_or(Reason::NoRepository)?.object()? {
        if let ("docker-reference", value) = member? {
            reference = Some(value.text()?);
        }
    }
    let reference = reference.ok_or(Reason::NoRepository)?;
    let is_wanted = reference.plain().is_some_and(|reference| wanted.is(reference));
    if is_wanted { Ok(()) } else { Err(Reason::OtherRepository(Excerpt::new(reference.chars()))) }
}

fn read_image(image: Value<'_>, wanted: &Wanted) -> Result<(), Reason> {
    let mut digest = None;
    for member in image.object()? {
        match member? {
            ("docker-manifest-digest", value) => digest = Some(value),
            (_, value) => return Err(Reason::Unknown { at: value.at() }),
        }
    }
    let digest = digest.ok_or(image.missing("docker-manifest-digest"))?.str()?;
    let digest = digest.parse().map_err(Reason::Digest)?;
    if wanted.contains(digest) { Ok(()) } else { Err(Reason::OtherDigest { digest }) }
}
