//! Runs the programs of the demo as a person would, and minds how they end.

use std::{io, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{run, say, tree};

/// Why the demo cannot go on.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) String);

impl From<io::Error> for Trouble {
    fn from(cause: io::Error) -> Self {
        Self(cause.to_string())
    }
}

/// Where the programs are.
pub(super) struct Shell {
    pub(super) programs: PathBuf,
}

impl Shell {
    /// Runs a program; its output goes where ours goes, and it must end with `expected`.
    pub(super) fn run(&self, name: &str, arguments: &[&str], expected: i32) -> Result<(), Trouble> {
        let code = self.code(name, arguments)?;
        if code == expected {
            return Ok(());
        }
        Err(Trouble(format!("{name} ended with {code}, expected {expected}")))
    }

    /// Runs a program and says how it ended.
    pub(super) fn code(&self, name: &str, arguments: &[&str]) -> Result<i32, Trouble> {
        say::line("");
        let status = run::to_end(&mut self.command(name, arguments))?;
        let code = status.code().ok_or_else(|| Trouble(format!("{name}: {status}")))?;
        if code != 0 {
            say::line(&format!("(exit code {code})"));
        }
        Ok(code)
    }

    /// Runs a program that must succeed, shows its stdout and returns it.
    pub(super) fn answer(&self, name: &str, arguments: &[&str]) -> Result<String, Trouble> {
        say::line("");
        let mut text = String::new();
        let status = run::watched(&mut self.command(name, arguments), |line| {
            text.push_str(line);
            text.push('\n');
        })?;
        if status.success() { Ok(text) } else { Err(Trouble(format!("{name}: {status}"))) }
    }

    /// Runs a program that must succeed, shows nothing, and returns the JSON on its stdout.
    pub(super) fn json(&self, name: &str, arguments: &[&str]) -> Result<Value, Trouble> {
        let text = run::answer(&mut self.command(name, arguments));
        let text = text.ok_or_else(|| Trouble(format!("{name} {arguments:?} fails")))?;
        serde_json::from_str(&text).map_err(|cause| Trouble(format!("{name}: {cause}")))
    }

    /// Everything runs at the root of the repository, so paths below it can be short.
    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = run::command(&self.programs.join(name).to_string_lossy());
        let root = format!("{}/", tree::root().display());
        command.args(arguments.iter().map(|argument| argument.replace(&root, "")));
        command
    }
}
