//! Finding and running the tools that judge.

use std::path::PathBuf;
use std::process::Command;

/// A tool from `$GYBE_TOOLS/bin`, where the newer ones are, or from the path.
pub(crate) fn find(name: &str) -> Command {
    let mut places = Vec::new();
    if let Some(tools) = std::env::var_os("GYBE_TOOLS") {
        places.push(PathBuf::from(tools).join("bin"));
    }
    places.push(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/bin")));
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path));
    }
    let found = places.iter().map(|place| place.join(name)).find(|path| path.is_file());
    Command::new(
        found.unwrap_or_else(|| panic!("no {name}; run: cargo full-test, which installs it")),
    )
}

/// What a command says on both outputs, if it succeeds; else the last line of that.
pub(crate) fn outcome(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim_end().to_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(said.lines().last().unwrap_or_default().to_owned())
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    outcome(command).unwrap_or_else(|why| panic!("{command:?}: {why}"))
}
