//! From a tag and a machine to the one manifest that is meant.

use std::collections::BTreeSet;

use gybe_core::digest::Digest;

use crate::layout::{Layout, LayoutError, Problem};
use crate::manifest::{
    DESCRIPTORS_MAX, Descriptor, INDEX_LEN_MAX, Index, MANIFEST_LEN_MAX, Manifest, Platform,
};
use crate::signatures::{SIGNATURE_MANIFEST_LEN_MAX, is_signature};

/// How many indexes may lie in each other below `index.json`.
pub(crate) const DEPTH_MAX: usize = 4;

/// Most images that are listed of one layout.
pub const IMAGES_MAX: usize = 64;

/// Most different entries that are looked at for that.
const SEEN_MAX: usize = 256;

/// Most tags or machines that a message lists.
const LISTED_MAX: usize = 16;

/// A manifest that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its descriptor, in the innermost index.
    pub descriptor: Descriptor,
    /// Its bytes; their digest and length are those of the descriptor.
    pub manifest: Vec<u8>,
    /// The nested indexes that led to it, outermost first. A signature over one of these is one
    /// over the manifest too: each names the next by digest.
    pub indexes: Vec<Digest>,
    /// The bytes of the last of these.
    pub index: Option<Vec<u8>>,
}

/// An image that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its descriptor, in the innermost index.
    pub descriptor: Descriptor,
    /// The nested indexes that led to it, outermost first.
    pub indexes: Vec<Digest>,
}

impl Layout {
    /// Finds the image that has `tag`, or the only one, for `platform`, or the only machine's.
    ///
    /// # Errors
    /// Nothing fits, several do, or what leads there is damaged or beyond its limit.
    pub fn resolve(
        &self,
        tag: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<Resolved, LayoutError> {
        let entries = &self.index().manifests;
        let mut found = match tag {
            Some(tag) => self.tagged(entries, tag)?,
            None => self.images(entries),
        };
        let (mut indexes, mut index) = (Vec::new(), None);
        loop {
            let descriptor = choose(&found, platform).map_err(|problem| self.error(problem))?;
            let digest = descriptor.digest;
            let limit = if descriptor.is_index() { INDEX_LEN_MAX } else { MANIFEST_LEN_MAX };
            self.blob_of_len(&digest, descriptor.size)?;
            if descriptor.is_manifest() {
                let manifest = self.read_blob(&digest, limit)?;
                return Ok(Resolved { descriptor: descriptor.clone(), manifest, indexes, index });
            }
            if !descriptor.is_index() {
                let media_type = descriptor.media_type.clone();
                return Err(self.error(Problem::MediaType { digest, media_type }));
            }
            if indexes.len() >= DEPTH_MAX {
                return Err(self.error(Problem::Depth { digest, limit: DEPTH_MAX }));
            }
            indexes.push(digest);
            let text = self.read_blob(&digest, limit)?;
            let parsed = Index::parse(&text)
                .map_err(|cause| self.error(Problem::Json { what: digest.to_string(), cause }))?;
            found = self.images(&parsed.manifests);
            index = Some(text);
        }
    }

    /// Every image that has `tag`, or every one there is, for whatever machine, in the order of the
    /// indexes; none of them is read. What builders list as one for an unknown machine is none.
    ///
    /// # Errors
    /// Nothing has the tag, there are more than [`IMAGES_MAX`], or an index that leads there is
    /// damaged or beyond its limit.
    pub fn listed(&self, tag: Option<&str>) -> Result<Vec<Listed>, LayoutError> {
        let entries = &self.index().manifests;
        let entries = match tag {
            Some(tag) => self.tagged(entries, tag)?,
            None => self.images(entries),
        };
        let too_many = |what, limit| Err(self.error(Problem::TooMany { what, limit }));
        let mut found: Vec<Listed> = Vec::new();
        let mut seen = BTreeSet::new();
        // What is still to be looked at, the next one last.
        let at_top = |descriptor| Listed { descriptor, indexes: Vec::new() };
        let mut left: Vec<_> = entries.into_iter().rev().map(at_top).collect();
        while let Some(next) = left.pop() {
            let Listed { descriptor, indexes } = &next;
            let digest = descriptor.digest;
            let known = descriptor.platform.as_ref().is_none_or(|it| it.architecture != "unknown");
            if !known || !seen.insert(digest) {
                continue;
            }
            if seen.len() > SEEN_MAX || left.len() > DESCRIPTORS_MAX {
                return too_many("entries", SEEN_MAX);
            }
            if descriptor.is_manifest() {
                if found.len() >= IMAGES_MAX {
                    return too_many("images", IMAGES_MAX);
                }
                found.push(next);
            } else if descriptor.is_index() {
                if indexes.len() >= DEPTH_MAX {
                    return Err(self.error(Problem::Depth { digest, limit: DEPTH_MAX }));
                }
                let index = Index::parse(&self.read_blob(&digest, INDEX_LEN_MAX)?);
                let index = index.map_err(|cause| {
                    self.error(Problem::Json { what: digest.to_string(), cause })
                })?;
                let path: Vec<_> = indexes.iter().copied().chain([digest]).collect();
                let inner = self.images(&index.manifests).into_iter().rev();
                left.extend(inner.map(|it| Listed { descriptor: it, indexes: path.clone() }));
            }
        }
        Ok(found)
    }

    /// Reads the manifest of an image that is listed.
    ///
    /// # Errors
    /// It is missing, damaged, of another length than its descriptor says, or beyond its limit.
    pub fn read_listed(&self, listed: Listed) -> Result<Resolved, LayoutError> {
        let Listed { descriptor, indexes } = listed;
        self.blob_of_len(&descriptor.digest, descriptor.size)?;
        let manifest = self.read_blob(&descriptor.digest, MANIFEST_LEN_MAX)?;
        let index = match indexes.last() {
            Some(index) => Some(self.read_blob(index, INDEX_LEN_MAX)?),
            None => None,
        };
        Ok(Resolved { descriptor, manifest, indexes, index })
    }

    /// Reads the manifest of a resolved image.
    ///
    /// # Errors
    /// It is not a manifest.
    pub fn manifest(&self, resolved: &Resolved) -> Result<Manifest, LayoutError> {
        Manifest::parse(&resolved.manifest).map_err(|cause| {
            let what = resolved.descriptor.digest.to_string();
            self.error(Problem::Json { what, cause })
        })
    }

    fn tagged(&self, entries: &[Descriptor], tag: &str) -> Result<Vec<Descriptor>, LayoutError> {
        let found: Vec<_> =
            entries.iter().filter(|entry| entry.ref_name() == Some(tag)).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let there = list(entries.iter().filter_map(Descriptor::ref_name).map(str::to_owned));
        Err(self.error(Problem::NoTag { tag: tag.to_owned(), there }))
    }

    /// What may be an image: not what is known to be a signature or other attachment.
    fn images(&self, entries: &[Descriptor]) -> Vec<Descriptor> {
        let entries = images_of(entries);
        if entries.len() < 2 {
            return entries;
        }
        entries.into_iter().filter(|entry| !self.has_subject(entry)).collect()
    }

    /// Whether an entry is about another manifest. What cannot be read, or is longer than any
    /// signature, is taken for an image, so that it is reported and not passed over.
    fn has_subject(&self, entry: &Descriptor) -> bool {
        entry.is_manifest()
            && self
                .read_blob(&entry.digest, SIGNATURE_MANIFEST_LEN_MAX)
                .ok()
                .and_then(|text| Manifest::parse(&text).ok())
                .is_some_and(|manifest| manifest.subject.is_some())
    }
}

/// The entries that are not known to be signatures.
pub(crate) fn images_of(entries: &[Descriptor]) -> Vec<Descriptor> {
    entries.iter().filter(|entry| !is_signature(entry)).cloned().collect()
}

/// The one entry for the machine.
pub(crate) fn choose<'a>(
    entries: &'a [Descriptor],
    platform: Option<&Platform>,
) -> Result<&'a Descriptor, Problem> {
    // Builders list what they know about an image as one for an unknown machine.
    let mut fit: Vec<_> = entries
        .iter()
        .filter(|entry| entry.platform.as_ref().is_none_or(|it| it.architecture != "unknown"))
        .collect();
    if fit.is_empty() {
        return Err(Problem::NoImage);
    }
    if let Some(platform) = platform {
        let machines =
            list(fit.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())));
        let named: Vec<_> = fit
            .iter()
            .filter(|entry| entry.platform.as_ref().is_some_and(|it| it.is(platform)))
            .copied()
            .collect();
        if named.is_empty() {
            fit.retain(|entry| entry.platform.is_none());
        } else {
            fit = named;
        }
        if fit.is_empty() {
            return Err(Problem::NoPlatform { platform: platform.clone(), there: machines });
        }
    }
    fit.sort_unstable_by_key(|entry| entry.digest);
    fit.dedup_by_key(|entry| entry.digest);
    match fit.as_slice() {
        [one] => Ok(one),
        several => Err(Problem::Ambiguous {
            count: several.len(),
            there: list(several.iter().map(|entry| describe(entry))),
        }),
    }
}

fn describe(entry: &Descriptor) -> String {
    let machine = entry.platform.as_ref().map(Platform::to_string);
    let parts = entry.ref_name().map(str::to_owned).into_iter().chain(machine);
    let text = parts.collect::<Vec<_>>().join(" ");
    if text.is_empty() { entry.digest.to_string() } else { text }
}

/// A list for a message, cut off where it gets long.
fn list(all: impl Iterator<Item = String>) -> String {
    let mut all = all;
    let mut some: Vec<_> = all.by_ref().take(LISTED_MAX).collect();
    if some.is_empty() {
        return "none".to_owned();
    }
    some.extend(all.next().map(|_| "…".to_owned()));
    some.join(", ")
}

#[cfg(test)]
mod tests;
