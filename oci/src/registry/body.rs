//! Parts of a blob, as they come.
//!
//! One request asks for a closed range, and its bytes are handed on as they arrive. Where the
//! connection breaks, the next request goes on at the byte that is due. A registry that does not
//! give parts gives everything instead: then its one answer is kept, what lies before a part is
//! read and let go, and the next part is looked for further on in it.
//!
//! Nothing here is checked but lengths: whoever reads compares digests.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use gybe_core::digest::Digest;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};

use super::client::Pace;
use super::endpoint::{Endpoint, Named};
use super::error::RegistryError;
use super::exchange::{Answer, Ask};
use super::range::content_range;
use super::repository::{Inner, Parts, Repository};

/// How much must come between two failures for the first one to be forgiven.
const PROGRESS_LEN: u64 = 64 << 10;

/// A blob that is being read.
#[derive(Debug)]
pub(crate) struct Body {
    repository: Arc<Inner>,
    digest: Digest,
    /// How long the whole is.
    len: u64,
    /// The byte that is due.
    at: u64,
    /// Where the part ends that is asked for.
    end: u64,
    open: Option<Open>,
    failures: u32,
    /// What came since the last failure.
    progress: u64,
}

/// An answer that is being read.
#[derive(Debug)]
struct Open {
    response: Response,
    host: String,
    /// What came and was not taken yet.
    piece: Bytes,
    /// The byte of the blob that the piece begins with, or that comes next.
    at: u64,
    /// Where the answer ends.
    end: u64,
    /// Whether it is everything, although a part was asked for.
    is_whole: bool,
    pace: Pace,
}

impl Body {
    pub(crate) fn new(repository: &Repository, digest: Digest, len: u64) -> Self {
        let repository = Arc::clone(&repository.0);
        Self { repository, digest, len, at: 0, end: len, open: None, failures: 0, progress: 0 }
    }

    /// From here on `part` is read. An answer that is everything is kept, if the part lies ahead.
    pub(crate) fn seek(&mut self, part: Range<u64>) {
        (self.at, self.end) = (part.start, part.end.min(self.len));
        let goes_on = self.open.as_ref().is_some_and(|open| {
            open.at <= part.start
                && (open.is_whole || part.start < open.end && open.at == part.start)
        });
        if !goes_on {
            self.open = None;
        }
    }

    /// Leaves out what lies before `at`, which is in the part. It comes along, because that costs
    /// less than asking again.
    pub(crate) fn skip_to(&mut self, at: u64) -> Result<(), RegistryError> {
        while self.at < at {
            let len = usize::try_from(at - self.at).unwrap_or(usize::MAX);
            let taken = self.take(len)?.len() as u64;
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Fills some of `buffer`, from its beginning, and says how much; nothing at the part's end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        let piece = self.take(buffer.len())?;
        if let Some(room) = buffer.get_mut(..piece.len()) {
            room.copy_from_slice(&piece);
        }
        Ok(piece.len())
    }

    /// The next bytes of the part, at most `len`; none at its end.
    fn take(&mut self, len: usize) -> Result<Bytes, RegistryError> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if left == 0 || len == 0 {
            return Ok(Bytes::new());
        }
        let repository = Arc::clone(&self.repository);
        let mut piece = repository.client.wait(self.arrived())?;
        let taken = piece.split_to(len.min(left).min(piece.len()));
        self.at = self.at.saturating_add(taken.len() as u64);
        if let Some(open) = &mut self.open {
            open.piece = piece;
            open.at = self.at;
            // All of it was read: its connection is for the next request.
            if self.at == open.end {
                let open = self.open.take();
                repository.client.wait(done(open));
            }
        }
        Ok(taken)
    }

    /// What has come of the part from the byte on that is due: at least one byte.
    async fn arrived(&mut self) -> Result<Bytes, RegistryError> {
        let repository = Arc::clone(&self.repository);
        let client = &repository.client;
        loop {
            if self.open.is_none() {
                self.open = Some(self.ask().await?);
            }
            let Some(open) = &mut self.open else { continue };
            if open.piece.is_empty() {
                match open.next(&repository).await {
                    Ok(()) => {}
                    Err(cause) => {
                        self.open = None;
                        let tries = client.access.limits.tries;
                        if self.progress >= PROGRESS_LEN {
                            self.failures = 0;
                        }
                        self.progress = 0;
                        client.or_pause(cause, &mut self.failures, tries).await?;
                        continue;
                    }
                }
            }
            let before = self.at.saturating_sub(open.at);
            if before > 0 {
                // Everything came instead of a part.
                let len = usize::try_from(before).unwrap_or(usize::MAX).min(open.piece.len());
                let _ = open.piece.split_to(len);
                open.at = open.at.saturating_add(len as u64);
                client.waste(len as u64);
                continue;
            }
            self.progress = self.progress.saturating_add(open.piece.len() as u64);
            return Ok(open.piece.clone());
        }
    }

    async fn ask(&self) -> Result<Open, RegistryError> {
        let part = self.at..self.end;
        let repository = &self.repository;
        let reads_all = part == (0..self.len);
        let wanted = match repository_parts(repository) {
            // It would come all the same, and it is better known before.
            Parts::WholeOnly => self.end,
            _ => part.end.saturating_sub(part.start),
        };
        repository.client.reserve(wanted)?;
        let mut ask = Ask::get(format!("blobs/{}", self.digest), self.digest.to_string());
        ask.range = Some(part.clone());
        let before = repository.client.traffic();
        let open = async |endpoint: &Endpoint, tries: u32| {
            let answer = repository.client.exchange(endpoint, &ask, tries).await?;
            self.opened(answer, part.clone())
        };
        let (open, redirects) = repository.somewhere(Named::ByDigest, open).await?;
        let detour = repository.client.traffic().bytes.saturating_sub(before.bytes);
        let parts = match open.is_whole {
            false => Parts::Given,
            true if reads_all => repository_parts(repository),
            true => Parts::WholeOnly,
        };
        repository.learn(parts, redirects, if redirects > 0 { detour } else { 0 });
        if open.is_whole && !reads_all {
            repository.client.reserve(self.end)?;
        }
        Ok(open)
    }

    /// What an answer says that it is, if it can be used.
    fn opened(&self, answer: Answer, part: Range<u64>) -> Result<(Open, u32), RegistryError> {
        let Answer { response, host, redirects } = answer;
        let wrong = |why: String| {
            let (host, what) = (host.clone(), self.digest.to_string());
            RegistryError::Wrong { host, what, why }
        };
        let promised = response.content_length();
        let (given, is_whole) = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let text = response.headers().get(CONTENT_RANGE).and_then(|it| it.to_str().ok());
                let text = text.unwrap_or("nothing");
                let (given, len) = content_range(text)
                    .ok_or_else(|| wrong(format!("its part is {text:.80}, which is no range")))?;
                if given.start != part.start || given.end > part.end {
                    let (start, last) = (part.start, part.end.saturating_sub(1));
                    return Err(wrong(format!("its part is {text:.80}, not {start}-{last}")));
                }
                if let Some(len) = len.filter(|&len| len != self.len) {
                    return Err(wrong(format!("it is {len} bytes, not {}", self.len)));
                }
                (given, false)
            }
            StatusCode::OK => (0..self.len, true),
            status => return Err(wrong(format!("status {}", status.as_u16()))),
        };
        let expected = given.end.saturating_sub(given.start);
        if let Some(found) = promised.filter(|&found| found != expected) {
            return Err(wrong(format!("the answer is {found} bytes, not {expected}")));
        }
        let (at, end) = (given.start, given.end);
        let (piece, pace) = (Bytes::new(), Pace::default());
        Ok((Open { response, host, piece, at, end, is_whole, pace }, redirects))
    }
}

impl Open {
    /// Waits for the next bytes.
    async fn next(&mut self, repository: &Inner) -> Result<(), RegistryError> {
        let came = repository.client.piece(&self.host, &mut self.response, &mut self.pace).await?;
        let broke = |why: &str| {
            let (host, why) = (self.host.clone(), why.to_owned());
            RegistryError::Broke { host, why }
        };
        let Some(piece) = came else {
            return Err(broke("the answer ended early"));
        };
        if piece.len() as u64 > self.end.saturating_sub(self.at) {
            return Err(broke("more came than was announced"));
        }
        self.piece = piece;
        Ok(())
    }
}

/// Reads the end of an answer, which nothing comes before any more.
async fn done(open: Option<Open>) {
    if let Some(mut open) = open {
        let _ = open.response.chunk().await;
        drop(open);
        // The connection notices that it is free.
        tokio::task::yield_now().await;
    }
}

fn repository_parts(repository: &Arc<Inner>) -> Parts {
    Repository(Arc::clone(repository)).parts()
}
