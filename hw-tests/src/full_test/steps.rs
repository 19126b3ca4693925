//! The steps of the full test, cheap ones first.

use std::{fs, process::Command};

use serde_json::Value;

use super::{Step, Tally};
use crate::{guest::Architecture, run, sample, tree};

/// The crate that reads licences, bans and sources, and the version we trust to do it.
const CARGO_DENY: &str = "0.20.2";
/// The targets that the core and both loader crates must build for, without the standard library.
const BARE_TARGETS: &[&str] = &["thumbv7em-none-eabihf", "aarch64-unknown-none"];
/// The crates that run below an operating system.
const BARE_PACKAGES: &[&str] = &["gybe-core", "gybe-uboot", "gybe-grub"];
/// The package outside the workspace: the core on a microcontroller.
const FIRMWARE: &str = "hw-tests/cortex-m4/Cargo.toml";

/// Every step, in order.
pub(crate) const ALL: &[Step] = &[
    Step { name: "fmt", run: fmt },
    Step { name: "tools", run: tools },
    Step { name: "deny", run: deny },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "features", run: features },
    Step { name: "bare-metal", run: bare_metal },
    Step { name: "aarch64", run: aarch64 },
    Step { name: "samples", run: samples },
    Step { name: "tests", run: tests },
    Step { name: "demo", run: demo },
    Step { name: "hw", run: hw },
];

fn holds(command: &mut Command) -> Result<Tally, String> {
    match run::to_end(command) {
        Ok(status) if status.success() => Ok(Tally::ONE),
        Ok(status) => Err(format!("{}: {status}", run::shown(command))),
        Err(cause) => Err(format!("cannot run {}: {cause}", run::shown(command))),
    }
}

fn fmt() -> Result<Tally, String> {
    let mut tally = holds(run::cargo().args(["fmt", "--all", "--check"]))?;
    tally += holds(run::cargo().args(["fmt", "--check", "--manifest-path", FIRMWARE]))?;
    Ok(tally)
}

fn clippy() -> Result<Tally, String> {
    let mut clippy = run::cargo();
    clippy.args(["clippy", "--locked", "--workspace", "--all-targets", "--all-features"]);
    holds(clippy.args(["--", "-D", "warnings"]))
}

/// Links in the documentation lead somewhere. What programs print as help is not Markdown, so those
/// two stay out.
fn docs() -> Result<Tally, String> {
    let mut doc = run::cargo();
    doc.args(["doc", "--locked", "--no-deps", "--all-features", "--workspace"]);
    doc.args(["--exclude", "gybe-agent", "--exclude", "gybe-publish"]);
    holds(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Tools that are newer than the host's, each in its own folder; the host stays as it is.
fn tools() -> Result<Tally, String> {
    let tools = tree::tools();
    let script = tree::root().join("hw-tests/tools");
    for name in ["newer-tools.sh", "machines.sh", "redundant-u-boot.sh"] {
        holds(run::command("bash").arg(script.join(name)).arg(&tools))?;
    }
    holds(run::command("bash").arg(script.join("debian-rust.sh")).arg(tools.join("debian-rust")))
}

fn deny() -> Result<Tally, String> {
    let program = tree::tools().join("bin/cargo-deny");
    let version = run::answer(run::command(&program.to_string_lossy()).arg("--version"));
    if version.as_deref() != Some(&format!("cargo-deny {CARGO_DENY}")) {
        let mut install = run::cargo();
        install.args(["install", "--quiet", "--locked", "--debug", "--force"]);
        install.args(["--version", CARGO_DENY, "cargo-deny", "--root"]).arg(tree::tools());
        let build = tree::tools().join("build");
        holds(install.env("CARGO_TARGET_DIR", &build))?;
        // Nobody needs it any more.
        fs::remove_dir_all(&build).map_err(|cause| format!("{}: {cause}", build.display()))?;
    }
    let mut tally = Tally::default();
    for manifest in ["Cargo.toml", FIRMWARE] {
        let mut check = run::command(&program.to_string_lossy());
        check.args(["--locked", "--config", "deny.toml", "--manifest-path", manifest]);
        tally += holds(check.args(["check", "licenses", "bans", "sources"]))?;
    }
    Ok(tally)
}

/// Each feature of each package alone, and none of them.
fn features() -> Result<Tally, String> {
    let mut metadata = run::cargo();
    metadata.args(["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let text = run::answer(&mut metadata).ok_or("cargo metadata gives nothing")?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|cause| format!("cargo metadata: {cause}"))?;
    let mut tally = Tally::default();
    for package in metadata.get("packages").and_then(Value::as_array).into_iter().flatten() {
        let (Some(name), Some(features)) = (
            package.get("name").and_then(Value::as_str),
            package.get("features").and_then(Value::as_object),
        ) else {
            continue;
        };
        if features.is_empty() {
            continue;
        }
        let alone = features.keys().map(|feature| vec!["--features", feature.as_str()]);
        for choice in alone.chain([vec![]]) {
            let mut check = run::cargo();
            check.args(["check", "--quiet", "--locked", "--package", name]);
            tally += holds(check.arg("--no-default-features").args(choice))?;
        }
    }
    Ok(tally)
}

/// The core runs without an operating system: Debian's compiler builds it and Rust's own `core`
/// from source, so that no target has to be installed.
fn bare_metal() -> Result<Tally, String> {
    let compiler = tree::tools().join("debian-rust/rustc");
    let mut tally = Tally::default();
    for target in BARE_TARGETS {
        let mut build = run::cargo();
        build.args(["build", "--locked", "-Zbuild-std=core", "--target", target]);
        build.args(BARE_PACKAGES.iter().flat_map(|name| ["--package", name]));
        build.env("RUSTC", &compiler).env("RUSTC_BOOTSTRAP", "1");
        // One folder per compiler: they do not read each other's output.
        build.env("CARGO_TARGET_DIR", tree::target().join("bare-metal"));
        tally += holds(&mut build)?;
    }
    Ok(tally)
}

/// The agent for arm64 is built and starts.
fn aarch64() -> Result<Tally, String> {
    let agent = Architecture::Arm64.agent()?;
    holds(Architecture::Arm64.here(&agent).arg("--version"))
}

/// The images that judges and the demo use.
fn samples() -> Result<Tally, String> {
    sample::images().map(|_| Tally::ONE)
}

/// Every test, with every foreign judge.
fn tests() -> Result<Tally, String> {
    let mut test = run::cargo();
    test.args(["test", "--locked", "--workspace", "--all-features", "--no-fail-fast"]);
    test.env("GYBE_TOOLS", tree::tools());
    if run::is_root() {
        // A judge that is missing, or may not mount, fails its test.
        test.env("GYBE_JUDGES", "all");
    }
    many(&mut test, Tally::see_test)
}

/// The main job from end to end.
fn demo() -> Result<Tally, String> {
    holds(run::cargo().args(["run", "--quiet", "--package", "gybe-hw-tests", "--bin", "demo"]))
}

/// The cases of every commit, on emulated machines with real loaders and kernels.
fn hw() -> Result<Tally, String> {
    let mut cases = run::cargo();
    cases.args(["run", "--quiet", "--package", "gybe-hw-tests", "--bin", "hw"]);
    many(&mut cases, Tally::see_case)
}

/// A command that runs many checks and says a line of each.
fn many(command: &mut Command, see: fn(&mut Tally, &str)) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let status = run::watched(command, |line| see(&mut tally, line));
    let status = status.map_err(|cause| format!("cannot run {}: {cause}", run::shown(command)))?;
    if !status.success() && tally.failed == 0 {
        // Something did not compile, or died without a count.
        tally += Tally::failure(format!("{}: {status}", run::shown(command)));
    }
    Ok(tally)
}
