//! Programs of the build host.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How much of what a program says is shown.
const SAID_LEN_MAX: usize = 2000;

/// Runs a program that Debian has in `package`; gives what it said on stdout and on stderr.
pub(super) fn run(
    command: &mut Command,
    package: &'static str,
) -> Result<(String, String), ProgramError> {
    let name = PathBuf::from(command.get_program());
    let output = command.stdin(Stdio::null()).env("LC_ALL", "C").output().map_err(|cause| {
        match cause.kind() {
            io::ErrorKind::NotFound => ProgramError::Missing { name: name.clone(), package },
            _ => ProgramError::Start { name: name.clone(), cause },
        }
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        return Ok((out, err));
    }
    let said = if err.is_empty() { out } else { err };
    let said = said.get(..SAID_LEN_MAX).map_or(said.clone(), str::to_owned);
    Err(ProgramError::Failed { name, status: output.status.to_string(), said })
}

/// A command, found where administrators' programs lie too: users do not have those in `PATH`.
pub(super) fn command(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Why a program did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there.
    #[error("{} is missing; Debian has it in the package {package}", name.display())]
    Missing {
        /// The program or file.
        name: PathBuf,
        /// Where it comes from.
        package: &'static str,
    },
    /// It cannot be started.
    #[error("cannot start {}: {cause}", name.display())]
    Start {
        /// The program.
        name: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It ended with an error.
    #[error("{} ended with {status}: {said}", name.display())]
    Failed {
        /// The program.
        name: PathBuf,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
}
