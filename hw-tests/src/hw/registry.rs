//! A registry that a target pulls from: Debian's, on loopback, with TLS and a password.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use super::trouble::Trouble;
use crate::run;

/// Who may pull. The password is one of a registry that lives as long as a case.
const USER: &str = "device";
const PASSWORD: &str = "of-a-test";
/// Where QEMU's user network has the host's loopback. Source: QEMU documentation, "Using the user
/// mode network stack".
const HOST_SEEN_FROM_GUEST: &str = "10.0.2.2";
/// How long its certificates last, in days: as long as a run, with room.
const DAYS: &str = "2";

/// What a target must know to pull.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Host and port, as the target reaches them.
    pub(crate) address: String,
    /// The certificate, in PEM, of who vouches for it.
    pub(crate) authority: String,
    /// A file of credentials, as `podman login` writes it.
    pub(crate) credentials: String,
}

/// What registries of one guest are started from: releases, certificates, who may pull.
#[derive(Clone, Debug)]
pub(crate) struct Store(PathBuf);

/// A registry at work; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    port: u16,
}

impl Store {
    /// Makes one in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self, Trouble> {
        fs::create_dir_all(folder)?;
        let store = Self(folder.to_owned());
        let authority =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS, "-subj", "/CN=lab"];
        store.openssl(&[&authority[..], &["-keyout", "ca.key", "-out", "ca.pem"]].concat())?;
        let wanted = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=registry"];
        store.openssl(&[&wanted[..], &["-keyout", "tls.key", "-out", "tls.csr"]].concat())?;
        let names = format!("subjectAltName=IP:127.0.0.1,IP:{HOST_SEEN_FROM_GUEST}\n");
        fs::write(store.0.join("names"), names)?;
        store.openssl(&[
            "x509",
            "-req",
            "-in",
            "tls.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            DAYS,
            "-extfile",
            "names",
            "-out",
            "tls.pem",
        ])?;
        let hash = "print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))";
        let hash = run::answer(run::command("perl").args(["-e", hash, PASSWORD]));
        let hash = hash.ok_or_else(|| Trouble::harness("perl has no bcrypt"))?;
        fs::write(store.0.join("htpasswd"), format!("{USER}:{hash}\n"))?;
        Ok(store)
    }

    fn openssl(&self, arguments: &[&str]) -> Result<(), Trouble> {
        let mut openssl = run::command("openssl");
        openssl.args(arguments).current_dir(&self.0).stderr(Stdio::null());
        let shown = run::shown(&openssl);
        run::answer(&mut openssl).map(drop).ok_or_else(|| Trouble::harness(shown))
    }

    /// Copies a release with its signatures from a layout into a repository.
    pub(crate) fn push(&self, publish: &Path, layout: &Path, tag: &str) -> Result<(), Trouble> {
        let registry = self.start()?;
        let host = format!("127.0.0.1:{}", registry.port);
        let auth = self.0.join("push.json");
        fs::write(&auth, credentials(&host))?;
        let mut push = run::command(&publish.to_string_lossy());
        push.arg("bundle").arg(format!("oci:{}:{tag}", layout.display()));
        push.arg("--output").arg(format!("docker://{host}/guest:{tag}"));
        push.env("REGISTRY_AUTH_FILE", &auth).env("SSL_CERT_FILE", self.0.join("ca.pem"));
        succeed(&mut push)
    }

    /// Starts one on a port of its own.
    pub(crate) fn start(&self) -> Result<Registry, Trouble> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let path = |name: &str| self.0.join(name).display().to_string();
        let config = self.0.join(format!("config-{port}.yml"));
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog:\n  level: info\n\
                 storage:\n  filesystem:\n    rootdirectory: {}\n\
                 auth:\n  htpasswd:\n    realm: lab\n    path: {}\n\
                 http:\n  addr: 127.0.0.1:{port}\n  tls:\n    certificate: {}\n    key: {}\n",
                path("blobs"),
                path("htpasswd"),
                path("tls.pem"),
                path("tls.key"),
            ),
        )?;
        let mut serve = run::command("docker-registry");
        serve.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = serve.spawn()?;
        let Some(log) = process.stderr.take() else {
            return Err(Trouble::harness("docker-registry has no log"));
        };
        // Ended on every way out.
        let registry = Registry { process, port };
        let mut log = BufReader::new(log);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                return Err(Trouble::harness("docker-registry ended"));
            }
        }
        // It stops when nobody reads what it says.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Ok(registry)
    }

    /// How a guest of QEMU pulls from it.
    pub(crate) fn seen_from_guest(&self, registry: &Registry) -> Result<Access, Trouble> {
        let address = format!("{HOST_SEEN_FROM_GUEST}:{}", registry.port);
        let authority = fs::read_to_string(self.0.join("ca.pem"))?;
        let credentials = credentials(&address);
        Ok(Access { address, authority, credentials })
    }
}

/// Source: containers-auth.json(5).
fn credentials(host: &str) -> String {
    use base64::Engine as _;

    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    serde_json::json!({"auths": {host: {"auth": auth}}}).to_string()
}

fn succeed(command: &mut Command) -> Result<(), Trouble> {
    let shown = run::shown(command);
    let output = command.output().map_err(|why| Trouble::harness(format!("{shown}: {why}")))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::harness(format!("{shown}: {}: {}", output.status, errors.trim())))
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
