//! Which releases are meant, and which of their packs the devices need.

use gybe_core::manifest::Manifest;
use gybe_image::base::Base;
use gybe_oci::{Layout, LayoutReference, Platform, Resolved};

use super::BundleError;

/// A source that was opened.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) layout: Layout,
    pub(super) reference: LayoutReference,
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
        let opened = Base::of(&self.source.layout, &self.found);
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

    fn releases(&self, tag: Option<&str>) -> Result<Vec<Release<'_>>, BundleError> {
        let listed = self.layout.listed(self.reference.tag.as_deref())?;
        listed.into_iter().map(|it| self.release(self.layout.read_listed(it)?, tag)).collect()
    }

    fn release(&self, found: Resolved, tag: Option<&str>) -> Result<Release<'_>, BundleError> {
        let digest = found.descriptor.digest;
        let manifest = Manifest::parse(&found.manifest).map_err(|cause| {
            BundleError::NotARelease { name: self.name(), digest, why: cause.to_string() }
        })?;
        let (compatible, version) = (manifest.compatible.to_owned(), manifest.version.to_owned());
        let architecture = manifest.architecture.to_owned();
        let outermost = found.indexes.first().copied().unwrap_or(digest);
        let entries = &self.layout.index().manifests;
        let listed = entries.iter().find(|entry| entry.digest == outermost);
        let tag = tag.or(self.reference.tag.as_deref()).or_else(|| listed?.ref_name());
        let tag = tag.map(str::to_owned);
        Ok(Release { source: self, found, compatible, version, architecture, tag })
    }
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
