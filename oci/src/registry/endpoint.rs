//! One place that may have a repository.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Url;

use super::certificates::Belief;
use super::configuration::{Location, PullFrom};
use super::error::RegistryError;

/// Docker Hub answers under another name than the one it is called by.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A registry or mirror, and the repository there.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Host, port and repository, as credentials are looked up.
    pub(super) name: String,
    /// The host that is connected to, with the port if it is another than usual.
    pub(super) host: String,
    /// The repository.
    pub(super) repository: String,
    /// What it is asked for.
    pub(super) pull_from: PullFrom,
    is_insecure: bool,
    /// Whether it turned out to speak no TLS.
    is_plain: AtomicBool,
}

impl Endpoint {
    /// The place that the configuration names, if it has a repository.
    pub(super) fn new(location: Location) -> Option<Self> {
        let Location { name, is_insecure, pull_from } = location;
        let (host, repository) = name.split_once('/')?;
        let (called, answers) = DOCKER_HUB;
        let host = if host == called { answers } else { host }.to_owned();
        let repository = repository.to_owned();
        let is_plain = AtomicBool::new(false);
        Some(Self { name, host, repository, pull_from, is_insecure, is_plain })
    }

    /// The address of what lies below the repository.
    pub(super) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let scheme = if self.is_plain.load(Ordering::Relaxed) { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{}/{path}", self.host, self.repository);
        Url::parse(&text).map_err(|cause| RegistryError::Setup { why: cause.to_string() })
    }

    /// What is asked of the certificate of `host`.
    pub(super) fn belief(&self, host: &str) -> Belief {
        if self.is_insecure && host == self.host { Belief::None } else { Belief::Asked }
    }

    /// Whether tokens may come to it without TLS.
    pub(super) const fn is_insecure(&self) -> bool {
        self.is_insecure
    }

    /// Turns to plain HTTP, where the configuration allows it and that is new.
    pub(super) fn turn_plain(&self) -> bool {
        self.is_insecure && !self.is_plain.swap(true, Ordering::Relaxed)
    }

    /// Whether it is asked for what is named this way.
    pub(super) const fn is_asked(&self, named: Named) -> bool {
        match (self.pull_from, named) {
            (PullFrom::All, _) => true,
            (PullFrom::DigestOnly, named) => matches!(named, Named::ByDigest),
            (PullFrom::TagOnly, named) => matches!(named, Named::ByTag),
        }
    }
}

/// How something is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By its digest: whoever has it has the right one.
    ByDigest,
    /// By a tag, which may lead anywhere.
    ByTag,
}

/// The host of an address as it stands in configurations: with the port if it is another than usual.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
