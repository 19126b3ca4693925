//! Runs other programs: shown, counted, never with a terminal on stdin.

use std::{
    io::{self, BufRead as _, BufReader},
    process::{Command, ExitStatus, Stdio},
};

use crate::{say, tree};

/// A command that runs at the root of the repository with the tools in its path.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(tree::root()).stdin(Stdio::null());
    command.env("PATH", tree::path()).env("CI", "true").env("LC_ALL", "C.UTF-8");
    command
}

/// The cargo that started us.
pub(crate) fn cargo() -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let short = program.rsplit('/').next().unwrap_or(&program);
    let mut text = short.to_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        text.push(' ');
        if argument.contains([' ', '"', '\'', '$', ';', '*']) || argument.is_empty() {
            text.push_str(&format!("'{}'", argument.replace('\'', "'\\''")));
        } else {
            text.push_str(&argument);
        }
    }
    text
}

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn to_end(command: &mut Command) -> io::Result<ExitStatus> {
    say::line(&format!("$ {}", shown(command)));
    command.status()
}

/// Runs a command to its end and hands each line of its stdout to `see` after printing it.
pub(crate) fn watched(command: &mut Command, mut see: impl FnMut(&str)) -> io::Result<ExitStatus> {
    say::line(&format!("$ {}", shown(command)));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            say::line(&line);
            see(&line);
        }
    }
    child.wait()
}

/// What a short command says on stdout, if it succeeds.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    answer(command("id").arg("-u")).is_some_and(|id| id == "0")
}
