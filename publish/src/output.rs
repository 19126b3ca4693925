//! The only place that prints: data to stdout, talk to stderr.

use std::error::Error;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

/// Prints a report for people. A closed pipe is no error: whoever read it has seen enough.
pub fn data(text: impl Display) {
    let mut stdout = std::io::stdout().lock();
    // The reader decides how much of the answer is wanted; `| head` must not be a failure.
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints a report for programs, on one line.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(report: &impl Serialize) -> Result<(), serde_json::Error> {
    serde_json::to_string(report).map(data)
}

/// Says something to whoever watches.
pub fn talk(text: impl Display) {
    say(format!("{text}\n"));
}

/// One write, so that it stays one line where others write too. A closed pipe or a full disk behind
/// stderr ends nothing that we do.
fn say(text: String) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Says what is not wrong, but hardly meant.
pub fn warning(text: impl Display) {
    talk(format_args!("warning: {text}"));
}

/// Says what went wrong.
pub fn error(failure: &dyn Error) {
    let (red, plain) = if colour() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    talk(format_args!("{red}error:{plain} {failure}"));
}

/// <https://no-color.org>: set to anything but nothing, it means no.
fn colour() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
