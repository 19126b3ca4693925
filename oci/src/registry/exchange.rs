//! One request: who asks is told when the registry wants to know, its answers are followed where
//! they lead, and what may pass is tried again.

use std::fmt;
use std::ops::Range;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;
use tracing::debug;

use super::client::Client;
use super::endpoint::{Endpoint, host_of};
use super::error::RegistryError;
use super::{backoff, challenge, range};

/// How often an answer may lead elsewhere.
const REDIRECTS_MAX: u32 = 4;
/// Longest words of a registry that are shown.
const WORDS_LEN_MAX: usize = 200;

/// What may be done with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

impl Scope {
    pub(super) fn of(self, repository: &str) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        };
        format!("repository:{repository}:{actions}")
    }
}

/// What is asked.
pub struct Ask<'a> {
    /// How.
    pub method: Method,
    /// For what: below the repository, or wherever an answer led.
    pub target: Target,
    /// Which types of documents are understood.
    pub accept: Option<&'a str>,
    /// Which part of it.
    pub range: Option<Range<u64>>,
    /// Where what is sent along belongs in what it is a part of.
    pub content_range: Option<String>,
    /// What is sent along and of which type, made anew for each try.
    pub body: Option<(&'a str, &'a (dyn Fn() -> Body + Sync))>,
    /// For what a token must be good.
    pub scope: Scope,
    /// What messages call it.
    pub what: String,
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Below the repository.
    Path(String),
    /// Where a registry said.
    Url(Url),
}

impl Ask<'_> {
    /// Asks to read something below the repository.
    #[must_use]
    pub fn get(path: String, what: String) -> Self {
        Self {
            method: Method::GET,
            target: Target::Path(path),
            accept: None,
            range: None,
            content_range: None,
            body: None,
            scope: Scope::Pull,
            what,
        }
    }
}

impl fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.what)
    }
}

/// An answer with status 200 to 299, whose body is not read yet.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub response: Response,
    /// Who gave it.
    pub host: String,
    /// How often it led elsewhere before.
    pub redirects: u32,
}

impl Client {
    /// Asks `endpoint`, at most `tries` times.
    pub(super) async fn exchange(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        tries: u32,
    ) -> Result<Answer, RegistryError> {
        let mut failures = 0;
        loop {
            match self.once(endpoint, ask).await {
                Err(cause) => self.or_pause(cause, &mut failures, tries).await?,
                answer => return answer,
            }
        }
    }

    /// Waits because of `cause`, if waiting may help and was not tried too often.
    pub(super) async fn or_pause(
        &self,
        cause: RegistryError,
        failures: &mut u32,
        tries: u32,
    ) -> Result<(), RegistryError> {
        *failures = failures.saturating_add(1);
        if !cause.may_pass() || *failures >= tries {
            return Err(cause);
        }
        if matches!(cause, RegistryError::Stalled { .. } | RegistryError::Slow { .. }) {
            // A connection may be dead without knowing it: the next try makes its own.
            self.hang_up();
        }
        let limits = &self.access.limits;
        let mut wait = backoff::wait(limits, *failures);
        if let RegistryError::Busy { host, after: Some(after), .. } = &cause {
            let (after, limit) = (*after, limits.retry_after_max);
            if after > limit {
                // Coming back earlier than asked helps nobody.
                return Err(RegistryError::WaitTooLong { host: host.clone(), after, limit });
            }
            wait = wait.saturating_add(after);
        }
        debug!(%cause, failures = *failures, wait_ms = wait.as_millis(), "trying again");
        self.sleep("registry", wait).await
    }

    async fn once(&self, endpoint: &Endpoint, ask: &Ask<'_>) -> Result<Answer, RegistryError> {
        let scope = ask.scope.of(&endpoint.repository);
        let mut authorization = self.authorization(&endpoint.host, &scope);
        let mut is_renewed = false;
        loop {
            let followed = self.follow(endpoint, ask, authorization.as_ref()).await;
            let Followed { answer, has_left } = match followed {
                // Nobody speaks TLS there; a connection that breaks later is no sign of that.
                Err(RegistryError::Connect { .. }) if endpoint.turn_plain() => continue,
                followed => followed?,
            };
            let is_asked = answer.response.status() == StatusCode::UNAUTHORIZED && !has_left;
            if !is_asked || is_renewed {
                return self.judge(ask, answer, has_left).await;
            }
            // Asked the first time, or a token that was good is so no longer.
            is_renewed = true;
            let challenge = challenge::choose(answer.response.headers());
            let words = self.drain(&answer.host, answer.response).await;
            let renewed = self.authorize(endpoint, &scope, challenge, &ask.what, &words).await?;
            self.remember(&endpoint.host, &scope, renewed.clone());
            authorization = Some(renewed);
        }
    }

    /// Sends the request, and follows where the answer leads. Who asks is told to the registry only:
    /// links to stores hold what they need, and nobody else is to know.
    async fn follow(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Followed, RegistryError> {
        let registry = endpoint.url("")?;
        let mut url = match &ask.target {
            Target::Path(path) => endpoint.url(path)?,
            Target::Url(url) => url.clone(),
        };
        for redirects in 0..=REDIRECTS_MAX {
            let host = host_of(&url);
            let is_registry = url.origin() == registry.origin();
            let connections = self.connections(&host, endpoint.belief(&host))?;
            let mut request = connections.request(ask.method.clone(), url.clone());
            if let Some(accept) = ask.accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(wanted) = &ask.range {
                request = request.header(RANGE, range::header(wanted));
            }
            if let Some(place) = &ask.content_range {
                request = request.header(CONTENT_RANGE, place);
            }
            if let Some((kind, body)) = ask.body {
                request = request.header(CONTENT_TYPE, kind).body(body());
            }
            if let Some(authorization) = authorization.filter(|_| is_registry) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = self.send(&host, request).await?;
            if !is_followed(&ask.method, response.status()) {
                let answer = Answer { response, host, redirects };
                return Ok(Followed { answer, has_left: !is_registry });
            }
            url = next(&host, &url, &response)?;
            self.drain(&host, response).await;
        }
        let (host, to) = (endpoint.host.clone(), host_of(&url));
        Err(RegistryError::Redirect { host, to, why: "and that is once too often" })
    }

    /// The answer, if it is one to what was asked.
    async fn judge(
        &self,
        ask: &Ask<'_>,
        answer: Answer,
        has_left: bool,
    ) -> Result<Answer, RegistryError> {
        let status = answer.response.status();
        if status.is_success() {
            return Ok(answer);
        }
        let Answer { response, host, .. } = answer;
        let after = backoff::retry_after(response.headers());
        let said = said(&self.drain(&host, response).await);
        let (what, status) = (ask.what.clone(), status.as_u16());
        Err(match status {
            // Stores do not say that a link is too old, only that it is not good.
            400 | 401 | 403 | 410 if has_left => RegistryError::Expired { host, status },
            401 | 403 => RegistryError::Unauthorized { host, what, said },
            404 => RegistryError::NotFound { host, what },
            429 | 503 => RegistryError::Busy { host, status, after },
            _ => RegistryError::Status { host, what, status, said },
        })
    }
}

struct Followed {
    answer: Answer,
    /// Whether somebody else than the registry answered.
    has_left: bool,
}

fn is_followed(method: &Method, status: StatusCode) -> bool {
    match status.as_u16() {
        307 | 308 => true,
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

/// Where an answer leads.
fn next(host: &str, from: &Url, response: &Response) -> Result<Url, RegistryError> {
    let refused = |to: String, why| RegistryError::Redirect { host: host.to_owned(), to, why };
    let location = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
    let location = location.ok_or_else(|| refused("nowhere".to_owned(), "without a location"))?;
    let to = from.join(location).map_err(|_| refused("nowhere".to_owned(), "with no address"))?;
    let why = match (from.scheme(), to.scheme()) {
        ("https", "http") => "where anybody could listen",
        ("https" | "http", "https") | ("http", "http") if to.host_str().is_some() => return Ok(to),
        _ => "which is no address of the web",
    };
    Err(refused(host_of(&to), why))
}

/// What a registry says about an error, fit to be shown.
pub(super) fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(said) = serde_json::from_slice::<Said>(body) else { return String::new() };
    let Some(One { code, message }) = said.errors.into_iter().next() else { return String::new() };
    let text = format!(": {code} {message}");
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(WORDS_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_is_shown_without_tricks() {
        let text = r#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way\n"},{"code":"X"}]}"#;
        assert_eq!(said(text.as_bytes()), ": DENIED no[31m way");
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(5000));
        assert_eq!(said(long.as_bytes()).len(), WORDS_LEN_MAX);
        assert_eq!(said(b"<html>"), "");
        assert_eq!(said(br#"{"errors":[]}"#), "");
    }

    #[test]
    fn only_reading_is_led_on_by_every_redirect() {
        for (status, get, put) in [
            (301, true, false),
            (302, true, false),
            (303, true, false),
            (307, true, true),
            (308, true, true),
            (304, false, false),
            (200, false, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let followed = [Method::GET, Method::PUT].map(|it| is_followed(&it, status));
            assert_eq!(followed, [get, put], "{status}");
        }
    }
}
