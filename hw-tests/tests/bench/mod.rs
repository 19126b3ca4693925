//! A bench for judges: small images, releases that can be damaged, and devices to try them on.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unused_imports, reason = "each test file uses a part of it")]

mod device;
mod homeless;
mod image;
mod parts;
mod recipe;
mod rows;
mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use device::{Device, Snapshot, config};
pub(crate) use homeless::homeless;
pub(crate) use image::{MODULES, Small, image, native};
pub(crate) use parts::{Parts, hex};
pub(crate) use recipe::{Digest, Release};
pub(crate) use rows::{Leaves, Row, annotate, configure, halve, judge, resign, row};
pub(crate) use run::{Ended, run, succeed, tool};

pub(crate) const DONE: i32 = 0;
pub(crate) const FAILED: i32 = 1;
pub(crate) const REFUSED: i32 = 3;

/// What the devices here are.
pub(crate) const COMPATIBLE: &str = "acme-gateway";

/// A folder with programs, keys, images and releases, made anew by each test file.
pub(crate) struct Bench {
    programs: PathBuf,
    folder: PathBuf,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let bench = Self { programs: gybe_hw_tests::programs::build().unwrap(), folder };
        for name in ["release", "stranger"] {
            let (private, public) = (bench.path(&format!("{name}.pem")), bench.public_key(name));
            let mut make = tool("openssl");
            make.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
            succeed(make.arg("-out").arg(&private));
            succeed(
                tool("openssl")
                    .args(["pkey", "-pubout", "-in"])
                    .arg(private)
                    .arg("-out")
                    .arg(public),
            );
        }
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pem"))
    }

    pub(crate) fn public_key(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pub"))
    }

    /// One of our programs.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = tool(&self.programs.join(name).to_string_lossy());
        command.env_remove("GYBE_LOG");
        command
    }

    /// What sealing `image` into the layout `output` needs, to be changed before it is run.
    pub(crate) fn seal_command(&self, image: &str, output: &str, number: u32) -> Command {
        self.seal_to(image, &self.source(output), number)
    }

    /// The same for any output, as it is spelt.
    pub(crate) fn seal_to(&self, image: &str, output: &str, number: u32) -> Command {
        let mut seal = self.program("gybe-publish");
        seal.args(["seal", "--image", image, "--output", output, "--level", "3"]);
        seal.args(["--compatible", COMPATIBLE, "--rollback-index", "1", "--json"]);
        seal.args(["--version", &format!("{number}.0.0"), "--sequence", &number.to_string()]);
        seal
    }

    /// Seals and signs an image; the report is what is said.
    pub(crate) fn seal(&self, image: &str, output: &str, number: u32) -> serde_json::Value {
        let mut seal = self.seal_command(image, output, number);
        seal.arg("--key").arg(self.key("release"));
        serde_json::from_str(&succeed(&mut seal)).unwrap()
    }

    pub(crate) fn sign(&self, layout: &str, key: &str) {
        let mut sign = self.program("gybe-publish");
        succeed(sign.arg("sign").arg("--key").arg(self.key(key)).arg(self.source(layout)));
    }

    /// How a release in the layout `name` is spelt.
    pub(crate) fn source(&self, name: &str) -> String {
        format!("oci:{}:release", self.path(name).display())
    }

    /// A copy of a layout.
    pub(crate) fn copy(&self, from: &str, to: &str) -> Parts {
        succeed(tool("cp").arg("-r").arg(self.path(from)).arg(self.path(to)));
        Parts::read(&self.path(to))
    }
}
