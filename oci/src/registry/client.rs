//! Connections, the limits on them, and what they cost.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use reqwest::{Response, redirect};
use rustls::RootCertStore;
use tokio::runtime::{Builder, Runtime};

use super::access::Access;
use super::certificates::{self, Belief};
use super::configuration::Registries;
use super::error::RegistryError;

/// What is read of an answer that is not used, so that its connection can be, in bytes.
const DRAINED_LEN_MAX: u64 = 8 << 10;
/// How long a connection waits for the next request.
const IDLE: Duration = Duration::from_secs(90);

/// What was sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of all bodies of answers.
    pub bytes: u64,
    /// Of these, those that nobody asked for: what was left out on the way to a part that a registry
    /// does not give alone, what came twice, and the words of errors.
    pub wasted_bytes: u64,
    /// Requests: also those that were answered with an error, led elsewhere, or got a token.
    pub requests: u64,
}

/// Asks registries.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    pub(super) access: Access,
    pub(super) registries: Registries,
    roots: RootCertStore,
    connections: Mutex<BTreeMap<(Option<PathBuf>, Belief), reqwest::Client>>,
    /// What was told to which host for which scope.
    authorizations: Mutex<BTreeMap<(String, String), HeaderValue>>,
    traffic: Mutex<Traffic>,
    begun: Instant,
}

impl Client {
    pub(crate) fn new(access: Access) -> Result<Self, RegistryError> {
        let setup = |cause: io::Error| RegistryError::Setup { why: cause.to_string() };
        // One thread waits for one answer. Names are looked up in another, as the system wants it.
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(1).build().map_err(setup)?;
        let registries = Registries::read(&access.registries)?;
        let roots = certificates::roots(&access.roots)?;
        Ok(Self {
            runtime,
            access,
            registries,
            roots,
            connections: Mutex::default(),
            authorizations: Mutex::default(),
            traffic: Mutex::default(),
            begun: Instant::now(),
        })
    }

    /// Waits for what `future` comes to. Connections stand still in between.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn traffic(&self) -> Traffic {
        *locked(&self.traffic)
    }

    /// The connections to `host`.
    pub(super) fn connections(
        &self,
        host: &str,
        belief: Belief,
    ) -> Result<reqwest::Client, RegistryError> {
        let folder = certificates::folder(&self.access.certificates, host);
        let mut connections = locked(&self.connections);
        let key = (folder, belief);
        if let Some(found) = connections.get(&key) {
            return Ok(found.clone());
        }
        let tls = certificates::client(&self.roots, key.0.as_deref(), belief)?;
        let built = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            // Followed by hand: what goes along depends on where it leads.
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("gybe/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.access.limits.connect)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build();
        let built = built.map_err(|cause| RegistryError::Setup { why: words(&cause) })?;
        connections.insert(key, built.clone());
        Ok(built)
    }

    /// Forgets all connections.
    pub(super) fn hang_up(&self) {
        locked(&self.connections).clear();
    }

    pub(super) fn authorization(&self, host: &str, scope: &str) -> Option<HeaderValue> {
        locked(&self.authorizations).get(&(host.to_owned(), scope.to_owned())).cloned()
    }

    pub(super) fn remember(&self, host: &str, scope: &str, authorization: HeaderValue) {
        let key = (host.to_owned(), scope.to_owned());
        locked(&self.authorizations).insert(key, authorization);
    }

    /// Refuses to ask for so many bytes, if that would be more than was allowed.
    pub(super) fn reserve(&self, wanted: u64) -> Result<(), RegistryError> {
        let used = self.traffic().bytes;
        match self.access.max_bytes {
            Some(limit) if used.saturating_add(wanted) > limit => {
                Err(RegistryError::Budget { limit, used, wanted })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn waste(&self, bytes: u64) {
        let mut traffic = locked(&self.traffic);
        traffic.wasted_bytes = traffic.wasted_bytes.saturating_add(bytes);
    }

    /// Sends a request and waits until its answer begins.
    pub(super) async fn send(
        &self,
        host: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, RegistryError> {
        self.reserve(0)?;
        let limits = &self.access.limits;
        let sent = self.within(host, limits.connect.saturating_add(limits.stall), request.send());
        let sent = sent.await?;
        // Where there is no connection, nothing was asked.
        if !sent.as_ref().is_err_and(reqwest::Error::is_connect) {
            let mut traffic = locked(&self.traffic);
            traffic.requests = traffic.requests.saturating_add(1);
        }
        sent.map_err(|cause| broken(host, &cause))
    }

    /// The next piece of an answer's body; `None` at its end.
    pub(super) async fn piece(
        &self,
        host: &str,
        response: &mut Response,
        pace: &mut Pace,
    ) -> Result<Option<bytes::Bytes>, RegistryError> {
        let begun = Instant::now();
        let came = self.within(host, self.access.limits.stall, response.chunk()).await?;
        let Some(piece) = came.map_err(|cause| broken(host, &cause))? else { return Ok(None) };
        let len = piece.len() as u64;
        {
            let mut traffic = locked(&self.traffic);
            traffic.bytes = traffic.bytes.saturating_add(len);
        }
        self.reserve(0)?;
        let limits = &self.access.limits;
        if pace.is_slow(begun.elapsed(), len, limits.rate_window, limits.rate_min) {
            return Err(RegistryError::Slow { host: host.to_owned(), limit: limits.rate_min });
        }
        Ok(Some(piece))
    }

    /// The whole body of an answer, at most `limit` bytes, within the time for one document.
    pub(super) async fn body(
        &self,
        host: &str,
        mut response: Response,
        what: &str,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let too_long = || {
            let (host, what) = (host.to_owned(), what.to_owned());
            RegistryError::TooLong { host, what, limit }
        };
        let promised = response.content_length();
        if promised.is_some_and(|len| len > limit) {
            return Err(too_long());
        }
        self.reserve(promised.unwrap_or(0))?;
        let mut body = Vec::new();
        // In one piece: what grows is copied, and lies in memory twice. It is no more than `limit`.
        body.reserve_exact(promised.and_then(|len| usize::try_from(len).ok()).unwrap_or(0));
        let read = async {
            let mut pace = Pace::default();
            while let Some(piece) = self.piece(host, &mut response, &mut pace).await? {
                if (body.len() as u64).saturating_add(piece.len() as u64) > limit {
                    return Err(too_long());
                }
                body.extend_from_slice(&piece);
            }
            Ok(())
        };
        let read = self.within(host, self.access.limits.document, read).await;
        match read.flatten() {
            Ok(()) => Ok(body),
            Err(cause) => {
                self.waste(body.len() as u64);
                Err(cause)
            }
        }
    }

    /// The beginning of an answer that is not used: read, so that the connection can be used again.
    pub(super) async fn drain(&self, host: &str, mut response: Response) -> Vec<u8> {
        let mut words = Vec::new();
        if response.content_length().is_some_and(|len| len > DRAINED_LEN_MAX) {
            return words;
        }
        let mut pace = Pace::default();
        let read = async {
            while let Ok(Some(piece)) = self.piece(host, &mut response, &mut pace).await {
                self.waste(piece.len() as u64);
                words.extend_from_slice(&piece);
                if words.len() as u64 > DRAINED_LEN_MAX {
                    break;
                }
            }
        };
        // What was read until then is as good.
        let _ = self.within(host, self.access.limits.document, read).await;
        words
    }

    /// Waits before trying again.
    pub(super) async fn sleep(&self, host: &str, time: Duration) -> Result<(), RegistryError> {
        if time > self.left() {
            let limit = self.access.limits.overall;
            return Err(RegistryError::Overall { host: host.to_owned(), limit });
        }
        tokio::time::sleep(time).await;
        Ok(())
    }

    fn left(&self) -> Duration {
        self.access.limits.overall.saturating_sub(self.begun.elapsed())
    }

    /// What `future` comes to, unless it takes too long.
    async fn within<T>(
        &self,
        host: &str,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        let left = self.left();
        let done = tokio::time::timeout(limit.min(left), future).await;
        done.map_err(|_| {
            let host = host.to_owned();
            if left < limit {
                RegistryError::Overall { host, limit: self.access.limits.overall }
            } else {
                RegistryError::Stalled { host, after: limit }
            }
        })
    }
}

/// How fast an answer comes. Only the time counts in which it was waited for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn is_slow(&mut self, waited: Duration, bytes: u64, window: Duration, rate_min: u64) -> bool {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < window {
            return false;
        }
        let expected = u128::from(rate_min) * self.waited.as_millis() / 1000;
        let is_slow = u128::from(self.bytes) < expected;
        *self = Self::default();
        is_slow
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is counted and kept here is right after every single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why there is no answer, or no more of it.
fn broken(host: &str, cause: &reqwest::Error) -> RegistryError {
    let (host, why) = (host.to_owned(), words(cause));
    let mut source: Option<&(dyn Error + 'static)> = Some(cause);
    while let Some(error) = source {
        use rustls::Error as Tls;
        if let Some(Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented) =
            error.downcast_ref()
        {
            return RegistryError::Certificate { host, why };
        }
        // What lies in an error of the system is not its source, but what it shows.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        source = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    if cause.is_connect() {
        RegistryError::Connect { host, why }
    } else {
        RegistryError::Broke { host, why }
    }
}

/// What an error says, without the address: it may have a signature in it that is a key.
pub(super) fn words(cause: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut source = cause.source();
    while let Some(error) = source {
        words.push(error.to_string());
        source = error.source();
    }
    // The innermost one says what happened; those around it repeat it.
    words.pop().unwrap_or_else(|| "no reason given".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_too_long_is_slow() {
        let (second, window) = (Duration::from_secs(1), Duration::from_secs(10));
        let slow = |bytes, seconds: u32| {
            let mut pace = Pace::default();
            (0..seconds).any(|_| pace.is_slow(second, bytes, window, 100))
        };
        assert!(slow(99, 10));
        assert!(!slow(99, 9), "not before the window is over");
        assert!(!slow(100, 100));
        let mut pace = Pace::default();
        // A fast beginning does not excuse what comes later.
        assert!(!pace.is_slow(window, 1 << 20, window, 100));
        assert!((0..10).any(|_| pace.is_slow(second, 0, window, 100)));
    }
}
