//! Debian's docker-registry on loopback, as long as a test runs. It has no referrers API, as many
//! have none.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::{Bench, tool};

pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
}

impl Registry {
    pub(crate) fn start(bench: &Bench) -> Self {
        let config = bench.path("registry.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nhttp:\n  addr: 127.0.0.1:0\n\
             storage:\n  filesystem:\n    rootdirectory: {}\n",
            bench.path("registry").display()
        );
        fs::write(&config, text).unwrap();
        let mut serve = tool("docker-registry");
        serve.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = serve.spawn();
        let mut process = started.unwrap_or_else(|cause| {
            panic!("docker-registry: {cause}; run: cargo full-test, which installs it")
        });
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
        Self { process, address }
    }

    /// A name in the one repository that the tests use.
    pub(crate) fn name(&self, tag: &str) -> String {
        format!("{}/acme/gateway:{tag}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A tool that leaves the home of whoever runs the tests alone.
pub(crate) fn homeless(bench: &Bench, name: &str) -> Command {
    let mut command = tool(name);
    command.env("HOME", bench.path("")).env("DOCKER_CONFIG", bench.path(""));
    command.env("COSIGN_PASSWORD", "").env("XDG_CONFIG_HOME", bench.path("config"));
    command.current_dir(bench.path(""));
    command
}
