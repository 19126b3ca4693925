//! `cargo demo`: the main job from end to end, on real images, without root.
//!
//! Slots and boot environment are plain files below one folder; the loader is a small player over
//! the same decision that the real boot scripts make. Everything else is what a device runs.

mod boot;
mod shell;
mod tamper;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use serde_json::Value;

use crate::{device::Device, full_test, programs, sample, say, tree};
use boot::{TRIES, Userspace};
use shell::{Shell, Trouble};

const USAGE: &str = "usage: cargo demo [--folder DIR]

Seals, signs, installs, boots, updates and falls back, showing each command and its output.

  --folder DIR   keep device and releases in DIR (default: target/demo)";

/// Exit codes of `gybe` that the demo looks for.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const REFUSED: i32 = 3;

/// The file that says that a folder may be removed by the next run.
const MARK: &str = "made-by-cargo-demo";

/// Runs the demo: exit code 0 when everything went as it should.
pub fn main(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut folder = tree::target().join("demo");
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--folder", Some(given)) => folder = PathBuf::from(given),
            ("--help" | "-h", _) => {
                say::line(USAGE);
                return ExitCode::SUCCESS;
            }
            _ => {
                say::trouble(&format!("cannot use `{argument}`\n{USAGE}"));
                return ExitCode::from(2);
            }
        }
    }
    if let Err(missing) = full_test::install(full_test::Purpose::Images) {
        let line = missing.line;
        say::trouble(&format!(
            "Debian packages are missing. Run this, then again:\n\n    {line}\n"
        ));
        return ExitCode::from(2);
    }
    match prepare(&folder).and_then(|demo| demo.play()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble(what)) => {
            say::trouble(&format!("\ndemo: {what}"));
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    shell: Shell,
    samples: sample::Samples,
    device: Device,
    releases: PathBuf,
    folder: PathBuf,
}

/// Builds the programs and makes the images: what the two minutes do not count.
fn prepare(folder: &Path) -> Result<Demo, Trouble> {
    say::heading("build and sample images (not counted)");
    let programs = programs::build().map_err(Trouble)?;
    let samples = sample::images().map_err(Trouble)?;
    // A folder of somebody else's, named by mistake, must survive.
    let ours = folder.join(MARK);
    if ours.exists() {
        fs::remove_dir_all(folder)?;
    } else if folder.exists() && fs::read_dir(folder)?.next().is_some() {
        return Err(Trouble(format!("{} is not empty and not ours", folder.display())));
    }
    fs::create_dir_all(folder)?;
    fs::write(&ours, "")?;
    let folder = folder.canonicalize()?;
    let shell = Shell { programs };
    let device = Device::create(&folder.join("device"), &samples)?;
    Ok(Demo { shell, samples, device, releases: folder.join("releases"), folder })
}

impl Demo {
    fn play(&self) -> Result<(), Trouble> {
        let start = Instant::now();
        self.first_install()?;
        clock(start);
        self.update()?;
        clock(start);
        self.tampered_releases()?;
        clock(start);
        self.failing_release()?;
        say::heading("done");
        say::line(&format!("the device is in {}", self.device.root().display()));
        say::line(&format!("took {:.1} s", start.elapsed().as_secs_f64()));
        Ok(())
    }

    fn first_install(&self) -> Result<(), Trouble> {
        say::heading("1. seal and sign the first version: Debian 12 with kernel and systemd");
        say::line(
            "Nothing boots these images here (`cargo hw` does that with others), so they lack the agent.",
        );
        self.seal("v1", "1")?;
        self.sign(&self.release("v1"), &self.samples.key())?;
        say::heading("2. provision an empty device: slot A");
        self.status("-", "unbootable", "unbootable")?;
        self.gybe(&["install", &self.release("v1"), "--slot", "a"], DONE)?;
        self.status("-", "trial 3", "unbootable")?;
        self.boot("a", Userspace::Healthy)?;
        self.gybe(&["commit"], DONE)?;
        self.status("a", "good", "unbootable")
    }

    fn update(&self) -> Result<(), Trouble> {
        say::heading("3. seal the second version: months of security updates");
        self.seal("v2", "2")?;
        self.sign(&self.release("v2"), &self.samples.key())?;
        say::heading("4. update: slot B, with what slot A already has");
        self.gybe(&["plan", &self.release("v2")], DONE)?;
        self.gybe(&["install", &self.release("v2")], DONE)?;
        self.status("a", "good", "trial 3")?;
        self.boot("b", Userspace::Healthy)?;
        self.gybe(&["commit"], DONE)?;
        self.status("b", "good", "good")
    }

    fn tampered_releases(&self) -> Result<(), Trouble> {
        say::heading("5. tampered releases are refused");
        self.seal("v3", "3")?;
        let unsigned = self.release("v3");
        say::line("\nnobody signed it:");
        self.gybe(&["install", &unsigned], REFUSED)?;
        say::line("\nsomebody else signed it:");
        let strange = tamper::copy(&self.releases, &self.folder.join("stranger"))?;
        let strange = format!("oci:{}:v3", strange.display());
        self.sign(&strange, &self.samples.strange_key())?;
        self.gybe(&["install", &strange], REFUSED)?;
        self.sign(&unsigned, &self.samples.key())?;
        say::line("\none bit of the signed manifest is flipped:");
        let manifest = tamper::copy(&self.releases, &self.folder.join("manifest"))?;
        tamper::flip_in_manifest(&manifest, "v3")?;
        self.gybe_refuses(&["install", &format!("oci:{}:v3", manifest.display())])?;
        self.status("b", "good", "good")?;
        say::line("\none bit of the data is flipped: the release is right, a block is not:");
        let pack = tamper::copy(&self.releases, &self.folder.join("pack"))?;
        tamper::flip_in_last_pack(&pack, "v3")?;
        self.gybe(&["install", &format!("oci:{}:v3", pack.display())], FAILED)?;
        self.status("b", "unbootable", "good")
    }

    fn failing_release(&self) -> Result<(), Trouble> {
        say::heading("6. a version that fails its health check falls back by itself");
        self.gybe(&["install", &self.release("v3")], DONE)?;
        self.status("b", "trial 3", "good")?;
        for attempt in 1..=TRIES {
            say::line(&format!("\nattempt {attempt} of {}:", TRIES));
            self.boot("a", Userspace::Broken)?;
            let left = format!("trial {}", TRIES - attempt);
            self.status("a", &left, "good")?;
        }
        say::line("\nthe tries are spent:");
        self.boot("b", Userspace::Healthy)?;
        self.status("b", "failed tries", "good")
    }

    fn release(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.releases.display())
    }

    fn seal(&self, tag: &str, number: &str) -> Result<(), Trouble> {
        let (image, output) = (self.samples.image(tag), self.release(tag));
        let version = format!("{number}.0.0");
        let mut arguments = vec!["seal", "--image", &image, "--output", &output];
        arguments.extend(["--compatible", sample::COMPATIBLE, "--version", &version]);
        arguments.extend(["--rollback-index", "1", "--sequence", number, "--level", "3"]);
        self.shell.run("gybe-publish", &arguments, DONE)
    }

    fn sign(&self, release: &str, key: &Path) -> Result<(), Trouble> {
        self.shell.run("gybe-publish", &["sign", "--key", &key.to_string_lossy(), release], DONE)
    }

    fn gybe(&self, arguments: &[&str], expected: i32) -> Result<(), Trouble> {
        let root = self.device.root().to_string_lossy();
        self.shell.run("gybe", &[&["--root", &*root], arguments].concat(), expected)
    }

    /// Shows the status; what it says of the running slot (`-`: none) and of both slots must be this.
    fn status(&self, running: &str, a: &str, b: &str) -> Result<(), Trouble> {
        self.gybe(&["status"], DONE)?;
        let root = self.device.root().to_string_lossy();
        let told = self.shell.json("gybe", &["--root", &root, "status", "--json"])?;
        let word = |at: &str| match told.pointer(at) {
            Some(Value::String(word)) => word.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let slot = |name: &str| {
            let parts =
                ["state", "tries_left", "reason"].map(|part| word(&format!("/{name}/{part}")));
            parts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let found = (word("/running"), slot("a"), slot("b"));
        let runs = if found.0.is_empty() { "-" } else { &found.0 };
        if (runs, &*found.1, &*found.2) == (running, a, b) {
            return Ok(());
        }
        Err(Trouble(format!("expected running {running}, a {a}, b {b}; found {found:?}")))
    }

    /// A release whose bytes do not even fit its own digest may fail before its signature does.
    fn gybe_refuses(&self, arguments: &[&str]) -> Result<(), Trouble> {
        let root = self.device.root().to_string_lossy();
        let arguments = [&["--root", &*root], arguments].concat();
        match self.shell.code("gybe", &arguments)? {
            FAILED | REFUSED => Ok(()),
            code => Err(Trouble(format!("expected a refusal, gybe ended with {code}"))),
        }
    }
}

fn clock(start: Instant) {
    say::line(&format!("\n(after {:.1} s)", start.elapsed().as_secs_f64()));
}
