//! How many checks held, and what is said of those that did not: read from the lines of Rust's test
//! runner and of `cargo hw`.

use std::ops::AddAssign;

/// How the lines begin in which a case shows what its console said last.
const CONSOLE: &str = "      | ";

/// Checks that held and checks that did not.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// The lines that say which check failed, and of a case also why.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// A step that is one check.
    pub(crate) const ONE: Self = Self { passed: 1, failed: 0, failures: Vec::new() };

    /// A step that is one check, which failed for this reason.
    pub(crate) fn failure(why: String) -> Self {
        Self { passed: 0, failed: 1, failures: vec![why] }
    }

    /// Reads a line of `cargo test`: `test a::b ... FAILED` is a failure, and `test result: ok. 4
    /// passed; 0 failed; …` counts.
    pub(crate) fn see_test(&mut self, line: &str) {
        if line.starts_with("test ") && line.ends_with(" ... FAILED") {
            self.failures.push(line.to_owned());
        }
        let Some((_, counted)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        let number = |word: &str| {
            let part = counted.split("; ").find_map(|part| part.strip_suffix(word));
            part.and_then(|number| number.trim().parse::<u32>().ok()).unwrap_or(0)
        };
        self.passed = self.passed.saturating_add(number("passed"));
        self.failed = self.failed.saturating_add(number("failed"));
    }

    /// Reads a line of `cargo hw`.
    pub(crate) fn see_case(&mut self, line: &str) {
        if line.starts_with("PASS ") {
            self.passed = self.passed.saturating_add(1);
        } else if line.starts_with("FAIL ") {
            self.failed = self.failed.saturating_add(1);
            self.failures.push(line.to_owned());
        } else if line.starts_with(CONSOLE) {
            self.failures.push(line.to_owned());
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.failures.extend(other.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn only_result_lines_count() {
        let of = |line| {
            let mut tally = Tally::default();
            tally.see_test(line);
            (tally.passed, tally.failed)
        };
        let ok = "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s";
        let bad = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(of(ok), (4, 0));
        assert_eq!(of(bad), (3, 2));
        assert_eq!(of("test slot::tests::x ... ok"), (0, 0));
        assert_eq!(of("9 passed; 9 failed"), (0, 0));
    }

    #[test]
    fn what_failed_is_kept_with_its_reason() {
        let mut tally = Tally::default();
        let test = "test b::c ... FAILED";
        ["test a ... ok", test].iter().for_each(|line| tally.see_test(line));
        let case = ["FAIL z 2.0 x86_64: gone; the last lines were", "      | oh"];
        ["PASS x 1.0 x86_64 (y)", case[0], case[1]].iter().for_each(|line| tally.see_case(line));
        let failures = [test, case[0], case[1]].map(str::to_owned).to_vec();
        assert_eq!(tally, Tally { passed: 1, failed: 1, failures });
    }
}
