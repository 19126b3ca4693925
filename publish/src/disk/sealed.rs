//! What the sealed root says about the device that it makes: whom it trusts, and where it looks.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use gybe_core::release::Release;
use gybe_core::trust::{Device, KeySet, Policy, PublicKey};
use gybe_image::erofs::{ReadError, Reader};
use gybe_oci::Package;
use serde::Deserialize;

use super::DiskError;
use super::loader::Loader;
use super::raw::Partition;

/// Longest file that is read, in bytes.
const LEN_MAX: u64 = 1 << 20;

const CONFIG: &str = "/usr/lib/gybe/config.toml";
const TRUST: &str = "/usr/lib/gybe/trust.toml";
const THRESHOLD_DEFAULT: usize = 1;

/// The root file system of slot A.
pub(super) type Root<'d> = Reader<Partition<'d>>;

/// What `config.toml` says that matters for a disk; `gybe` itself reads all of it.
#[derive(Debug, Deserialize)]
struct Config {
    compatible: Option<String>,
    reference: Option<String>,
    bootloader: Option<Bootloader>,
    #[serde(default)]
    slot: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Bootloader {
    kind: Option<String>,
    environment: Option<String>,
    file: Option<String>,
    fw_env: Option<String>,
}

impl Bootloader {
    /// What is odd about where the device looks for what the loader reads.
    fn warning(&self, loader: Loader, redundant: bool) -> Option<String> {
        let (key, found, expected) = match loader {
            Loader::Grub(_) => ("environment", &self.environment, "/run/gybe/env/grubenv"),
            Loader::UBoot(_) if redundant => {
                let missing =
                    "bootloader.fw_env is not set, but U-Boot has a redundant environment";
                return self.fw_env.is_none().then(|| format!("{CONFIG}: {missing}"));
            }
            Loader::UBoot(_) => ("file", &self.file, "/run/gybe/env/gybe.env"),
        };
        let found = found.as_deref().unwrap_or("not set");
        let odd =
            format!("{CONFIG}: bootloader.{key} is {found}, but this disk has it at {expected}");
        (found != expected).then_some(odd)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trust {
    threshold: Option<usize>,
    #[serde(default)]
    key: Vec<Key>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: String,
    file: String,
}

/// What was found in the image.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Where the device will look for updates.
    pub(super) reference: Option<String>,
    /// What is odd, but may be meant.
    pub(super) warnings: Vec<String>,
}

/// The text of a file, with who owns it.
pub(super) fn text(
    root: &mut Root<'_>,
    path: &str,
) -> Result<Option<(gybe_image::erofs::Found, String)>, DiskError> {
    let Some((found, bytes)) = root.file(path, LEN_MAX)? else { return Ok(None) };
    let text =
        String::from_utf8(bytes).map_err(|_| DiskError::NotText { path: path.to_owned() })?;
    Ok(Some((found, text)))
}

/// Checks that the image fits the disk, and that it trusts its own release: a device that does not would
/// know no floor, and could not be sure of its own fallback.
pub(super) fn check(
    root: &mut Root<'_>,
    package: &Package,
    release: &Release<'_>,
    loader: Loader,
    redundant: bool,
) -> Result<Found, DiskError> {
    let mut found = Found::default();
    let Some(config) = document::<Config>(root, CONFIG)? else {
        found.warnings.push(format!("the image has no {CONFIG}: gybe will not run on this disk"));
        return Ok(found);
    };
    let manifest = release.manifest();
    let other = |what: &'static str, found: &str, expected: &str| DiskError::Other {
        what,
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    if let Some(compatible) = config.compatible.filter(|it| it != manifest.compatible) {
        return Err(other("compatible", &compatible, manifest.compatible));
    }
    if let Some(bootloader) = &config.bootloader {
        let kind = bootloader.kind.as_deref();
        if let Some(kind) = kind.filter(|kind| *kind != loader.name()) {
            return Err(other("bootloader.kind", kind, loader.name()));
        }
        found.warnings.extend(bootloader.warning(loader, redundant));
    }
    for slot in ["a", "b"] {
        for target in ["root", "boot"] {
            let path = config.slot.get(slot).and_then(|slot| slot.get(target));
            let expected = format!("/dev/disk/by-partlabel/{target}_{slot}");
            if path != Some(&expected) {
                let path = path.map_or("not set", String::as_str);
                found.warnings.push(format!(
                    "{CONFIG}: slot.{slot}.{target} is {path}, but this disk has it at {expected}"
                ));
            }
        }
    }
    found.reference = config.reference;
    let Some(trust) = document::<Trust>(root, TRUST)? else {
        found.warnings.push(format!("the image has no {TRUST}: gybe will take no update"));
        return Ok(found);
    };
    let mut keys = KeySet::new();
    for Key { name, file } in &trust.key {
        let path = format!("/usr/lib/gybe/{file}");
        let (_, pem) = text(root, &path)?.ok_or_else(|| DiskError::NoKey { path: path.clone() })?;
        let key = PublicKey::from_pem(&pem).and_then(|key| keys.push(name, key));
        key.map_err(|cause| DiskError::Key { path: PathBuf::from(&path), cause })?;
    }
    let device =
        Device { compatible: manifest.compatible, architecture: manifest.architecture, floor: 0 };
    let threshold = trust.threshold.unwrap_or(THRESHOLD_DEFAULT);
    let own = |why: String| DiskError::OwnTrust { why };
    let policy = Policy::new(&keys, threshold, device).map_err(|cause| own(cause.to_string()))?;
    package.open(&policy).map_err(|cause| own(cause.to_string()))?;
    Ok(found)
}

fn document<T: serde::de::DeserializeOwned>(
    root: &mut Root<'_>,
    path: &str,
) -> Result<Option<T>, DiskError> {
    let Some((_, text)) = text(root, path)? else { return Ok(None) };
    let at = |cause| DiskError::Document { path: path.to_owned(), cause: Box::new(cause) };
    toml::from_str(&text).map(Some).map_err(at)
}

/// The keys that were given: whoever makes a disk says whom they trust.
pub(super) fn keys(paths: &[PathBuf]) -> Result<KeySet, DiskError> {
    let mut keys = KeySet::new();
    for path in paths {
        let pem = std::fs::read(path);
        let pem = pem.map_err(|cause| DiskError::Read { path: path.clone(), cause })?;
        let pem = String::from_utf8_lossy(&pem);
        let key = PublicKey::from_pem(&pem).and_then(|key| keys.push(&key_name(path), key));
        key.map_err(|cause| DiskError::Key { path: path.clone(), cause })?;
    }
    Ok(keys)
}

fn key_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().filter(char::is_ascii_graphic).take(32).collect()
}

/// Why the sealed root cannot be read.
pub(super) type RootError = ReadError<io::Error>;
