//! Showing how far an install is: a bar on a terminal, JSON lines for a program, plain lines for a
//! console, else nothing.

use std::sync::Mutex;

use serde::Serialize;

use crate::cli;
use crate::install::Phase;
use crate::output;

/// How many steps a phase is shown in.
const STEPS: u64 = 100;
/// Of how many of them there is a line, where progress is lines.
const LINE_STEPS: u64 = 10;
/// How long the bar is, in characters.
const BAR_LEN: usize = 30;

/// What shows progress.
#[derive(Debug)]
pub struct Display {
    how: How,
    /// The phase and step shown last.
    last: Mutex<Option<(Phase, u64)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Bar,
    Json,
    Lines,
    Nothing,
}

#[derive(Serialize)]
struct Line {
    version: u8,
    event: &'static str,
    phase: Phase,
    done_bytes: u64,
    total_bytes: u64,
}

impl Display {
    /// Shows as was asked for.
    #[must_use]
    pub fn new(asked: cli::Progress) -> Self {
        let how = match asked {
            cli::Progress::Json => How::Json,
            cli::Progress::Lines => How::Lines,
            cli::Progress::Auto if output::stderr_is_terminal() => How::Bar,
            cli::Progress::Auto | cli::Progress::None => How::Nothing,
        };
        Self { how, last: Mutex::new(None) }
    }

    /// Shows that `done` of `total` bytes are done, if that is a step further.
    pub fn show(&self, phase: Phase, done: u64, total: u64) {
        if self.how == How::Nothing {
            return;
        }
        let step = done.saturating_mul(STEPS).checked_div(total).unwrap_or(STEPS).min(STEPS);
        let step = if self.how == How::Lines { step / LINE_STEPS * LINE_STEPS } else { step };
        // A thread that panicked while it held this has ended the program.
        let Ok(mut last) = self.last.lock() else { return };
        if *last == Some((phase, step)) {
            return;
        }
        *last = Some((phase, step));
        match self.how {
            How::Bar => output::redraw(bar(phase, step)),
            How::Lines => output::talk(bar(phase, step)),
            How::Json => {
                let (done_bytes, total_bytes) = (done, total);
                output::json(&Line {
                    version: 1,
                    event: "progress",
                    phase,
                    done_bytes,
                    total_bytes,
                });
            }
            How::Nothing => {}
        }
    }

    /// Ends the bar, so that what follows begins on a line of its own.
    pub fn end(&self) {
        let shown = self.last.lock().is_ok_and(|mut last| last.take().is_some());
        if shown && self.how == How::Bar {
            output::end_redraw();
        }
    }
}

fn bar(phase: Phase, step: u64) -> String {
    let words = match phase {
        Phase::Verify => "verify",
        Phase::Recipe => "recipe",
        Phase::Copy => "reuse",
        Phase::Fetch => "fetch",
        Phase::ReadBack => "read back",
    };
    let len = u64::try_from(BAR_LEN).unwrap_or(0);
    let full = usize::try_from(step.saturating_mul(len) / STEPS).unwrap_or(0).min(BAR_LEN);
    let (full, empty) = ("#".repeat(full), ".".repeat(BAR_LEN.saturating_sub(full)));
    format!("{words:<10}[{full}{empty}] {step:>3} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(bar(Phase::Copy, 0), format!("reuse     [{}]   0 %", ".".repeat(30)));
        assert_eq!(bar(Phase::ReadBack, 100), format!("read back [{}] 100 %", "#".repeat(30)));
        let half = format!("fetch     [{}{}]  50 %", "#".repeat(15), ".".repeat(15));
        assert_eq!(bar(Phase::Fetch, 50), half);
    }
}
