//! `docker://host[:port]/repository[:tag][@sha256:…]`.
//!
//! Source: OCI distribution specification 1.1, "Pulling manifests": what names and tags may be.

use std::fmt;
use std::str::FromStr;

use gybe_core::digest::Digest;

use super::ReferenceError;

/// Longest host with port.
const HOST_LEN_MAX: usize = 255;
/// Longest name of a repository.
const REPOSITORY_LEN_MAX: usize = 255;
/// Longest tag.
const TAG_LEN_MAX: usize = 128;
/// What is meant where neither tag nor digest stands.
const TAG_DEFAULT: &str = "latest";

/// A manifest in a repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryReference {
    /// The registry, with the port if one was named.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest; with one, the tag is for people only.
    pub digest: Option<Digest>,
}

impl RegistryReference {
    /// What such a reference begins with.
    pub const PREFIX: &'static str = "docker://";

    /// The name of the repository with its host, as `registries.conf` and `auth.json` spell it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// What a registry is asked for: the digest, the tag, or `latest`.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => TAG_DEFAULT.to_owned(),
        }
    }
}

impl FromStr for RegistryReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |part: &str, what| {
            let (text, part) = (text.to_owned(), part.to_owned());
            ReferenceError::Part { text, part, what }
        };
        let Some(rest) = text.strip_prefix(Self::PREFIX) else {
            return Err(ReferenceError::Transport { text: text.to_owned() });
        };
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => {
                let parsed = Digest::from_str(digest);
                (name, Some(parsed.map_err(|_| wrong(digest, "a digest, sha256:…"))?))
            }
            None => (rest, None),
        };
        let (host, path) = name.split_once('/').unwrap_or((name, ""));
        if !is_host(host) {
            return Err(wrong(host, "a registry: a host name with a dot or a port, or localhost"));
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if repository.len() > REPOSITORY_LEN_MAX || !repository.split('/').all(is_component) {
            return Err(wrong(repository, "a repository: lower-case words between slashes"));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(wrong(tag, "a tag: at most 128 letters, digits, dots, dashes"));
        }
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", Self::PREFIX, self.host, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// Whether this can only be a host: without a dot or a port it may be somebody's name.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_name = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            let bytes = label.as_bytes();
            let ends = [bytes.first(), bytes.last()];
            ends.into_iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        }),
    };
    text.len() <= HOST_LEN_MAX
        && is_name
        && port.is_none_or(is_port)
        && (port.is_some() || inner.is_some() || name.contains('.') || name == "localhost")
}

fn is_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|end| end.is_some_and(is_word))
        && bytes.iter().all(|byte| is_word(byte) || b"._-".contains(byte))
        && !["..", "___", "._", "_.", ".-", "-.", "_-", "-_"].iter().any(|it| text.contains(it))
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= TAG_LEN_MAX
        && bytes.first().is_some_and(is_word)
        && bytes.iter().all(|byte| is_word(byte) || b".-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written_alike() {
        let hex = "ab".repeat(32);
        let cases = [
            ("docker://r.example/a", "r.example", "a", None, false),
            ("docker://r.example:5000/a/b:v1", "r.example:5000", "a/b", Some("v1"), false),
            ("docker://localhost/a_b/c-d:V.1-x", "localhost", "a_b/c-d", Some("V.1-x"), false),
            ("docker://[::1]:443/a", "[::1]:443", "a", None, false),
            (&format!("docker://r.example/a@sha256:{hex}"), "r.example", "a", None, true),
            (&format!("docker://r.example/a:t@sha256:{hex}"), "r.example", "a", Some("t"), true),
        ];
        for (text, host, repository, tag, has_digest) in cases {
            let read: RegistryReference = text.parse().unwrap();
            assert_eq!((read.host.as_str(), read.repository.as_str()), (host, repository));
            assert_eq!((read.tag.as_deref(), read.digest.is_some()), (tag, has_digest));
            assert_eq!(read.to_string(), text);
        }
        let read: RegistryReference = "docker://r.example/a".parse().unwrap();
        assert_eq!((read.name().as_str(), read.wanted().as_str()), ("r.example/a", "latest"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_alike(rest in "[a-z0-9.:/@_\\[\\]-]{0,60}") {
            let text = format!("docker://{rest}");
            if let Ok(read) = text.parse::<RegistryReference>() {
                proptest::prop_assert_eq!(read.to_string(), text);
            }
        }
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_refused() {
        let long = format!("docker://r.example/{}", "a".repeat(REPOSITORY_LEN_MAX + 1));
        for (text, what) in [
            ("docker://", " is not a registry"),
            ("docker://acme/gateway:v1", "acme is not a registry"),
            ("docker://r.example", " is not a repository"),
            ("docker://r.example/", " is not a repository"),
            ("docker://r.example/A", "A is not a repository"),
            ("docker://r.example/../x", "../x is not a repository"),
            ("docker://r.example/a//b", "a//b is not a repository"),
            ("docker://u:p@r.example/a", "is not a digest"),
            ("docker://r.example:0/a", "r.example:0 is not a registry"),
            ("docker://r.example/a:", " is not a tag"),
            ("docker://r.example/a:b/c", "b/c is not a tag"),
            ("docker://r.example/a?x=y", "a?x=y is not a repository"),
            ("docker://r.example/a@sha256:12", "sha256:12 is not a digest"),
            (&long, " is not a repository"),
        ] {
            let found = text.parse::<RegistryReference>().unwrap_err().to_string();
            assert!(found.contains(what), "{found}\n has no\n{what}");
        }
    }
}
