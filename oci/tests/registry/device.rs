//! The client's side: a folder in place of `/`, and short limits.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use gybe_core::digest::Digest;
use gybe_oci::{Access, Blob, Limits, Source, Sources, Traffic};

use crate::server::{Authority, Server};

/// A device with files of its own.
pub(crate) struct Device {
    root: tempfile::TempDir,
    pub(crate) access: Access,
}

impl Device {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut access = Access::below(root.path());
        access.limits = Limits {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            document: Duration::from_secs(20),
            overall: Duration::from_secs(120),
            rate_min: 0,
            rate_window: Duration::from_millis(200),
            tries: 3,
            wait_first: Duration::from_millis(1),
            wait_max: Duration::from_millis(4),
            retry_after_max: Duration::from_secs(5),
        };
        Self { root, access }
    }

    /// A device that reaches these servers without TLS.
    pub(crate) fn of(servers: &[&Server]) -> Self {
        let device = Self::new();
        let one = |it: &&Server| {
            format!("[[registry]]\nlocation = \"127.0.0.1:{}\"\ninsecure = true\n", it.port)
        };
        device.write("etc/containers/registries.conf", servers.iter().map(one).collect::<String>());
        device
    }

    /// A device that believes `authority` about this server.
    pub(crate) fn believing(authority: &Authority, server: &Server) -> Self {
        let device = Self::new();
        device.write(
            &format!("etc/containers/certs.d/127.0.0.1:{}/ca.crt", server.port),
            authority.certificate(),
        );
        device
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Gives the device a name and a password for a registry.
    pub(crate) fn login(&self, host: &str, name: &str, password: &str) {
        let text =
            format!(r#"{{"auths":{{"{host}":{{"username":"{name}","password":"{password}"}}}}}}"#);
        self.write("etc/gybe/auth.json", text);
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources::new(self.access.clone())
    }

    /// The repository `a/b` of a server.
    pub(crate) fn source(&self, server: &Server) -> Source {
        let reference = format!("docker://127.0.0.1:{}/a/b:t", server.port);
        self.sources().open(&reference.parse().unwrap()).unwrap()
    }

    /// A blob in that repository, and where it is.
    pub(crate) fn blob(&self, server: &Server, bytes: &[u8]) -> (Source, Blob) {
        let source = self.source(server);
        let blob = source.blob_of_len(&Digest::of(bytes), bytes.len() as u64).unwrap();
        (source, blob)
    }
}

/// Bytes that differ everywhere.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// All of a blob, or what is said.
pub(crate) fn read_all(blob: &Blob) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    blob.reader().read_to_end(&mut all).map_err(|cause| cause.to_string())?;
    Ok(all)
}

/// A part of a blob, or what is said.
pub(crate) fn read_part(blob: &Blob, at: usize, len: usize) -> Result<Vec<u8>, String> {
    let mut part = vec![0; len];
    blob.read_at(at as u64, &mut part).map_err(|cause| cause.to_string())?;
    Ok(part)
}

pub(crate) fn traffic(source: &Source) -> Traffic {
    source.traffic().unwrap()
}
