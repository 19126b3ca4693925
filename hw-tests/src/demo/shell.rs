//! Runs the programs of the demo as a person would, and minds how they end.

use std::{ffi::OsString, io, path::PathBuf};

use crate::{run, say};

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
        let mut command = run::command(&self.program(name));
        say::line("");
        let status = run::to_end(command.args(arguments))?;
        let code = status.code().ok_or_else(|| Trouble(format!("{name}: {status}")))?;
        if code != 0 {
            say::line(&format!("(exit code {code})"));
        }
        Ok(code)
    }

    /// Runs a program that must succeed, shows its stdout and returns it.
    pub(super) fn answer(&self, name: &str, arguments: &[&str]) -> Result<String, Trouble> {
        let mut command = run::command(&self.program(name));
        say::line("");
        let mut text = String::new();
        let status = run::watched(command.args(arguments), |line| {
            text.push_str(line);
            text.push('\n');
        })?;
        if status.success() { Ok(text) } else { Err(Trouble(format!("{name}: {status}"))) }
    }

    fn program(&self, name: &str) -> String {
        let path: OsString = self.programs.join(name).into();
        path.to_string_lossy().into_owned()
    }
}
