//! Names and passwords for registries, out of files in the form of `auth.json`.
//!
//! Source: containers-auth.json(5), and Docker's `config.json`, whose keys may also be addresses.
//! Programs that keep passwords (`credHelpers`, `credsStore`) are not run: on a device nobody put
//! them there, and they would run as root.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tracing::warn;

/// Longest file, in bytes. A pull secret of OpenShift has about 3,000.
const FILE_LEN_MAX: u64 = 256 * 1024;

/// What says who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Name and password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token that gets others.
    Identity(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity: String,
}

/// The credentials for `name`, a host or a repository with its host: those whose key is the longest
/// part of it, and of equal ones those of the first file.
///
/// # Errors
/// A file is there and cannot be used: the credentials in it would be missed later, and nobody would
/// know why.
pub(super) fn find(files: &[PathBuf], name: &str) -> Result<Option<Credentials>, CredentialsError> {
    let mut best: Option<(usize, Credentials)> = None;
    for file in files {
        let Some(document) = read(file)? else { continue };
        let host = name.split('/').next().unwrap_or(name);
        for (key, entry) in &document.auths {
            let key = normal(key);
            let Some(len) = matches(&key, name) else { continue };
            let Some(found) = entry.credentials(file, &key)? else { continue };
            if best.as_ref().is_none_or(|(best, _)| len > *best) {
                best = Some((len, found));
            }
        }
        if best.is_none() && (document.helpers.contains_key(host) || document.store.is_some()) {
            warn!(file = %file.display(), host, "credential helpers are not run");
        }
    }
    Ok(best.map(|(_, found)| found))
}

impl Entry {
    fn credentials(&self, file: &Path, key: &str) -> Result<Option<Credentials>, CredentialsError> {
        if !self.identity.is_empty() {
            return Ok(Some(Credentials::Identity(self.identity.clone())));
        }
        if !self.username.is_empty() {
            let (name, password) = (self.username.clone(), self.password.clone());
            return Ok(Some(Credentials::Password { name, password }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok();
        let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        // Docker pads with zeros.
        let text = text.as_deref().map(|text| text.trim_end_matches('\0'));
        match text.and_then(|text| text.split_once(':')) {
            Some((name, password)) => {
                let (name, password) = (name.to_owned(), password.to_owned());
                Ok(Some(Credentials::Password { name, password }))
            }
            None => Err(CredentialsError::Entry { file: file.to_owned(), key: key.to_owned() }),
        }
    }
}

fn read(file: &Path) -> Result<Option<Document>, CredentialsError> {
    let failed = |cause| CredentialsError::Read { file: file.to_owned(), cause };
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let mut text = Vec::new();
    opened.take(FILE_LEN_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(CredentialsError::Length { file: file.to_owned() });
    }
    // Where in the file, but not what stands there.
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|cause| CredentialsError::Json { file: file.to_owned(), line: cause.line() })
}

/// A key as containers writes it: Docker's may be addresses, `https://index.docker.io/v1/` above all.
fn normal(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.strip_suffix('/').unwrap_or(key);
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key.split_once('/') {
        None if ["index.docker.io", "registry-1.docker.io"].contains(&key) => {
            "docker.io".to_owned()
        }
        _ => key.to_owned(),
    }
}

/// How long `key` is, if it is `name` or a part of its path from the left.
fn matches(key: &str, name: &str) -> Option<usize> {
    let rest = name.strip_prefix(key)?;
    (!key.is_empty() && (rest.is_empty() || rest.starts_with('/'))).then_some(key.len())
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("credentials: {}: {cause}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file is too long.
    #[error("credentials: {} is more than {FILE_LEN_MAX} bytes", file.display())]
    Length {
        /// The file.
        file: PathBuf,
    },
    /// It is not what it should be.
    #[error("credentials: {}:{line}: not in the form of auth.json", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// An entry is not what it should be.
    #[error("credentials: {}: auth of {key} is not name:password in base64", file.display())]
    Entry {
        /// The file.
        file: PathBuf,
        /// The entry.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The name in what is found in these files for `name`.
    fn found(files: &[&str], name: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |(number, text): (usize, &&str)| {
            let file = folder.path().join(number.to_string());
            fs::write(&file, text).unwrap();
            file
        };
        let mut files: Vec<_> = files.iter().enumerate().map(write).collect();
        files.insert(0, folder.path().join("absent"));
        match find(&files, name) {
            Ok(Some(Credentials::Password { name, password })) => {
                Ok(Some(format!("{name}:{password}")))
            }
            Ok(Some(Credentials::Identity(token))) => Ok(Some(token)),
            Ok(None) => Ok(None),
            Err(cause) => {
                Err(cause.to_string().replace(&folder.path().display().to_string(), "dir"))
            }
        }
    }

    fn auth(key: &str, text: &str) -> String {
        format!("{{\"auths\":{{\"{key}\":{{\"auth\":\"{}\"}}}}}}", STANDARD.encode(text))
    }

    #[test]
    fn the_longest_part_of_the_path_wins_whatever_file_it_is_in() {
        let (host, path, repository) = (
            auth("r.example", "host:1"),
            auth("r.example/acme", "path:2"),
            auth("r.example/acme/gw", "repo:3"),
        );
        let all = [host.as_str(), &path, &repository];
        for (name, expected) in [
            ("r.example/acme/gw", Some("repo:3")),
            ("r.example/acme/gw2", Some("path:2")),
            ("r.example/acme", Some("path:2")),
            ("r.example/acm", Some("host:1")),
            ("r.example", Some("host:1")),
            ("r.example:5000/acme", None),
            ("r.example.org/acme", None),
        ] {
            assert_eq!(found(&all, name), Ok(expected.map(str::to_owned)), "{name}");
        }
        let second = auth("r.example", "other:4");
        assert_eq!(found(&[&host, &second], "r.example/x"), Ok(Some("host:1".to_owned())));
    }

    #[test]
    fn dockers_spellings_are_known() {
        for (key, name) in [
            ("https://index.docker.io/v1/", "docker.io/acme/gw"),
            ("registry-1.docker.io", "docker.io/acme/gw"),
            ("https://r.example:5000", "r.example:5000/x"),
            ("http://r.example/v2/", "r.example/x"),
        ] {
            assert_eq!(found(&[&auth(key, "a:b:c")], name), Ok(Some("a:b:c".to_owned())), "{key}");
        }
        let token = r#"{"auths":{"r.example":{"auth":"AAAA","identitytoken":"t"}}}"#;
        assert_eq!(found(&[token], "r.example/x"), Ok(Some("t".to_owned())));
        let plain = r#"{"auths":{"r.example":{"username":"u","password":"p"}}}"#;
        assert_eq!(found(&[plain], "r.example/x"), Ok(Some("u:p".to_owned())));
    }

    #[test]
    fn helpers_are_not_run_and_empty_entries_are_none() {
        let empty =
            r#"{"auths":{"r.example":{}},"credHelpers":{"r.example":"x"},"credsStore":"y"}"#;
        assert_eq!(found(&[empty], "r.example/x"), Ok(None));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_said_without_its_secrets() {
        for (text, expected) in [
            ("{\n\"auths\": secret", "credentials: dir/0:2: not in the form of auth.json"),
            (
                r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#,
                "credentials: dir/0: auth of r.example is not name:password in base64",
            ),
            (&" ".repeat(256 * 1024 + 1), "credentials: dir/0 is more than 262144 bytes"),
        ] {
            assert_eq!(found(&[text], "r.example/x"), Err(expected.to_owned()));
        }
        let credentials = Credentials::Identity("secret".to_owned());
        assert_eq!(format!("{credentials:?}"), "Credentials");
    }
}
