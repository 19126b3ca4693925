//! What is printed of the cases, and the table in README.md.

use std::fs;

use super::{cases, lab::Outcome, machine::Arch, trouble::Trouble};
use crate::{run, say, tree};

/// Between these two lines README.md holds the table.
const TABLE_BEGINS: &str = "<!-- cargo hw: table begins -->";
const TABLE_ENDS: &str = "<!-- cargo hw: table ends -->";

/// Most characters that are shown of what went wrong; the console's log has all of it.
const TOLD_LEN_MAX: usize = 1_500;

/// One line: `PASS|FAIL NAME SECONDS`, then the architecture and what is to be said.
pub(crate) fn line(outcome: &Outcome) {
    let seconds = outcome.took.as_secs_f64();
    let arch = outcome.model.arch.name();
    let name = outcome.name;
    let medians = outcome.medians;
    match &outcome.verdict {
        Ok(told) if told.is_empty() => {
            say::line(&format!("PASS {name} {seconds:.1} {arch} ({medians})"))
        }
        Ok(told) => say::line(&format!("PASS {name} {seconds:.1} {arch}: {told} ({medians})")),
        Err(trouble @ Trouble::Cannot(_)) => {
            say::line(&format!("SKIP {name} {seconds:.1} {arch}: {trouble}"))
        }
        Err(trouble) => {
            let told: String = trouble.to_string().chars().take(TOLD_LEN_MAX).collect();
            say::line(&format!("FAIL {name} {seconds:.1} {arch}: {told}"));
        }
    }
}

/// Whether an outcome counts as passed, failed, or neither.
fn counts(outcomes: &[Outcome]) -> (usize, usize, usize) {
    let of =
        |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let passed = of(|outcome| outcome.verdict.is_ok());
    let skipped = of(|outcome| matches!(outcome.verdict, Err(Trouble::Cannot(_))));
    (passed, outcomes.len() - passed - skipped, skipped)
}

/// How many passed and failed, and how long the phases took.
pub(crate) fn summary(outcomes: &[Outcome]) {
    say::heading("phases, median of the cases' medians");
    for arch in Arch::ALL {
        let of_arch: Vec<&Outcome> = outcomes.iter().filter(|of| of.model.arch == arch).collect();
        let median = |part: fn(&Outcome) -> Option<f64>| {
            let mut seen: Vec<f64> = of_arch.iter().filter_map(|outcome| part(outcome)).collect();
            seen.sort_by(f64::total_cmp);
            seen.get(seen.len() / 2)
                .map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"))
        };
        if !of_arch.is_empty() {
            say::line(&format!(
                "{:<8} loader and kernel {}, into the root {}, checks {}",
                arch.name(),
                median(|outcome| outcome.medians.loader_and_kernel),
                median(|outcome| outcome.medians.into_the_root),
                median(|outcome| outcome.medians.checks),
            ));
        }
    }
    let (passed, failed, skipped) = counts(outcomes);
    if skipped > 0 {
        say::line(&format!("{skipped} skipped: this target cannot do them"));
    }
    say::line(&format!("{passed} passed, {failed} failed"));
}

/// The table: a row a case, a column an architecture.
fn table(outcomes: &[Outcome], day: &str) -> String {
    let mut text = format!("Last run: {day}, QEMU with emulated processors.\n\n");
    text.push_str("| case | what holds | x86_64, GRUB | aarch64, U-Boot |\n|---|---|---|---|\n");
    for case in cases::all() {
        let cell = |arch| {
            if case.on.iter().all(|model| model.arch != arch) {
                return "–".to_owned();
            }
            let of_case: Vec<&Outcome> = outcomes
                .iter()
                .filter(|of| of.model.arch == arch && of.name == case.name)
                .collect();
            let failed = |of: &&Outcome| !matches!(of.verdict, Ok(_) | Err(Trouble::Cannot(_)));
            let seconds: f64 = of_case.iter().map(|of| of.took.as_secs_f64()).sum();
            match of_case.as_slice() {
                [] => "not run".to_owned(),
                all if all.iter().any(failed) => "**fails**".to_owned(),
                all if all.iter().any(|of| of.verdict.is_ok()) => format!("pass, {seconds:.0} s"),
                _ => "cannot".to_owned(),
            }
        };
        let (first, second) = (cell(Arch::X86_64), cell(Arch::Aarch64));
        text.push_str(&format!("| `{}` | {} | {first} | {second} |\n", case.name, case.claim));
    }
    text
}

/// Writes the table into README.md.
///
/// # Errors
/// When README.md has no place for it.
pub(crate) fn into_readme(outcomes: &[Outcome]) -> Result<(), Trouble> {
    let file = tree::root().join("README.md");
    let text = fs::read_to_string(&file)?;
    let day = run::answer(run::command("date").arg("+%Y-%m-%d")).unwrap_or_default();
    let replaced = replace(&text, &table(outcomes, &day));
    let replaced = replaced.ok_or_else(|| {
        Trouble::harness(format!("README.md has no `{TABLE_BEGINS}` and `{TABLE_ENDS}`"))
    })?;
    Ok(fs::write(file, replaced)?)
}

fn replace(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(TABLE_BEGINS)?;
    let (_, after) = rest.split_once(TABLE_ENDS)?;
    Some(format!("{before}{TABLE_BEGINS}\n{table}{TABLE_ENDS}{after}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hw::{machine::Model, phases::Phases};

    fn outcome(name: &'static str, verdict: Result<String, Trouble>) -> Outcome {
        let medians = Phases::default().medians();
        Outcome { model: Model::BIOS, name, verdict, took: Duration::from_secs(7), medians }
    }

    #[test]
    fn the_table_says_what_passed_what_failed_and_what_did_not_run() {
        let outcomes = [
            outcome("update-and-commit", Ok(String::new())),
            outcome("kernel-panics", Err(Trouble::case("no"))),
        ];
        let table = table(&outcomes, "2026-01-01");
        let row = |name: &str| {
            let begin = format!("| `{name}` |");
            table.lines().find(|line| line.starts_with(&begin)).unwrap().to_owned()
        };
        assert!(row("update-and-commit").ends_with("| pass, 7 s | not run |"), "{table}");
        assert!(row("kernel-panics").ends_with("| **fails** | not run |"), "{table}");
        let readme = format!("a\n{TABLE_BEGINS}\nold\n{TABLE_ENDS}\nb\n");
        let new = replace(&readme, &table).unwrap();
        assert!(new.starts_with("a\n") && new.ends_with("\nb\n") && !new.contains("\nold\n"));
        assert_eq!(replace("no place", &table), None);
    }

    #[test]
    fn a_target_that_cannot_has_not_failed() {
        let outcomes = [
            outcome("a", Err(Trouble::Cannot("no".into()))),
            outcome("b", Err(Trouble::GuestCrash("oops".into()))),
            outcome("c", Ok(String::new())),
        ];
        assert_eq!(counts(&outcomes), (1, 1, 1));
    }
}
