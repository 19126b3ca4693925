//! One document for an endpoint that is no registry: what a device reports.
//!
//! It shares with the client of registries how connections are made, whom they believe, and how long
//! they may take; and nothing of its credentials.

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};

use super::access::Access;
use super::certificates::Belief;
use super::client::Client;
use super::error::RegistryError;

/// JSON, as an endpoint is told.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Posts the JSON `body` to `url`, and waits until it is accepted, which any status from 200 to 299 says.
/// Redirects are not followed: whoever is reported to is what the configuration says.
///
/// # Errors
/// [`RegistryError`], when it was not accepted within the time of one document.
pub fn post_json(access: Access, url: &str, body: Vec<u8>) -> Result<(), RegistryError> {
    let setup = |why: String| RegistryError::Setup { why };
    let url = Url::parse(url).map_err(|cause| setup(format!("{url}: {cause}")))?;
    let name = url.host_str().ok_or_else(|| setup(format!("{url} names no host")))?;
    let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    let client = Client::new(access)?;
    let connections = client.connections(&host, Belief::Asked)?;
    client.wait(async {
        let request = connections.post(url).header(CONTENT_TYPE, JSON).body(body);
        let response = client.send(&host, request).await?;
        let status = response.status();
        let said = client.drain(&host, response).await;
        if status.is_success() {
            return Ok(());
        }
        let what = "a report".to_owned();
        let said = String::from_utf8_lossy(&said);
        let said = said.lines().next().map(|said| format!(": {said}")).unwrap_or_default();
        Err(RegistryError::Status { host: host.clone(), what, status: status.as_u16(), said })
    })
}
