//! What decides about a release, as a registry keeps it: tags, indexes, manifests, and what may be
//! signatures.
//!
//! Source: OCI distribution specification 1.1, "Pulling manifests", "Listing Referrers" and
//! "Unavailable Referrers API"; cosign's `SIGNATURE_SPEC.md` for the tag that ends in `.sig`.

use std::collections::BTreeSet;

use gybe_core::digest::Digest;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, LINK};
use tracing::debug;

use super::error::RegistryError;
use super::exchange::{Ask, Target};
use super::repository::Repository;
use crate::layout::Problem;
use crate::manifest::{
    DESCRIPTORS_MAX, Descriptor, INDEX_LEN_MAX, Index, Manifest, Platform, media_type,
};
use crate::reference::RegistryReference;
use crate::resolve::{DEPTH_MAX, Resolved, choose, images_of};
use crate::signatures::{Candidate, SIGNATURE_CANDIDATES_MAX, SIGNATURE_MANIFEST_LEN_MAX};

/// The documents that are understood.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// Most pages of a list of referrers.
const PAGES_MAX: usize = 8;
/// Types that artifacts with signatures have. Some tools write the type of nothing in particular.
const SIGNATURE_TYPES: [&str; 4] = [
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.cosign.artifact.sig.v1+json",
    "application/vnd.oci.empty.v1+json",
];

/// What a list had, as little of it as is needed: a hostile one is long.
#[derive(Debug, Default)]
struct Listed {
    /// How many entries there were.
    count: usize,
    /// The digests of those that may be wanted, in order.
    wanted: Vec<Digest>,
}

impl Listed {
    fn add(&mut self, entries: Vec<Descriptor>, is_wanted: &impl Fn(&str) -> bool) {
        self.count = self.count.saturating_add(entries.len());
        // Some tools say nothing of the type.
        let may_be = |it: &Descriptor| it.artifact_type.as_deref().is_none_or(is_wanted);
        self.wanted.extend(entries.iter().filter(|it| may_be(it)).map(|it| it.digest));
    }
}

impl Repository {
    /// Finds the manifest that `reference` means on `platform`.
    ///
    /// # Errors
    /// Nothing fits, several do, or it cannot be had.
    pub(crate) fn resolve(
        &self,
        reference: &RegistryReference,
        platform: Option<&Platform>,
    ) -> Result<Resolved, RegistryError> {
        let problem = |problem| RegistryError::Resolve {
            reference: reference.to_string(),
            problem: Box::new(problem),
        };
        let wanted = reference.wanted();
        // What may lie behind a tag is not known before: no manifest that is of use is longer.
        let limit = INDEX_LEN_MAX;
        let (kind, mut text) = self.manifest(&wanted, reference.digest.as_ref(), limit)?;
        let mut descriptor = Descriptor::new(&kind, Digest::of(&text), text.len() as u64);
        let (mut indexes, mut nearest) = (Vec::new(), None);
        while descriptor.is_index() {
            if indexes.len() >= DEPTH_MAX {
                let (digest, limit) = (descriptor.digest, DEPTH_MAX);
                return Err(problem(Problem::Depth { digest, limit }));
            }
            indexes.push(descriptor.digest);
            let what = descriptor.digest.to_string();
            let index =
                Index::parse(&text).map_err(|cause| problem(Problem::Json { what, cause }))?;
            let entries = images_of(&index.manifests);
            descriptor = choose(&entries, platform).map_err(problem)?.clone();
            let (limit, digest) = (limit.min(descriptor.size), descriptor.digest);
            nearest = Some(text);
            (_, text) = self.manifest(&digest.to_string(), Some(&digest), limit)?;
            if text.len() as u64 != descriptor.size {
                let (found, expected) = (text.len() as u64, descriptor.size);
                return Err(problem(Problem::Len { digest, found, expected }));
            }
        }
        if !descriptor.is_manifest() {
            let Descriptor { digest, media_type, .. } = descriptor;
            return Err(problem(Problem::MediaType { digest, media_type }));
        }
        Ok(Resolved { descriptor, manifest: text, indexes, index: nearest })
    }

    /// The parts of the image that `resolved` is.
    pub(crate) fn parts_of(&self, resolved: &Resolved) -> Result<Manifest, RegistryError> {
        Manifest::parse(&resolved.manifest).map_err(|cause| {
            let what = resolved.descriptor.digest.to_string();
            let problem = Box::new(Problem::Json { what, cause });
            RegistryError::Resolve { reference: self.name().to_owned(), problem }
        })
    }

    /// A manifest or an index, and which of them it says that it is.
    ///
    /// # Errors
    /// It cannot be had, is longer than `limit`, or is another than `digest` names.
    pub fn manifest(
        &self,
        name: &str,
        digest: Option<&Digest>,
        limit: u64,
    ) -> Result<(String, Vec<u8>), RegistryError> {
        let mut ask = Ask::get(format!("manifests/{name}"), format!("manifest {name}"));
        ask.accept = Some(ACCEPT);
        let (header, text) = self.0.document_and(&ask, limit, digest, content_type)?;
        Ok((kind(header, &text), text))
    }

    /// Manifests that may be those of signatures over `subject`, at most
    /// [`SIGNATURE_CANDIDATES_MAX`]. What is damaged, missing or too long is passed over: a
    /// signature that cannot be read is one that is not there.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub(crate) fn signature_candidates(
        &self,
        subject: &Digest,
    ) -> Result<Vec<Candidate>, RegistryError> {
        self.candidates(subject, |kind| SIGNATURE_TYPES.contains(&kind))
    }

    /// The same, of whatever type: what is carried along.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub(crate) fn about(&self, subject: &Digest) -> Result<Vec<Candidate>, RegistryError> {
        self.candidates(subject, |_| true)
    }

    fn candidates(
        &self,
        subject: &Digest,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Candidate>, RegistryError> {
        let mut seen = BTreeSet::from([*subject]);
        let mut all = Vec::new();
        let hex = subject.hex();
        let mut listed = self.referrers(subject, &is_wanted)?;
        if listed.count == 0 {
            let (entries, manifest) = self.fallback(&format!("sha256-{hex}"))?;
            listed.add(entries, &is_wanted);
            all.extend(manifest.filter(|it| may_sign(it, subject)));
        }
        for digest in listed.wanted {
            if all.len() >= SIGNATURE_CANDIDATES_MAX {
                break;
            }
            if !seen.insert(digest) {
                continue;
            }
            if let Some(found) = self.candidate(&digest)?.filter(|it| may_sign(it, subject)) {
                all.push(found);
            }
        }
        // cosign's older format lies under a tag of its own.
        if all.len() < SIGNATURE_CANDIDATES_MAX {
            let (_, manifest) = self.fallback(&format!("sha256-{hex}.sig"))?;
            let manifest = manifest.filter(|it| may_sign(it, subject));
            all.extend(manifest.filter(|it| seen.insert(it.digest)));
        }
        Ok(all)
    }

    /// What the registry lists as being about `subject`; nothing if it keeps no such lists.
    fn referrers(
        &self,
        subject: &Digest,
        is_wanted: &impl Fn(&str) -> bool,
    ) -> Result<Listed, RegistryError> {
        let what = format!("referrers of {subject}");
        let mut ask = Ask::get(format!("referrers/{subject}"), what);
        ask.accept = Some(media_type::INDEX);
        let mut listed = Listed::default();
        for _ in 0..PAGES_MAX {
            let look = |response: &Response| (content_type(response), link(response));
            let page = self.0.document_and(&ask, INDEX_LEN_MAX, None, look);
            let ((_, next), text) = match page {
                Ok(page) => page,
                // A registry without the API may say so in more ways than one.
                Err(cause) if is_absent(&cause) || too_long(&cause) => {
                    debug!(%cause, "no referrers");
                    return Ok(listed);
                }
                Err(cause) => return Err(cause),
            };
            // Some answer with a page for people.
            let Ok(index) = Index::parse(&text) else { return Ok(listed) };
            listed.add(index.manifests, is_wanted);
            match next {
                Some(next) if listed.count < DESCRIPTORS_MAX => ask.target = next,
                _ => break,
            }
        }
        Ok(listed)
    }

    /// What a tag leads to that stands for a list: the entries of an index, or a manifest.
    fn fallback(&self, tag: &str) -> Result<(Vec<Descriptor>, Option<Candidate>), RegistryError> {
        let (kind, text) = match self.manifest(tag, None, INDEX_LEN_MAX) {
            Ok(found) => found,
            Err(cause) if is_absent(&cause) || too_long(&cause) => return Ok(Default::default()),
            Err(cause) => return Err(cause),
        };
        if Descriptor::new(&kind, Digest::new([0; 32]), 0).is_index() {
            let entries = Index::parse(&text).map(|index| index.manifests).unwrap_or_default();
            return Ok((entries, None));
        }
        let is_short = text.len() as u64 <= SIGNATURE_MANIFEST_LEN_MAX;
        let digest = Digest::of(&text);
        Ok((Vec::new(), is_short.then_some(Candidate { digest, manifest: text })))
    }

    fn candidate(&self, digest: &Digest) -> Result<Option<Candidate>, RegistryError> {
        let found = self.manifest(&digest.to_string(), Some(digest), SIGNATURE_MANIFEST_LEN_MAX);
        match found {
            Ok((_, manifest)) => Ok(Some(Candidate { digest: *digest, manifest })),
            Err(cause) if is_unusable(&cause) => {
                debug!(%cause, "signature passed over");
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }

    /// A blob that belongs to a signature; `None`, if it is damaged, missing or too long.
    pub(crate) fn small_blob(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        match self.read_blob(digest, limit) {
            Ok(blob) => Ok(Some(blob)),
            Err(cause) if is_unusable(&cause) => {
                debug!(%cause, "signature passed over");
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }
}

fn may_sign(candidate: &Candidate, subject: &Digest) -> bool {
    Manifest::parse(&candidate.manifest).is_ok_and(|manifest| manifest.may_sign(subject))
}

/// Whether an answer says that there is nothing of the kind.
const fn is_absent(cause: &RegistryError) -> bool {
    matches!(
        cause,
        RegistryError::NotFound { .. }
            | RegistryError::Status { status: 400 | 405 | 406 | 501, .. }
    )
}

const fn too_long(cause: &RegistryError) -> bool {
    matches!(cause, RegistryError::TooLong { .. })
}

const fn is_unusable(cause: &RegistryError) -> bool {
    is_absent(cause) || too_long(cause) || matches!(cause, RegistryError::Digest { .. })
}

fn content_type(response: &Response) -> Option<String> {
    let value = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim().to_owned())
}

/// What a document is: what it says itself, or else what the registry says.
fn kind(header: Option<String>, text: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        #[serde(default)]
        media_type: Option<String>,
    }
    let own = serde_json::from_slice::<Kind>(text).ok().and_then(|kind| kind.media_type);
    own.or(header).unwrap_or_default()
}

/// Where the list goes on: `Link: </v2/…>; rel="next"`. Only a way on the same registry is taken.
fn link(response: &Response) -> Option<Target> {
    let text = response.headers().get(LINK)?.to_str().ok()?;
    let (address, rest) = text.trim().strip_prefix('<')?.split_once('>')?;
    if !rest.contains("rel=\"next\"") && !rest.contains("rel=next") {
        return None;
    }
    let next = response.url().join(address).ok()?;
    (next.origin() == response.url().origin()).then_some(Target::Url(next))
}
