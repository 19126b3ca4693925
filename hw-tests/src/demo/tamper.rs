//! Releases that somebody changed on their way.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::shell::Trouble;

const BLOCK_LEN: usize = 4096;

/// A copy of an OCI layout that shares its blobs until one is changed.
pub(super) fn copy(layout: &Path, to: &Path) -> Result<PathBuf, Trouble> {
    copy_folder(layout, to)?;
    Ok(to.to_owned())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else if source.extension().is_some_and(|ending| ending == "json") {
            fs::copy(&source, &target)?;
        } else {
            fs::hard_link(&source, &target)?;
        }
    }
    Ok(())
}

/// Flips the first bit of the manifest of the release `tag`.
pub(super) fn flip_in_manifest(layout: &Path, tag: &str) -> Result<(), Trouble> {
    flip(&manifest(layout, tag)?, usize::MAX)
}

/// Flips a bit in every block of the newest pack of the release `tag`: whichever of its frames a
/// device fetches is a wrong one.
pub(super) fn flip_in_last_pack(layout: &Path, tag: &str) -> Result<(), Trouble> {
    let manifest = read_json(&manifest(layout, tag)?)?;
    let layers = manifest.get("layers").and_then(Value::as_array);
    let last = layers.and_then(|layers| layers.last());
    flip(&blob(layout, last)?, BLOCK_LEN)
}

fn manifest(layout: &Path, tag: &str) -> Result<PathBuf, Trouble> {
    let index = read_json(&layout.join("index.json"))?;
    let entries = index.get("manifests").and_then(Value::as_array);
    let named = entries.into_iter().flatten().find(|entry| {
        let name = entry.pointer("/annotations/org.opencontainers.image.ref.name");
        name.and_then(Value::as_str) == Some(tag)
    });
    blob(layout, named)
}

fn blob(layout: &Path, descriptor: Option<&Value>) -> Result<PathBuf, Trouble> {
    let digest = descriptor.and_then(|found| found.get("digest")).and_then(Value::as_str);
    let hex = digest.and_then(|digest| digest.strip_prefix("sha256:"));
    let hex = hex.ok_or_else(|| Trouble(format!("{}: no such blob", layout.display())))?;
    Ok(layout.join("blobs/sha256").join(hex))
}

fn read_json(path: &Path) -> Result<Value, Trouble> {
    let text = fs::read(path)?;
    serde_json::from_slice(&text).map_err(|cause| Trouble(format!("{}: {cause}", path.display())))
}

/// Flips the lowest bit of the first byte in every `step` bytes.
fn flip(path: &Path, step: usize) -> Result<(), Trouble> {
    let mut content = fs::read(path)?;
    content.iter_mut().step_by(step).for_each(|byte| *byte ^= 1);
    // The blob is shared with the good release: a new file takes its name.
    fs::remove_file(path)?;
    Ok(fs::write(path, content)?)
}
