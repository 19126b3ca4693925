//! `trust.toml`, read.

use std::path::{Path, PathBuf};

use gybe_core::trust::{KEYS_MAX, KeySet, PublicKey};

use super::{FILE, Rule, Trust, TrustError};
use crate::config::document::{Document, Section, read_small};
use crate::config::{DocumentError, IMAGE_FOLDER};
#[cfg(feature = "keyless")]
use crate::keyless::{Certificates, Wanted};
use crate::root::Root;

const TOP: [&str; 7] =
    ["threshold", "key", "identity", "trusted_root", "docker_reference", "repository", "channels"];
const KEY: [&str; 2] = ["name", "file"];
#[cfg(feature = "keyless")]
const IDENTITY: [&str; 3] = ["name", "san", "issuer"];
/// How many must sign, unless the file says otherwise.
const THRESHOLD_DEFAULT: u8 = 1;
const THRESHOLD_MIN: u8 = 1;

/// Reads the file and what it names.
pub(super) fn read(root: &Root) -> Result<Trust, TrustError> {
    let path = root.path(FILE);
    let Some(text) = read_small(&path)? else {
        return Err(TrustError::NoFile { path });
    };
    let document = Document::parse(&path, &text)?;
    let top = document.top();
    top.allow(&TOP)?;
    let keys_max = u8::try_from(KEYS_MAX).unwrap_or(u8::MAX);
    let threshold = top.number("threshold", THRESHOLD_MIN, keys_max)?;
    let keys = keys(root, &top)?;
    #[cfg(not(feature = "keyless"))]
    if !top.sections("identity")?.is_empty() {
        return Err(TrustError::Keyless);
    }
    Ok(Trust {
        #[cfg(feature = "keyless")]
        certificates: certificates(root, &top, &keys)?,
        keys,
        threshold: usize::from(threshold.unwrap_or(THRESHOLD_DEFAULT)),
        rule: rule(&top)?,
        repository: top.text("repository")?.map(|text| text.value),
        channels: channels(&top)?,
    })
}

fn rule(top: &Section<'_>) -> Result<Rule, TrustError> {
    let Some(rule) = top.text("docker_reference")? else { return Ok(Rule::default()) };
    match rule.value.as_str() {
        "ignore" => Ok(Rule::Ignore),
        "repository" => Ok(Rule::Repository),
        "exact" => Ok(Rule::Exact),
        _ => {
            let problem = "is not ignore, repository or exact";
            Err(top.value_error("docker_reference", rule.line, problem).into())
        }
    }
}

fn channels(top: &Section<'_>) -> Result<Vec<String>, DocumentError> {
    let texts = top.texts("channels")?.unwrap_or_default();
    Ok(texts.into_iter().map(|text| text.value).collect())
}

fn keys(root: &Root, top: &Section<'_>) -> Result<KeySet, TrustError> {
    let mut keys = KeySet::new();
    for section in top.sections("key")? {
        section.allow(&KEY)?;
        let name = required(&section, "name")?;
        let (path, pem) = beside(root, &section, "file")?.ok_or_else(|| unset(&section, "file"))?;
        let key = PublicKey::from_pem(&pem);
        let key = key.map_err(|cause| TrustError::Key { path: path.clone(), cause })?;
        keys.push(&name, key).map_err(|cause| TrustError::Key { path, cause })?;
    }
    Ok(keys)
}

#[cfg(feature = "keyless")]
fn certificates(
    root: &Root,
    top: &Section<'_>,
    keys: &KeySet,
) -> Result<Option<Certificates>, TrustError> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for section in top.sections("identity")? {
        section.allow(&IDENTITY)?;
        let name = required(&section, "name")?;
        let one = Wanted {
            name: name.clone(),
            san: required(&section, "san")?,
            issuer: required(&section, "issuer")?,
        };
        // One signer under two names would count twice towards a threshold.
        let is_same = |other: &Wanted| other.name == one.name || other.id() == one.id();
        if wanted.iter().any(is_same) || keys.as_slice().iter().any(|key| key.name() == name) {
            return Err(TrustError::Twice { name });
        }
        wanted.push(one);
    }
    let Some((path, text)) = beside(root, top, "trusted_root")? else {
        return if wanted.is_empty() { Ok(None) } else { Err(unset(top, "trusted_root").into()) };
    };
    let certificates = Certificates::new(&text, wanted);
    certificates.map(Some).map_err(|cause| TrustError::Root { path, cause })
}

fn required(section: &Section<'_>, key: &'static str) -> Result<String, DocumentError> {
    section.text(key)?.map(|text| text.value).ok_or_else(|| unset(section, key))
}

fn unset(section: &Section<'_>, key: &'static str) -> DocumentError {
    section.value_error(key, section.line(), "is not set")
}

/// The file beside `trust.toml` that `key` names, with its text.
fn beside(
    root: &Root,
    section: &Section<'_>,
    key: &'static str,
) -> Result<Option<(PathBuf, String)>, TrustError> {
    let Some(file) = section.text(key)? else { return Ok(None) };
    if Path::new(&file.value).file_name() != Some(file.value.as_ref()) {
        let problem = "is not the name of a file beside trust.toml";
        return Err(section.value_error(key, file.line, problem).into());
    }
    let path = root.path(Path::new(IMAGE_FOLDER).join(&file.value));
    match read_small(&path)? {
        Some(text) => Ok(Some((path, text))),
        None => Err(TrustError::NoFile { path }),
    }
}
