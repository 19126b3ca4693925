//! Debian's docker-registry on loopback, filled without a push, as long as a test or a measurement
//! runs; and links to it that break.
//!
//! It has no referrers API, as many have none, so that what is about a release lies under the tag of
//! its digest. Files are put where distribution 2.8 keeps them: `docker/registry/v2/blobs` and
//! `…/repositories`.

mod link;

use std::{
    collections::BTreeMap,
    fs, io,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use link::{Breaks, Link};

/// The address of this machine in a network of two, which the certificate names beside 127.0.0.1.
pub const LOSSY_ADDRESS: [u8; 4] = [10, 77, 0, 1];
/// Where QEMU's user network has the host's loopback; the certificate names it too. Source: QEMU's
/// documentation, "Using the user mode network stack".
pub(crate) const SEEN_FROM_GUEST: &str = "10.0.2.2";
/// Who may read.
pub const NAME: &str = "device";
/// The password of [`NAME`], which no other registry has.
pub const PASSWORD: &str = "let-me-in";
/// Its bcrypt, made by crypt(3): `crypt.crypt(PASSWORD, crypt.mksalt(METHOD_BLOWFISH, rounds=16))`.
const PASSWORD_HASH: &str = "$2b$04$F.jt2JVwmhzeSU6xobEO5uD9Hgm3VwGJb5hrlsOEcd.PIUl5Rfhk2";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What was asked for.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: u64,
}

/// A registry that speaks TLS and asks who is there.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    folder: PathBuf,
    port: u16,
    log: Arc<Mutex<Vec<Answered>>>,
}

impl Registry {
    /// Starts one that keeps everything in `folder`, which is new.
    ///
    /// # Errors
    /// In words.
    pub fn start(folder: &Path) -> Result<Self, String> {
        let words = |cause: io::Error| format!("registry: {cause}");
        fs::create_dir_all(folder).map_err(words)?;
        certificates(folder)?;
        let at = |name: &str| folder.join(name).display().to_string();
        fs::write(at("htpasswd"), format!("{NAME}:{PASSWORD_HASH}\n")).map_err(words)?;
        let guard = format!(
            "  tls:\n    certificate: {}\n    key: {}\n\
             auth:\n  htpasswd:\n    realm: gybe\n    path: {}\n",
            at("server.crt"),
            at("server.key"),
            at("htpasswd"),
        );
        Self::serve(folder, &guard)
    }

    /// Starts one without TLS, which anybody may read and write.
    ///
    /// # Errors
    /// In words.
    pub fn start_unguarded(folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|cause| format!("registry: {cause}"))?;
        Self::serve(folder, "")
    }

    /// `guard` is what follows in the configuration, below `http` and after it.
    fn serve(folder: &Path, guard: &str) -> Result<Self, String> {
        let words = |cause: io::Error| format!("registry: {cause}");
        let at = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n{guard}",
            at("data"),
        );
        fs::write(at("config.yml"), config).map_err(words)?;
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| format!("docker-registry: {cause}"))?;
        let log = process.stderr.take().ok_or("docker-registry says nothing")?;
        let port = port_in(BufReader::new(log))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        if let Some(lines) = process.stdout.take() {
            let kept = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(lines).lines().map_while(Result::ok) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend(answered(&line));
                }
            });
        }
        Ok(Self { process, folder: folder.to_owned(), port, log })
    }

    /// Where it listens on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// The requests that were answered so far, in order; and forgets them.
    #[must_use]
    pub fn take_log(&self) -> Vec<Answered> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How a release there is spelt, reached through `port`.
    #[must_use]
    pub fn source(port: u16, repository: &str, tag: &str) -> String {
        format!("docker://127.0.0.1:{port}/{repository}:{tag}")
    }

    /// Lets the device below `root` believe and enter it, reached through `port`.
    ///
    /// # Errors
    /// In words.
    pub fn admit(&self, root: &Path, port: u16) -> Result<(), String> {
        self.admit_to(root, &format!("127.0.0.1:{port}"))
    }

    /// The same, reached under another address, which its certificate must name.
    ///
    /// # Errors
    /// In words.
    pub fn admit_to(&self, root: &Path, host: &str) -> Result<(), String> {
        let words = |cause: io::Error| format!("device: {cause}");
        let certificates = root.join(format!("etc/containers/certs.d/{host}"));
        fs::create_dir_all(&certificates).map_err(words)?;
        fs::copy(self.folder.join("ca.crt"), certificates.join("ca.crt")).map_err(words)?;
        let file = root.join("etc/gybe/auth.json");
        let mut auths: Value = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_else(|| json!({ "auths": {} }));
        if let Some(auths) = auths.get_mut("auths").and_then(Value::as_object_mut) {
            auths.insert(host.to_owned(), credentials());
        }
        fs::create_dir_all(root.join("etc/gybe")).map_err(words)?;
        fs::write(file, auths.to_string()).map_err(words)
    }

    /// What someone must know who reaches it as `host`, which its certificate names: the certificate
    /// of who vouches for it, and credentials.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn papers(&self, host: &str) -> Result<(String, String), String> {
        let authority = fs::read_to_string(self.folder.join("ca.crt"));
        let authority = authority.map_err(|cause| format!("registry: {cause}"))?;
        Ok((authority, json!({ "auths": { host: credentials() } }).to_string()))
    }

    /// Puts everything of a layout into a repository, under the tags that it has there.
    ///
    /// # Errors
    /// In words.
    pub fn put(&self, layout: &Path, repository: &str) -> Result<(), String> {
        let words = |cause: io::Error| format!("{}: {cause}", layout.display());
        let read = |path: PathBuf| fs::read(path).map_err(words);
        let mut about: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for blob in fs::read_dir(layout.join("blobs/sha256")).map_err(words)? {
            let path = blob.map_err(words)?.path();
            let hex = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.blob(repository, &hex, |to| {
                fs::hard_link(&path, to).or_else(|_| fs::copy(&path, to).map(drop))
            })?;
        }
        let text = read(layout.join("index.json"))?;
        let index: Value = serde_json::from_slice(&text).map_err(|cause| cause.to_string())?;
        for entry in index.get("manifests").and_then(Value::as_array).into_iter().flatten() {
            let hex = hex_of(entry).ok_or("an entry without a digest")?;
            let tag = entry.pointer(&format!("/annotations/{REF_NAME}")).and_then(Value::as_str);
            self.manifest(repository, &hex, tag)?;
            let text = read(layout.join("blobs/sha256").join(&hex))?;
            let manifest: Value =
                serde_json::from_slice(&text).map_err(|cause| cause.to_string())?;
            for inner in manifest.get("manifests").and_then(Value::as_array).into_iter().flatten() {
                self.manifest(repository, &hex_of(inner).unwrap_or_default(), None)?;
            }
            if let Some(subject) = manifest.get("subject").and_then(hex_of) {
                let size = text.len();
                let kind = manifest.get("mediaType").cloned().unwrap_or_default();
                let entry =
                    json!({ "mediaType": kind, "digest": format!("sha256:{hex}"), "size": size });
                about.entry(subject).or_default().push(entry);
            }
        }
        for (subject, entries) in about {
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
            let text = index.to_string();
            let hex: String =
                Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            self.blob(repository, &hex, |to| fs::write(to, &text))?;
            self.manifest(repository, &hex, Some(&format!("sha256-{subject}")))?;
        }
        Ok(())
    }

    fn blob(
        &self,
        repository: &str,
        hex: &str,
        make: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), String> {
        let words = |cause: io::Error| format!("registry: {cause}");
        let start = hex.get(..2).ok_or("a blob with a short name")?;
        let folder = self.data().join("blobs/sha256").join(start).join(hex);
        fs::create_dir_all(&folder).map_err(words)?;
        if !folder.join("data").exists() {
            make(&folder.join("data")).map_err(words)?;
        }
        self.link(repository, &format!("_layers/sha256/{hex}"), hex)
    }

    fn manifest(&self, repository: &str, hex: &str, tag: Option<&str>) -> Result<(), String> {
        self.link(repository, &format!("_manifests/revisions/sha256/{hex}"), hex)?;
        let Some(tag) = tag else { return Ok(()) };
        self.link(repository, &format!("_manifests/tags/{tag}/index/sha256/{hex}"), hex)?;
        self.link(repository, &format!("_manifests/tags/{tag}/current"), hex)
    }

    fn link(&self, repository: &str, path: &str, hex: &str) -> Result<(), String> {
        let folder = self.data().join("repositories").join(repository).join(path);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("link"), format!("sha256:{hex}")))
            .map_err(|cause| format!("registry: {cause}"))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data/docker/registry/v2")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An entry of `auth.json` for whoever may read.
fn credentials() -> Value {
    json!({ "username": NAME, "password": PASSWORD })
}

/// The digits of a descriptor's digest.
fn hex_of(descriptor: &Value) -> Option<String> {
    descriptor.get("digest")?.as_str()?.strip_prefix("sha256:").map(str::to_owned)
}

/// Reads on until the registry says where it listens, and then for as long as it says anything: it
/// stops when nobody reads.
fn port_in(mut log: BufReader<std::process::ChildStderr>) -> Result<u16, String> {
    let mut line = String::new();
    loop {
        let before = std::mem::take(&mut line);
        let len = log.read_line(&mut line).map_err(|cause| format!("docker-registry: {cause}"))?;
        if len == 0 {
            return Err(format!("docker-registry ended before it listened: {}", before.trim()));
        }
        if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            thread::spawn(move || io::copy(&mut log, &mut io::sink()));
            return digits.parse().map_err(|_| format!("docker-registry: {}", line.trim()));
        }
    }
}

/// A line of the access log: `HOST - - [TIME] "GET PATH HTTP/2.0" STATUS BYTES "" "AGENT"`.
fn answered(line: &str) -> Option<Answered> {
    let (_, rest) = line.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let path = request.split(' ').nth(1)?.to_owned();
    let mut words = rest.split(' ');
    let (status, bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Answered { path, status, bytes })
}

/// Makes an authority of its own (`ca.crt`) and the registry's certificate (`server.crt`, `server.key`)
/// in a folder.
///
/// # Errors
/// In words.
pub fn certificates(folder: &Path) -> Result<(), String> {
    let make = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-days", "30"]);
        openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]).args(arguments);
        let made = openssl.current_dir(folder).output();
        let made = made.map_err(|cause| format!("openssl: {cause}"))?;
        let words = String::from_utf8_lossy(&made.stderr).into_owned();
        if made.status.success() { Ok(()) } else { Err(format!("openssl: {words}")) }
    };
    make(&["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"])?;
    make(&[
        "-subj",
        "/CN=registry",
        "-keyout",
        "server.key",
        "-out",
        "server.crt",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-addext",
        "subjectAltName=IP:127.0.0.1,IP:10.77.0.1,IP:10.0.2.2",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_access_log_is_a_request() {
        let line = "127.0.0.1 - device [26/Nov/2026:22:00:00 +0000] \"GET /v2/a/b/blobs/sha256:0 \
                    HTTP/2.0\" 206 1234 \"\" \"gybe/0.1.0\"";
        let path = "/v2/a/b/blobs/sha256:0".to_owned();
        assert_eq!(answered(line), Some(Answered { path, status: 206, bytes: 1234 }));
        assert_eq!(answered("time=\"2026\" level=info msg=\"x\""), None);
    }
}
