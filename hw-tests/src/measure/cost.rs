//! What running a program took: wall clock, processor and memory, as GNU time tells it.

use std::{fmt, fs, path::Path, process::Command, time::Instant};

use crate::run;

/// Elapsed seconds would be in hundredths too; we take the clock around it instead.
const FORMAT: &str = "%U %S %M";

/// What one run of a program took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    pub(super) wall_s: f64,
    /// In the program and in the kernel on its behalf.
    pub(super) cpu_s: f64,
    /// The most memory that was resident.
    pub(super) peak_kib: u64,
}

/// Runs a command, which must succeed, and gives what it took and what it said on stdout.
/// `note` is a file that may be overwritten.
pub(super) fn of(command: &Command, note: &Path) -> Result<(Cost, String), String> {
    let mut timed = run::command("time");
    timed.arg(format!("--format={FORMAT}")).arg("--output").arg(note);
    timed.arg(command.get_program()).args(command.get_args());
    let shown = || run::shown(command);
    let start = Instant::now();
    let output = timed.output().map_err(|cause| format!("cannot run time: {cause}"))?;
    let wall_s = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let talk = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}: {}", shown(), output.status, talk.trim_end()));
    }
    let text = fs::read_to_string(note).map_err(|cause| format!("{}: {cause}", note.display()))?;
    let (cpu_s, peak_kib) =
        parse(&text).ok_or_else(|| format!("{}: time said {text:?}", shown()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((Cost { wall_s, cpu_s, peak_kib }, said))
}

/// Seconds of processor and KiB of memory from what [`FORMAT`] prints.
fn parse(text: &str) -> Option<(f64, u64)> {
    let mut words = text.lines().last()?.split_whitespace();
    let mut seconds = || words.next()?.parse::<f64>().ok();
    let cpu_s = seconds()? + seconds()?;
    let peak_kib = words.next()?.parse().ok()?;
    words.next().is_none().then_some((cpu_s, peak_kib))
}

/// The same program, run several times.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(pub(super) Vec<Cost>);

impl Runs {
    pub(super) fn wall(&self) -> Spread {
        Spread::of(self.0.iter().map(|cost| cost.wall_s))
    }

    pub(super) fn cpu(&self) -> Spread {
        Spread::of(self.0.iter().map(|cost| cost.cpu_s))
    }

    /// The most memory that any of them had.
    pub(super) fn peak_kib(&self) -> u64 {
        self.0.iter().map(|cost| cost.peak_kib).max().unwrap_or(0)
    }
}

/// The middle, the least and the most of some numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    fn of(numbers: impl Iterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
        let last = numbers.len().saturating_sub(1);
        Self { median: at(last / 2), least: at(0), most: at(last) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_time_counts() {
        assert_eq!(parse("1.25 0.50 10340\n"), Some((1.75, 10_340)));
        let failed = "Command exited with non-zero status 1\n0.00 0.25 900\n";
        assert_eq!(parse(failed), Some((0.25, 900)));
        for wrong in ["", "1.0 2.0", "1.0 2.0 3 4", "a b c"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_spread_is_the_middle_and_both_ends() {
        let spread = Spread::of([3.0, 1.0, 2.0, 10.0, 0.5].into_iter());
        assert_eq!(spread, Spread { median: 2.0, least: 0.5, most: 10.0 });
        assert_eq!(spread.to_string(), "2.00 (0.50–10.00)");
        assert_eq!(Spread::of([4.0].into_iter()).median, 4.0);
    }

    #[test]
    fn a_program_that_fails_costs_nothing_but_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note");
        let mut command = run::command("sh");
        command.args(["-c", "echo no such slot >&2; exit 3"]);
        let why = of(&command, &note).unwrap_err();
        assert!(why.contains("exit status: 3: no such slot"), "{why}");
        let mut command = run::command("sh");
        let (cost, said) = of(command.args(["-c", "echo done"]), &note).unwrap();
        assert_eq!(said, "done\n");
        assert!(cost.peak_kib > 0 && cost.wall_s > 0.0, "{cost:?}");
    }
}
