//! Saying who we are: with a password, or with a token that somebody gives out.
//!
//! Source: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
//!
//! A registry names who gives out its tokens, and whoever that is gets the password. So it must be
//! the registry itself, or one of those that are known to serve another registry, or one that the
//! configuration names; and TLS must say who it is. Docker Hub and GitLab use another host; GHCR,
//! Quay, Azure, Google, Harbor and Red Hat their own; ECR takes the password itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use tracing::debug;

use super::challenge::Challenge;
use super::client::Client;
use super::credentials::{self, Credentials};
use super::endpoint::{Endpoint, host_of};
use super::error::RegistryError;
use super::exchange::said;

/// Longest answer with a token, in bytes.
const ANSWER_LEN_MAX: u64 = 64 << 10;
/// Who gives out tokens for which registry.
const KNOWN: [(&str, &str); 2] =
    [("registry-1.docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl Client {
    /// What is to be said to `endpoint`, which asked for it.
    pub(super) async fn authorize(
        &self,
        endpoint: &Endpoint,
        scope: &str,
        challenge: Option<Challenge>,
        what: &str,
        words: &[u8],
    ) -> Result<HeaderValue, RegistryError> {
        let host = || endpoint.host.clone();
        let credentials = credentials::find(&self.access.credentials, &endpoint.name)?;
        match (challenge, credentials) {
            (Some(Challenge::Bearer { realm, service }), credentials) => {
                let realm = self.realm(endpoint, &realm)?;
                let service = service.unwrap_or_default();
                let token = self.token(endpoint, &realm, &service, scope, credentials).await?;
                secret(&format!("Bearer {token}"), endpoint)
            }
            (Some(Challenge::Basic), Some(Credentials::Password { name, password })) => {
                secret(&basic(&name, &password), endpoint)
            }
            (Some(Challenge::Basic), _) => {
                let said = match said(words) {
                    said if said.is_empty() => " and there are none".to_owned(),
                    said => format!(" and there are none{said}"),
                };
                Err(RegistryError::Unauthorized { host: host(), what: what.to_owned(), said })
            }
            (None, _) => {
                let challenge = "no challenge that is understood".to_owned();
                Err(RegistryError::Challenge { host: host(), challenge })
            }
        }
    }

    /// The address that gives out tokens, if it may know who we are.
    fn realm(&self, endpoint: &Endpoint, realm: &str) -> Result<Url, RegistryError> {
        let refused = |realm: &str, why| {
            let realm = realm.chars().filter(char::is_ascii_graphic).take(200).collect();
            RegistryError::Realm { host: endpoint.host.clone(), realm, why }
        };
        let url = Url::parse(realm).map_err(|_| refused(realm, "which is no address"))?;
        let name = url.host_str().unwrap_or_default();
        let host = host_of(&url);
        match url.scheme() {
            "https" => {}
            "http" if endpoint.is_insecure() && host == endpoint.host => {}
            _ => return Err(refused(&host, "where anybody could listen")),
        }
        let registry = endpoint.url("")?;
        let is_known = registry.host_str() == Some(name)
            || KNOWN.contains(&(endpoint.host.as_str(), host.as_str()))
            || self.access.token_hosts.contains(&host);
        if is_known {
            Ok(url)
        } else {
            Err(refused(&host, "which registry.token_hosts does not name"))
        }
    }

    /// Gets a token.
    async fn token(
        &self,
        endpoint: &Endpoint,
        realm: &Url,
        service: &str,
        scope: &str,
        credentials: Option<Credentials>,
    ) -> Result<String, RegistryError> {
        let host = host_of(realm);
        let connections = self.connections(&host, endpoint.belief(&host))?;
        let mut url = realm.clone();
        let request = match credentials {
            Some(Credentials::Identity(token)) => {
                let mut form = Url::clone(realm);
                form.query_pairs_mut()
                    .clear()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("service", service)
                    .append_pair("client_id", "gybe")
                    .append_pair("scope", scope)
                    .append_pair("refresh_token", &token);
                let kind = "application/x-www-form-urlencoded";
                let form = form.query().unwrap_or_default().to_owned();
                connections.post(url).header(CONTENT_TYPE, kind).body(form)
            }
            credentials => {
                url.query_pairs_mut().append_pair("service", service).append_pair("scope", scope);
                let request = connections.get(url);
                match credentials {
                    Some(Credentials::Password { name, password }) => {
                        request.header(AUTHORIZATION, secret(&basic(&name, &password), endpoint)?)
                    }
                    _ => request,
                }
            }
        };
        debug!(%host, scope, "asking for a token");
        let response = self.send(&host, request.header(ACCEPT, "application/json")).await?;
        let status = response.status();
        let what = format!("a token for {}", endpoint.name);
        if !status.is_success() {
            let after = super::backoff::retry_after(response.headers());
            let said = said(&self.drain(&host, response).await);
            let status = status.as_u16();
            return Err(match status {
                400 | 401 | 403 => RegistryError::Unauthorized { host, what, said },
                429 | 503 => RegistryError::Busy { host, status, after },
                _ => RegistryError::Status { host, what, status, said },
            });
        }
        let body = self.body(&host, response, &what, ANSWER_LEN_MAX).await?;
        let given: Option<Given> = serde_json::from_slice(&body).ok();
        let tokens = given.map(|given| [given.token, given.access_token]);
        let token = tokens.into_iter().flatten().find(|token| !token.is_empty());
        token.ok_or_else(|| {
            let why = "the answer has no token in it".to_owned();
            RegistryError::Wrong { host, what, why }
        })
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// A header that is not shown when requests are.
fn secret(text: &str, endpoint: &Endpoint) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| RegistryError::Wrong {
        host: endpoint.host.clone(),
        what: "a token".to_owned(),
        why: "it cannot stand in a header".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
