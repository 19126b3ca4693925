//! Writing to a repository: what is there is not sent, and what broke goes on where it stopped.
//!
//! ```text
//! POST uploads/ ──▶ PATCH … PATCH ──▶ PUT ?digest=      a long blob, piece by piece
//!                      ▲       │ broke
//!                      └─ GET ─┘ how far did it come?
//! ```
//!
//! Order is the caller's: blobs before the manifest that names them, the manifest before its tag. So
//! whatever moment this ends at, no tag leads to something that is not whole.
//!
//! Source: OCI distribution specification 1.1, "Push" and "Pushing Manifests with Subject".

use std::io;

use bytes::Bytes;
use gybe_core::digest::Digest;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, LOCATION, RANGE};
use reqwest::{Body, Method, StatusCode, Url};
use tracing::debug;

use super::endpoint::host_of;
use super::error::RegistryError;
use super::exchange::{Answer, Ask, Scope, Target};
use super::repository::Repository;
use crate::manifest::INDEX_LEN_MAX;

/// How much is sent at once: little enough that a slow link sends it before the registry is taken for
/// one that does not answer.
const PIECE_LEN: u64 = 4 << 20;
/// The most that is sent at once, where a registry wants longer pieces.
const PIECE_LEN_MAX: u64 = 64 << 20;
/// The longest body of an answer that says only that something was done.
const WORDS_LEN_MAX: u64 = 64 << 10;
/// What blobs are sent as.
const BLOB_TYPE: &str = "application/octet-stream";
/// The header by which a registry says that it keeps a list of what is about a subject.
const SUBJECT: &str = "oci-subject";
/// The header by which a registry says how long pieces must be.
const PIECE_LEN_MIN: &str = "oci-chunk-min-length";

/// Reads a blob at any place, again if need be.
pub type ReadAt<'r> = dyn FnMut(u64, &mut [u8]) -> io::Result<()> + 'r;

/// How a blob came into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    There,
    /// The registry took it from another repository of its own.
    Mounted,
    /// Its bytes were sent.
    Whole,
}

/// Whether a registry lists manifests by their subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// It does.
    Subjects,
    /// It says nothing of the kind: a tag must stand in.
    Nothing,
}

/// An upload that was begun.
#[derive(Debug)]
struct Upload {
    /// Where it goes on.
    url: Url,
    /// How much is there.
    at: u64,
    piece_len: u64,
}

impl Repository {
    /// Brings a blob of `len` bytes into the repository; `from` is another repository of the same
    /// registry that has it.
    ///
    /// # Errors
    /// [`PushError`]; what was sent of it is forgotten by the registry after a while.
    pub fn push_blob(
        &self,
        digest: &Digest,
        len: u64,
        from: Option<&str>,
        read: &mut ReadAt<'_>,
    ) -> Result<Sent, PushError> {
        if self.has(&format!("blobs/{digest}"), digest.to_string(), Some(len))? {
            return Ok(Sent::There);
        }
        let upload = match self.begin(digest, from)? {
            Begun::Mounted => return Ok(Sent::Mounted),
            Begun::Upload(upload) => upload,
        };
        self.send(digest, len, upload, read)?;
        Ok(Sent::Whole)
    }

    /// Whether the repository has this manifest.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool, RegistryError> {
        self.has(&format!("manifests/{digest}"), format!("manifest {digest}"), None)
    }

    /// Writes a manifest or an index under `name`: a tag, or its digest.
    ///
    /// # Errors
    /// [`RegistryError`]; the name leads to what it led to before.
    pub fn push_manifest(
        &self,
        name: &str,
        kind: &str,
        text: &[u8],
    ) -> Result<Lists, RegistryError> {
        let bytes = Bytes::copy_from_slice(text);
        let body = || Body::from(bytes.clone());
        let what = format!("manifest {name}");
        let mut ask = writing(Method::PUT, Target::Path(format!("manifests/{name}")), what);
        ask.body = Some((kind, &body));
        let answer = self.ask(&ask)?;
        let lists = answer.response.headers().contains_key(SUBJECT);
        self.done(answer, &ask.what)?;
        Ok(if lists { Lists::Subjects } else { Lists::Nothing })
    }

    /// What a tag leads to, if there is such a tag: its type and its bytes.
    ///
    /// # Errors
    /// The registry cannot be asked, or what it has is too long.
    pub fn tagged(&self, tag: &str) -> Result<Option<(String, Vec<u8>)>, RegistryError> {
        match self.manifest(tag, None, INDEX_LEN_MAX) {
            Ok(found) => Ok(Some(found)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Sends a request to the registry itself, once: what is sent may be half there afterwards.
    fn ask_once(&self, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let client = &self.0.client;
        let Some(registry) = self.0.endpoints.last() else { return Err(self.0.nowhere()) };
        client.wait(client.exchange(registry, ask, 1))
    }

    /// Waits because of `cause`, if it was not tried too often.
    fn pause(&self, cause: RegistryError, failures: &mut u32) -> Result<(), RegistryError> {
        let client = &self.0.client;
        let tries = client.access.limits.tries;
        if cause.may_pass() {
            return client.wait(client.or_pause(cause, failures, tries));
        }
        // It has a reason of its own, which waiting does not change; asking how far it came may.
        *failures = failures.saturating_add(1);
        if *failures >= tries { Err(cause) } else { Ok(()) }
    }

    /// Reads what is left of an answer of which only the head matters.
    fn done(&self, answer: Answer, what: &str) -> Result<(), RegistryError> {
        self.body(answer, what, WORDS_LEN_MAX).map(drop)
    }

    fn has(&self, path: &str, what: String, len: Option<u64>) -> Result<bool, RegistryError> {
        let mut ask = writing(Method::HEAD, Target::Path(path.to_owned()), what);
        ask.accept = len.is_none().then_some(super::documents::ACCEPT);
        match self.ask(&ask) {
            Ok(answer) => {
                let found = number(answer.response.headers(), CONTENT_LENGTH.as_str());
                Ok(found.is_none() || len.is_none() || found == len)
            }
            Err(RegistryError::NotFound { .. }) => Ok(false),
            // It led to a store, which does not answer such questions: so it is there.
            Err(RegistryError::Expired { .. }) => Ok(true),
            Err(cause) => Err(cause),
        }
    }

    fn begin(&self, digest: &Digest, from: Option<&str>) -> Result<Begun, PushError> {
        let path = match from {
            Some(from) => format!("blobs/uploads/?mount={digest}&from={from}"),
            None => "blobs/uploads/".to_owned(),
        };
        let none = || Body::from(Bytes::new());
        let mut ask = writing(Method::POST, Target::Path(path), digest.to_string());
        ask.body = Some((BLOB_TYPE, &none));
        let answer = self.ask(&ask)?;
        if answer.response.status() == StatusCode::CREATED {
            self.done(answer, &ask.what)?;
            return Ok(Begun::Mounted);
        }
        let least = number(answer.response.headers(), PIECE_LEN_MIN).unwrap_or(0);
        let url = self.location(&answer, None)?;
        self.done(answer, &ask.what)?;
        let piece_len = PIECE_LEN.max(least.min(PIECE_LEN_MAX));
        Ok(Begun::Upload(Upload { url, at: 0, piece_len }))
    }

    /// Sends what is missing of a blob, and goes on where it broke.
    fn send(
        &self,
        digest: &Digest,
        len: u64,
        mut upload: Upload,
        read: &mut ReadAt<'_>,
    ) -> Result<(), PushError> {
        let mut failures = 0;
        loop {
            let before = upload.at;
            let done = self.piece(digest, len, &mut upload, read);
            let cause = match done {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    failures = if upload.at > before { 0 } else { failures };
                    continue;
                }
                Err(PushError::Registry(cause)) if goes_on(&cause) => cause,
                Err(cause) => return Err(cause),
            };
            debug!(%cause, %digest, at = upload.at, "upload broke");
            self.pause(cause, &mut failures)?;
            // The last answer may have been lost, and all be there.
            if self.has(&format!("blobs/{digest}"), digest.to_string(), Some(len))? {
                return Ok(());
            }
            if let Some((url, at)) = self.how_far(digest, &upload.url)? {
                (upload.url, upload.at) = (url, at.min(len));
            } else {
                match self.begin(digest, None)? {
                    Begun::Mounted => return Ok(()),
                    Begun::Upload(anew) => upload = anew,
                }
            }
        }
    }

    /// Sends the next piece, and the end with the last one that fits. Says whether that was all.
    fn piece(
        &self,
        digest: &Digest,
        len: u64,
        upload: &mut Upload,
        read: &mut ReadAt<'_>,
    ) -> Result<bool, PushError> {
        let left = len.saturating_sub(upload.at);
        let is_short = len <= upload.piece_len;
        let count = if is_short { left } else { left.min(upload.piece_len) };
        let mut buffer = vec![0; usize::try_from(count).unwrap_or(0)];
        read(upload.at, &mut buffer)
            .map_err(|cause| PushError::Source { digest: *digest, cause })?;
        let bytes = Bytes::from(buffer);
        let body = || Body::from(bytes.clone());
        let is_last = is_short || left == 0;
        let mut url = upload.url.clone();
        let method = if is_last {
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
            Method::PUT
        } else {
            Method::PATCH
        };
        let mut ask = writing(method, Target::Url(url), digest.to_string());
        ask.body = Some((BLOB_TYPE, &body));
        if !is_last {
            // Without the unit, as the specification has it.
            let end = upload.at.saturating_add(count).saturating_sub(1);
            ask.content_range = Some(format!("{}-{end}", upload.at));
        }
        let answer = self.ask_once(&ask)?;
        if is_last {
            self.done(answer, &ask.what)?;
            return Ok(true);
        }
        let told = end_of(answer.response.headers());
        upload.url = self.location(&answer, Some(&upload.url))?;
        upload.at = told.unwrap_or(upload.at.saturating_add(count)).min(len);
        self.done(answer, &ask.what)?;
        Ok(false)
    }

    /// Where an upload goes on and how much of it is there; `None`, if the registry forgot it.
    fn how_far(&self, digest: &Digest, url: &Url) -> Result<Option<(Url, u64)>, RegistryError> {
        let ask = writing(Method::GET, Target::Url(url.clone()), digest.to_string());
        match self.ask(&ask) {
            Ok(answer) => {
                let at = end_of(answer.response.headers()).unwrap_or(0);
                let url = self.location(&answer, Some(url))?;
                self.done(answer, &ask.what)?;
                Ok(Some((url, at)))
            }
            Err(RegistryError::NotFound { .. } | RegistryError::Status { .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Where an answer says that an upload goes on: never where anybody could listen.
    fn location(&self, answer: &Answer, before: Option<&Url>) -> Result<Url, RegistryError> {
        let wrong = |why: &'static str| RegistryError::Redirect {
            host: answer.host.clone(),
            to: "nowhere".to_owned(),
            why,
        };
        let Some(location) = answer.response.headers().get(LOCATION) else {
            return before.cloned().ok_or_else(|| wrong("without a location"));
        };
        let location = location.to_str().map_err(|_| wrong("with no address"))?;
        let from = answer.response.url();
        let to = from.join(location).map_err(|_| wrong("with no address"))?;
        match (from.scheme(), to.scheme()) {
            ("https" | "http", "https") | ("http", "http") => Ok(to),
            _ => {
                let (host, to) = (answer.host.clone(), host_of(&to));
                Err(RegistryError::Redirect { host, to, why: "where anybody could listen" })
            }
        }
    }
}

enum Begun {
    Mounted,
    Upload(Upload),
}

fn writing<'a>(method: Method, target: Target, what: String) -> Ask<'a> {
    Ask { method, target, scope: Scope::Push, ..Ask::get(String::new(), what) }
}

/// Whether asking how far an upload came may help.
fn goes_on(cause: &RegistryError) -> bool {
    // A registry that is at another place than we think says 416, or that the upload is no good, and one
    // that forgot it 404.
    cause.may_pass()
        || matches!(
            cause,
            RegistryError::NotFound { .. }
                | RegistryError::Status { status: 400 | 416 | 500..=599, .. }
        )
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// How many bytes are there, by `Range: 0-N`. Registries say `0-0` of nothing and of one byte: then it
/// is nothing, and the one byte is sent again.
fn end_of(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let (start, end) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    let end: u64 = end.trim().parse().ok()?;
    if start.trim() != "0" {
        return None;
    }
    Some(if end == 0 { 0 } else { end.saturating_add(1) })
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What was to be sent cannot be read.
    #[error("cannot read {digest}: {cause}")]
    Source {
        /// The blob.
        digest: Digest,
        /// What the system says.
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_is_there_is_read_as_registries_write_it() {
        for (text, expected) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-0", Some(0)),
            ("1-99", None),
            ("0-x", None),
            ("99", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, text.parse().unwrap());
            assert_eq!(end_of(&headers), expected, "{text}");
        }
        assert_eq!(end_of(&HeaderMap::new()), None);
    }
}
