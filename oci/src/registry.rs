//! Releases in a registry: a thin client for what a device asks of one.
//!
//! A [`Repository`] is one repository at one registry and its mirrors. Everything that is asked of
//! it goes through [`client`]: one thread waits for one answer, with limits on time and bytes, and
//! nothing that comes is believed. Where an answer leads away from the registry, to a store or to
//! who gives out tokens, credentials do not follow.
//!
//! ```text
//! repository ── documents: tags, indexes, manifests, what may be signatures
//!     │     ├── push: what is sent to it
//!     │     └── body: parts of blobs, resumed where they broke
//! exchange ──── one request: endpoints, challenge, redirects, waiting and trying again
//!     │     ├── token, challenge, credentials: who we are, and whom that is told
//!     │     └── backoff: when to try again
//! client ────── runtime, TLS of each host, budget and counters
//! ```
//!
//! Source: OCI distribution specification 1.1; RFC 9110 for everything about HTTP.

mod access;
mod backoff;
mod body;
mod certificates;
mod challenge;
mod client;
mod configuration;
mod credentials;
mod documents;
mod endpoint;
mod error;
mod exchange;
mod post;
mod push;
mod range;
mod repository;
mod token;

pub use access::{Access, Limits};
pub(crate) use body::Body;
pub(crate) use client::Client;
pub use client::Traffic;
pub use configuration::ConfigurationError;
pub use credentials::CredentialsError;
pub use error::RegistryError;
pub use exchange::{Answer, Ask, Scope, Target};
pub use post::post_json;
pub use push::{Lists, PushError, ReadAt, Sent};
pub use repository::{Parts, Repository};
