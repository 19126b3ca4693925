//! How many checks held: read from the lines of Rust's test runner.

use std::ops::AddAssign;

/// Checks that held and checks that did not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Counts {
    /// A step that is one check.
    pub(crate) const ONE: Self = Self { passed: 1, failed: 0 };

    /// Reads `test result: ok. 4 passed; 0 failed; …`; any other line counts nothing.
    pub(crate) fn of_line(line: &str) -> Self {
        let Some((_, counted)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return Self::default();
        };
        let number = |word: &str| {
            let part = counted.split("; ").find_map(|part| part.strip_suffix(word));
            part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        Self { passed: number("passed"), failed: number("failed") }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn only_result_lines_count() {
        let ok = "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s";
        let bad = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Counts::of_line(ok), Counts { passed: 4, failed: 0 });
        assert_eq!(Counts::of_line(bad), Counts { passed: 3, failed: 2 });
        assert_eq!(Counts::of_line("test slot::tests::x ... ok"), Counts::default());
        assert_eq!(Counts::of_line("9 passed; 9 failed"), Counts::default());
    }
}
