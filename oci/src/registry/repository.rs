//! One repository, wherever it can be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use gybe_core::digest::Digest;
use reqwest::Response;
use tracing::debug;

use super::client::{Client, Traffic};
use super::endpoint::{Endpoint, Named};
use super::error::RegistryError;
use super::exchange::{Answer, Ask};
use crate::reference::RegistryReference;

/// How often a place is tried that is not the last one.
const TRIES_BEFORE_THE_LAST: u32 = 2;

/// A repository at a registry and its mirrors.
#[derive(Clone, Debug)]
pub struct Repository(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) client: Arc<Client>,
    /// What it is called in messages.
    name: String,
    /// Mirrors first.
    pub(super) endpoints: Vec<Endpoint>,
    /// The place that answered last: it is asked first.
    last: AtomicUsize,
    /// How the last part of a blob was given: see [`Parts`].
    parts: AtomicU8,
    /// How many requests more than one that took, and how many bytes of answers on the way.
    detour_requests: AtomicU64,
    pub(super) detour_bytes: AtomicU64,
}

/// Whether a registry gives parts of blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Not known yet.
    Unknown,
    /// It does.
    Given,
    /// It gives whole blobs only.
    WholeOnly,
}

impl Repository {
    pub(crate) fn new(
        client: &Arc<Client>,
        reference: &RegistryReference,
    ) -> Result<Self, RegistryError> {
        let name = reference.name();
        let blocked = || RegistryError::Blocked { name: name.clone() };
        let locations = client.registries.locations(&name).ok_or_else(blocked)?;
        let endpoints = locations.into_iter().filter_map(Endpoint::new).collect();
        let client = Arc::clone(client);
        Ok(Self(Arc::new(Inner {
            client,
            name,
            endpoints,
            last: AtomicUsize::new(0),
            parts: AtomicU8::new(0),
            detour_requests: AtomicU64::new(0),
            detour_bytes: AtomicU64::new(0),
        })))
    }

    /// What it is called in messages: host and repository.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What was sent and received until now, by everything that shares its client.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.client.traffic()
    }

    /// How many bytes may be received until the budget is used up.
    #[must_use]
    pub fn budget_left(&self) -> Option<u64> {
        Some(self.0.client.access.max_bytes?.saturating_sub(self.traffic().bytes))
    }

    /// Whether it gives parts of blobs, as far as it was asked for one.
    #[must_use]
    pub fn parts(&self) -> Parts {
        match self.0.parts.load(Ordering::Relaxed) {
            0 => Parts::Unknown,
            1 => Parts::Given,
            _ => Parts::WholeOnly,
        }
    }

    /// How many requests, and how many bytes of their answers, come on top of each part of a blob:
    /// those that lead to the store where it lies. As it was for the last part.
    #[must_use]
    pub fn detour(&self) -> (u64, u64) {
        let Inner { detour_requests, detour_bytes, .. } = &*self.0;
        (detour_requests.load(Ordering::Relaxed), detour_bytes.load(Ordering::Relaxed))
    }

    /// Sends a request to the registry itself, not to a mirror, and waits for its answer to begin.
    ///
    /// # Errors
    /// [`RegistryError`]; what may pass was tried again.
    pub fn ask(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let client = &self.0.client;
        let Some(registry) = self.0.endpoints.last() else { return Err(self.0.nowhere()) };
        client.wait(client.exchange(registry, ask, client.access.limits.tries))
    }

    /// The body of an answer, at most `limit` bytes.
    ///
    /// # Errors
    /// It is longer, or the connection breaks.
    pub fn body(&self, answer: Answer, what: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let client = &self.0.client;
        client.wait(client.body(&answer.host, answer.response, what, limit))
    }

    /// All bytes of a blob of at most `limit` bytes, whose digest is right.
    ///
    /// # Errors
    /// It cannot be had, is longer, or is another.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let ask = Ask::get(format!("blobs/{digest}"), digest.to_string());
        self.0.document(&ask, limit, Some(digest))
    }
}

impl Inner {
    /// A small document; with a digest, only the one whose bytes have it.
    pub(super) fn document(
        &self,
        ask: &Ask<'_>,
        limit: u64,
        digest: Option<&Digest>,
    ) -> Result<Vec<u8>, RegistryError> {
        self.document_and(ask, limit, digest, |_| ()).map(|((), body)| body)
    }

    /// As [`Inner::document`], and what `look` sees in the answer before its body is read.
    pub(super) fn document_and<T>(
        &self,
        ask: &Ask<'_>,
        limit: u64,
        digest: Option<&Digest>,
        look: impl Fn(&Response) -> T,
    ) -> Result<(T, Vec<u8>), RegistryError> {
        let named = if digest.is_some() { Named::ByDigest } else { Named::ByTag };
        let read = async |endpoint: &Endpoint, tries: u32| {
            let mut failures = 0;
            loop {
                let Answer { response, host, .. } =
                    self.client.exchange(endpoint, ask, tries).await?;
                let seen = look(&response);
                match self.client.body(&host, response, &ask.what, limit).await {
                    Ok(body) => return Ok((seen, check(host, body, digest)?)),
                    Err(cause) => self.client.or_pause(cause, &mut failures, tries).await?,
                }
            }
        };
        self.client.wait(self.somewhere(named, read))
    }

    /// Does something at the first place where it can be done: at the one that answered last, then
    /// at the mirrors in order, then at the registry.
    pub(super) async fn somewhere<T>(
        &self,
        named: Named,
        what: impl AsyncFn(&Endpoint, u32) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let last = self.last.load(Ordering::Relaxed);
        let others = (0..self.endpoints.len()).filter(|&it| it != last);
        let places: Vec<_> = std::iter::once(last)
            .chain(others)
            .filter_map(|number| Some((number, self.endpoints.get(number)?)))
            .filter(|(_, endpoint)| endpoint.is_asked(named))
            .collect();
        let mut error = self.nowhere();
        for (at, (number, endpoint)) in places.iter().enumerate() {
            let is_last = at + 1 == places.len();
            let all = self.client.access.limits.tries;
            let tries = if is_last { all } else { TRIES_BEFORE_THE_LAST.min(all) };
            match what(endpoint, tries).await {
                Ok(done) => {
                    self.last.store(*number, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(cause) if cause.is_of_the_place() && !is_last => {
                    debug!(%cause, "asking another place");
                    error = cause;
                }
                Err(cause) => return Err(cause),
            }
        }
        Err(error)
    }

    pub(super) fn learn(&self, parts: Parts, requests: u32, bytes: u64) {
        let number = match parts {
            Parts::Unknown => 0,
            Parts::Given => 1,
            Parts::WholeOnly => 2,
        };
        self.parts.store(number, Ordering::Relaxed);
        self.detour_requests.store(u64::from(requests), Ordering::Relaxed);
        self.detour_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What is said when the configuration leaves no place to ask.
    pub(super) fn nowhere(&self) -> RegistryError {
        RegistryError::NotFound { host: self.name.clone(), what: "place to ask".to_owned() }
    }
}

fn check(host: String, body: Vec<u8>, digest: Option<&Digest>) -> Result<Vec<u8>, RegistryError> {
    let Some(digest) = digest else { return Ok(body) };
    let found = Digest::of(&body);
    if found == *digest {
        return Ok(body);
    }
    Err(RegistryError::Digest { host, digest: *digest, found })
}
