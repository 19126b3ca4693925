//! What is in a bundle: the blobs in the order in which a device reads them, and what lists them.

use std::collections::{BTreeMap, BTreeSet};

use gybe_core::digest::Digest;
use gybe_core::manifest::Manifest;
use gybe_oci::{Descriptor, INDEX_LEN_MAX, Index, REF_NAME, Source, media_type};
use serde_json::json;

use super::release::Release;
use super::signatures::{About, about};
use super::{BundleError, Unsigned};

/// A blob, and where it comes from.
#[derive(Debug)]
pub struct Part<'s> {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub len: u64,
    /// The media type of a manifest or an index, which registries keep in another place than blobs.
    pub document: Option<&'static str>,
    /// Its bytes.
    pub from: Origin<'s>,
}

/// Where a blob comes from.
#[derive(Debug)]
pub enum Origin<'s> {
    /// It is copied.
    Source(&'s Source),
    /// It is made here.
    Made(Vec<u8>),
}

/// A bundle that was put together, but not written.
#[derive(Debug, Default)]
pub struct Contents<'s> {
    /// The blobs: documents first, then recipes, then packs; each once. A manifest comes before the
    /// index that lists it.
    pub parts: Vec<Part<'s>>,
    /// What the index lists: releases, or indexes of them.
    pub tops: Vec<Descriptor>,
    /// What says something about them.
    pub about: Vec<About>,
    /// The releases.
    pub(super) releases: Vec<Bundled>,
}

/// A release of a bundle.
#[derive(Debug)]
pub(super) struct Bundled {
    pub(super) digest: Digest,
    pub(super) version: String,
    pub(super) compatible: String,
    pub(super) architecture: String,
    pub(super) tag: Option<String>,
    /// How many manifests say something about it or about the index that leads to it.
    pub(super) signatures: usize,
    /// Its packs: digest, length, and whether it is there.
    pub(super) packs: Vec<(Digest, u64, bool)>,
}

impl<'s> Contents<'s> {
    /// Everything that an index lists.
    pub fn entries(&self) -> Vec<Descriptor> {
        let about = self.about.iter().map(|about| &about.entry);
        self.tops.iter().chain(about).cloned().collect()
    }

    /// Takes the tags away.
    pub fn untag(&mut self) {
        for top in &mut self.tops {
            top.annotations.remove(REF_NAME);
        }
    }

    /// Puts together what `releases` are made of, but for the packs that `needs` leaves out.
    pub(super) fn collect(
        releases: Vec<Release<'s>>,
        needs: Vec<Vec<bool>>,
        unsigned: Unsigned,
    ) -> Result<Self, BundleError> {
        let mut parts = Parts::default();
        let mut contents = Self::default();
        let mut signed = BTreeSet::new();
        let mut by_tag: BTreeMap<Option<String>, Vec<&Release<'s>>> = BTreeMap::new();
        for release in &releases {
            by_tag.entry(release.tag.clone()).or_default().push(release);
        }
        for (tag, group) in &by_tag {
            for mut entry in parts.tops(tag.as_deref(), group)? {
                if let Some(tag) = tag {
                    entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
                }
                contents.tops.push(entry);
            }
        }
        for (release, needed) in releases.iter().zip(needs) {
            let mut signatures = 0;
            let (source, found) = (&release.source.place, &release.found);
            let digest = found.descriptor.digest;
            let carried = found.indexes.iter().filter(|it| parts.has(it)).copied();
            let subjects: Vec<_> = carried.chain([digest]).collect();
            for subject in &subjects {
                for about in about(source, subject)? {
                    signatures += 1;
                    let Descriptor { digest, size, .. } = about.entry;
                    parts.document(source, digest, size, Some(media_type::MANIFEST));
                    for (digest, len) in &about.blobs {
                        parts.document(source, *digest, *len, None);
                    }
                    if signed.insert(digest) {
                        contents.about.push(about);
                    }
                }
            }
            if signatures == 0 && unsigned == Unsigned::Refuse {
                return Err(BundleError::Unsigned { name: release.source.name(), digest });
            }
            let packs = parts.release(release, &needed)?;
            contents.releases.push(Bundled {
                digest,
                version: release.version.clone(),
                compatible: release.compatible.clone(),
                architecture: release.architecture.clone(),
                tag: release.tag.clone(),
                signatures,
                packs,
            });
        }
        contents.parts = parts.in_order();
        Ok(contents)
    }
}

/// The blobs that were collected so far.
#[derive(Default)]
struct Parts<'s> {
    documents: Vec<Part<'s>>,
    recipes: Vec<Part<'s>>,
    packs: Vec<Part<'s>>,
    seen: BTreeSet<Digest>,
}

impl<'s> Parts<'s> {
    fn has(&self, digest: &Digest) -> bool {
        self.seen.contains(digest)
    }

    fn document(
        &mut self,
        source: &'s Source,
        digest: Digest,
        len: u64,
        document: Option<&'static str>,
    ) {
        if self.seen.insert(digest) {
            self.documents.push(Part { digest, len, document, from: Origin::Source(source) });
        }
    }

    fn in_order(self) -> Vec<Part<'s>> {
        [self.documents, self.recipes, self.packs].into_iter().flatten().collect()
    }

    /// What the index lists for the releases of one tag, and the indexes behind that.
    fn tops(
        &mut self,
        tag: Option<&str>,
        group: &[&Release<'s>],
    ) -> Result<Vec<Descriptor>, BundleError> {
        for release in group {
            let found = &release.found;
            let Descriptor { digest, size, .. } = found.descriptor;
            self.document(&release.source.place, digest, size, Some(media_type::MANIFEST));
        }
        if let Some(index) = self.carried_index(group)? {
            return Ok(vec![index]);
        }
        let entries: Vec<_> = group.iter().map(|release| entry(release)).collect();
        if tag.is_none() || entries.len() < 2 {
            return Ok(entries);
        }
        let index =
            json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
        let bytes = serde_json::to_vec(&index)?;
        let (digest, len) = (Digest::of(&bytes), bytes.len() as u64);
        if self.seen.insert(digest) {
            let document = Some(media_type::INDEX);
            self.documents.push(Part { digest, len, document, from: Origin::Made(bytes) });
        }
        Ok(vec![Descriptor::new(media_type::INDEX, digest, len)])
    }

    /// The index that leads to all of `group` in its source, if somebody signed it, or it lists nothing
    /// else: then it is carried as it is.
    fn carried_index(&mut self, group: &[&Release<'s>]) -> Result<Option<Descriptor>, BundleError> {
        let Some(first) = group.first() else { return Ok(None) };
        let (source, path) = (&first.source.place, &first.found.indexes);
        let Some(outermost) = path.first() else { return Ok(None) };
        let same =
            |it: &&Release<'_>| it.found.indexes == *path && std::ptr::eq(it.source, first.source);
        if !group.iter().all(same) {
            return Ok(None);
        }
        let mut is_signed = false;
        for index in path {
            is_signed |= !about(source, index)?.is_empty();
        }
        let read = |index: &Digest| source.document(index, INDEX_LEN_MAX);
        // It was read as an index a moment ago; one that is none any more lists nothing that we know.
        let count = |text: &[u8]| Index::parse(text).map_or(usize::MAX, |it| it.manifests.len());
        let is_whole = path.len() == 1 && count(&read(outermost)?) == group.len();
        if !is_signed && !is_whole {
            return Ok(None);
        }
        let mut top = None;
        // The innermost first: a registry wants what an index lists before the index.
        for index in path.iter().rev() {
            let len = read(index)?.len() as u64;
            self.document(source, *index, len, Some(media_type::INDEX));
            top = Some(Descriptor::new(media_type::INDEX, *index, len));
        }
        Ok(top)
    }

    /// What one release is made of.
    fn release(
        &mut self,
        release: &Release<'s>,
        needed: &[bool],
    ) -> Result<Vec<(Digest, u64, bool)>, BundleError> {
        let source = &release.source.place;
        let digest = release.found.descriptor.digest;
        let manifest = Manifest::parse(&release.found.manifest).map_err(|cause| {
            let name = release.source.name();
            BundleError::NotARelease { name, digest, why: cause.to_string() }
        })?;
        self.document(source, manifest.config.digest, manifest.config.len, None);
        let recipe = manifest.recipe;
        if self.seen.insert(recipe.digest) {
            let (digest, len) = (recipe.digest, recipe.len);
            self.recipes.push(Part { digest, len, document: None, from: Origin::Source(source) });
        }
        let mut packs = Vec::new();
        for (pack, &is_needed) in manifest.packs.iter().zip(needed) {
            let (digest, len) = (pack.digest, pack.len);
            if is_needed && self.seen.insert(digest) {
                self.packs.push(Part { digest, len, document: None, from: Origin::Source(source) });
            }
            packs.push((digest, len, is_needed));
        }
        Ok(packs)
    }
}

/// How an index lists a release.
fn entry(release: &Release<'_>) -> Descriptor {
    let found = &release.found.descriptor;
    let mut entry = Descriptor::new(media_type::MANIFEST, found.digest, found.size);
    entry.artifact_type = Some(gybe_core::manifest::RELEASE_TYPE.to_owned());
    entry.platform = Some(release.platform());
    entry
}
