//! Running programs and minding how they end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A program, with the tools that are newer than the host's in its path.
pub(crate) fn tool(name: &str) -> Command {
    let newer = std::env::var_os("GYBE_TOOLS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools"),
        PathBuf::from,
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", newer.join("bin").display()));
    command.stdin(Stdio::null());
    command
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Claims that it ended with `code` and that stderr has all of `parts`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:#?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.ended(super::DONE, &[])
    }

    /// The last line of stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.stdout.lines().last().unwrap()).unwrap()
    }
}

/// Runs a program to its end, however it ends.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ended {
    match command.output() {
        Ok(output) => Ended::of(&output),
        Err(cause) => panic!("{command:?}: {cause}; run: cargo full-test, which installs it"),
    }
}

/// Runs a program that must succeed; gives its stdout.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.code, 0, "{command:?}: {ended:#?}");
    ended.stdout
}
