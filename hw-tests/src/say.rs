//! The one place that prints: what a person reads while the demo and the full test run.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is this module's job")]

use std::io::{IsTerminal as _, Write as _};

/// Whether headings may be bold: a terminal that did not ask for plain text.
fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal()
}

/// A line on stdout, flushed, so that it keeps its place among the lines of child processes.
pub(crate) fn line(text: &str) {
    println!("{text}");
    // A reader that went away (`cargo demo | head`) ends the output, not the work.
    drop(std::io::stdout().flush());
}

/// A heading, with an empty line before it.
pub(crate) fn heading(text: &str) {
    if colour() {
        line(&format!("\n\x1b[1m== {text}\x1b[0m"))
    } else {
        line(&format!("\n== {text}"))
    }
}

/// A line on stderr: why something ended.
pub(crate) fn trouble(text: &str) {
    eprintln!("{text}");
}
