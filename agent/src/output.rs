//! The only place that prints: data to stdout, talk to stderr.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;
use tracing_subscriber::filter::LevelFilter;

/// Prints a report for people. A closed pipe is no error: whoever read it has seen enough.
pub fn data(text: impl Display) {
    let mut stdout = std::io::stdout().lock();
    // The reader decides how much of the answer is wanted; `| head` must not be a failure.
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints a report for programs, on one line.
pub fn json(report: &impl Serialize) {
    match serde_json::to_string(report) {
        Ok(line) => data(line),
        Err(cause) => talk(format_args!("cannot write the report: {cause}")),
    }
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

/// Says what went wrong, and what to do about it.
pub fn error(message: impl Display, hint: Option<&str>) {
    let (red, plain) = if colour() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    talk(format_args!("{red}error:{plain} {message}"));
    if let Some(hint) = hint {
        talk(format_args!("hint: {hint}"));
    }
}

/// Draws `line` over the one that was drawn before, on a terminal; elsewhere does nothing.
pub fn redraw(line: impl Display) {
    if stderr_is_terminal() {
        say(format!("\r\x1b[2K{line}"));
    }
}

/// Ends what [`redraw`] drew.
pub fn end_redraw() {
    if stderr_is_terminal() {
        say("\n".to_owned());
    }
}

/// Whether a person watches stderr.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Sends the log to stderr: about ten lines an update, `GYBE_LOG` asks for more or less.
pub fn start_log() {
    let level = std::env::var("GYBE_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // It would complain about stderr on stderr, and panic.
        .log_internal_errors(false)
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .with_ansi(colour())
        .with_target(false)
        .without_time()
        .init();
}

/// <https://no-color.org>: set to anything but nothing, it means no.
fn colour() -> bool {
    stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
