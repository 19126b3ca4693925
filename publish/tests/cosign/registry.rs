//! A registry of our own on a port of its own, for as long as a test runs.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;

use crate::bench::Release;
use crate::tools;

/// Debian's docker-registry on loopback. It has no referrers API, as many have none.
pub(crate) struct Registry {
    process: Child,
    address: String,
    _root: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = root.path().join("config.yml");
        let blobs = root.path().join("blobs");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog:\n  level: info\nhttp:\n  addr: 127.0.0.1:0\n\
                 storage:\n  filesystem:\n    rootdirectory: {}\n",
                blobs.display()
            ),
        )
        .unwrap();
        let mut process = tools::find("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "docker-registry ended");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split('"').next().unwrap().to_owned();
            }
        };
        // It stops when nobody reads what it says.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Self { process, address, _root: root }
    }

    /// The name of a release in a repository of this registry.
    pub(crate) fn name(&self, repository: &str, release: &Release) -> String {
        format!("{}/acme/{repository}@{}", self.address, release.digest)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
