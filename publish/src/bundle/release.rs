//! Which releases are meant, and which of their packs the devices need.

use gybe_core::digest::Digest;
use gybe_core::manifest::Manifest;
use gybe_image::base::Base;
use gybe_oci::{
    Descriptor, IMAGES_MAX, INDEX_LEN_MAX, Index, MANIFEST_LEN_MAX, Platform, Reference,
    RegistryReference, Repository, Resolved, SourceError,
};

use super::BundleError;

/// A source that was opened.
#[derive(Debug)]
pub struct Source {
    /// Where its blobs are.
    pub place: gybe_oci::Source,
    /// How it is spelt.
    pub reference: Reference,
}

/// A release that was found.
#[derive(Debug)]
pub(super) struct Release<'s> {
    pub(super) source: &'s Source,
    pub(super) found: Resolved,
    pub(super) compatible: String,
    pub(super) version: String,
    pub(super) architecture: String,
    /// The tag that it will have.
    pub(super) tag: Option<String>,
}

impl Release<'_> {
    pub(super) fn platform(&self) -> Platform {
        let told = self.found.descriptor.platform.clone();
        told.unwrap_or_else(|| Platform::linux(&self.architecture))
    }

    fn base(&self) -> Result<Base, BundleError> {
        let opened = Base::of(&self.source.place, &self.found);
        opened.map_err(|cause| BundleError::Release {
            name: self.source.name(),
            cause: Box::new(cause),
        })
    }
}

impl Source {
    pub(super) fn name(&self) -> String {
        self.reference.to_string()
    }

    /// The repository, if it is another one of the same registry.
    pub(super) fn beside<'s>(&'s self, other: &RegistryReference) -> Option<&'s str> {
        match &self.reference {
            Reference::Registry(registry)
                if registry.host == other.host && registry.repository != other.repository =>
            {
                Some(&registry.repository)
            }
            _ => None,
        }
    }

    fn releases(&self, tag: Option<&str>) -> Result<Vec<Release<'_>>, BundleError> {
        let found = match (&self.place, &self.reference) {
            (gybe_oci::Source::Registry(repository), Reference::Registry(reference)) => {
                in_registry(repository, reference)?
            }
            (gybe_oci::Source::Layout(layout), reference) => {
                let listed = layout.listed(super::tag_of(reference))?.into_iter();
                listed.map(|it| layout.read_listed(it)).collect::<Result<_, _>>()?
            }
            // A source is opened from its reference.
            (gybe_oci::Source::Registry(_), Reference::Layout(_)) => Vec::new(),
        };
        found.into_iter().map(|found| self.release(found, tag)).collect()
    }

    fn release(&self, found: Resolved, tag: Option<&str>) -> Result<Release<'_>, BundleError> {
        let digest = found.descriptor.digest;
        let manifest = Manifest::parse(&found.manifest).map_err(|cause| {
            BundleError::NotARelease { name: self.name(), digest, why: cause.to_string() }
        })?;
        let (compatible, version) = (manifest.compatible.to_owned(), manifest.version.to_owned());
        let architecture = manifest.architecture.to_owned();
        let outermost = found.indexes.first().copied().unwrap_or(digest);
        let listed = match &self.place {
            gybe_oci::Source::Layout(layout) => {
                layout.index().manifests.iter().find(|entry| entry.digest == outermost)
            }
            gybe_oci::Source::Registry(_) => None,
        };
        let tag = tag.or_else(|| super::tag_of(&self.reference)).or_else(|| listed?.ref_name());
        let tag = tag.map(str::to_owned);
        Ok(Release { source: self, found, compatible, version, architecture, tag })
    }
}

/// What a reference leads to in a registry: an image, or those of an index.
fn in_registry(
    repository: &Repository,
    reference: &RegistryReference,
) -> Result<Vec<Resolved>, BundleError> {
    let (wanted, digest) = (reference.wanted(), reference.digest.as_ref());
    let limit = INDEX_LEN_MAX.max(MANIFEST_LEN_MAX);
    let (kind, text) = repository.manifest(&wanted, digest, limit).map_err(SourceError::from)?;
    let top = Descriptor::new(&kind, Digest::of(&text), text.len() as u64);
    if !top.is_index() {
        let (descriptor, indexes) = (top, Vec::new());
        return Ok(vec![Resolved { descriptor, manifest: text, indexes, index: None }]);
    }
    let index = Index::parse(&text).map_err(|cause| BundleError::NotARelease {
        name: reference.to_string(),
        digest: top.digest,
        why: cause.to_string(),
    })?;
    let known = |entry: &Descriptor| {
        entry.is_manifest() && entry.platform.as_ref().is_none_or(|it| it.architecture != "unknown")
    };
    let mut found = Vec::new();
    for descriptor in index.manifests.into_iter().filter(known).take(IMAGES_MAX) {
        let digest = descriptor.digest;
        let manifest = repository.manifest(&digest.to_string(), Some(&digest), MANIFEST_LEN_MAX);
        let (_, manifest) = manifest.map_err(SourceError::from)?;
        let (indexes, index) = (vec![top.digest], Some(text.clone()));
        found.push(Resolved { descriptor, manifest, indexes, index });
    }
    Ok(found)
}

/// The releases of all sources for these architectures; for all, where none is named.
pub(super) fn find<'s>(
    sources: &'s [Source],
    architectures: &[String],
    tag: Option<&str>,
) -> Result<Vec<Release<'s>>, BundleError> {
    let mut all: Vec<Release<'s>> = Vec::new();
    for source in sources {
        let found = source.releases(tag)?;
        let there: Vec<_> = found.iter().map(|it| it.architecture.clone()).collect();
        let asked =
            |it: &Release<'_>| architectures.is_empty() || architectures.contains(&it.architecture);
        let found: Vec<_> = found.into_iter().filter(asked).collect();
        if found.is_empty() {
            let asked = if architectures.is_empty() {
                "any architecture".to_owned()
            } else {
                architectures.join(", ")
            };
            let (name, there) = (source.name(), there.join(", "));
            return Err(BundleError::NoArchitecture { name, asked, there });
        }
        for release in found {
            let digest = release.found.descriptor.digest;
            if all.iter().all(|it| it.found.descriptor.digest != digest || it.tag != release.tag) {
                all.push(release);
            }
        }
    }
    for (index, one) in all.iter().enumerate() {
        let same = |other: &&Release<'_>| {
            one.tag.is_some() && other.tag == one.tag && other.architecture == one.architecture
        };
        if all.iter().take(index).any(|other| same(&other)) {
            let (tag, architecture) =
                (one.tag.clone().unwrap_or_default(), one.architecture.clone());
            return Err(BundleError::SameTag { tag, architecture });
        }
    }
    Ok(all)
}

/// For each release, which of its packs a device needs that runs one of the bases; where no base is for
/// its kind of device, all that have something in them.
pub(super) fn needs(
    releases: &[Release<'_>],
    bases: &[Source],
) -> Result<Vec<Vec<bool>>, BundleError> {
    let mut opened = Vec::new();
    for source in bases {
        let mut fits = false;
        for base in source.releases(None)? {
            let of = |release: &Release<'_>| {
                release.architecture == base.architecture && release.compatible == base.compatible
            };
            if releases.iter().any(of) {
                fits = true;
                opened.push(base.base()?);
            }
        }
        if !fits {
            return Err(BundleError::OtherBase { name: source.name() });
        }
    }
    let needs = releases.iter().map(|release| {
        let running: Vec<_> = opened
            .iter()
            .filter(|it| {
                it.architecture == release.architecture && it.compatible == release.compatible
            })
            .collect();
        Ok(release.base()?.needed_packs(&running))
    });
    needs.collect()
}
