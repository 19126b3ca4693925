//! How long each part of a boot took: reported, never judged.

use std::{fmt, time::Instant};

/// The boots of one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases(Vec<Boot>);

#[derive(Clone, Copy, Debug)]
struct Boot {
    begin: Instant,
    kernel: Option<Instant>,
    up: Option<Instant>,
    healthy: Option<Instant>,
}

impl Phases {
    /// Power came on, or the machine was reset. What follows a reboot that nobody here asked for is
    /// not counted: nobody knows when it began.
    pub(crate) fn begin(&mut self, at: Instant) {
        self.0.push(Boot { begin: at, kernel: None, up: None, healthy: None });
    }

    /// The kernel started its first program: firmware and loader are done, and the kernel too.
    pub(crate) fn kernel(&mut self, at: Instant) {
        self.last(|boot| boot.kernel = boot.kernel.or(Some(at)));
    }

    /// The root's own userspace is up.
    pub(crate) fn up(&mut self, at: Instant) {
        self.last(|boot| boot.up = boot.up.or(Some(at)));
    }

    /// Health is judged.
    pub(crate) fn healthy(&mut self, at: Instant) {
        self.last(|boot| boot.healthy = boot.healthy.or(Some(at)));
    }

    fn last(&mut self, change: impl FnOnce(&mut Boot)) {
        if let Some(boot) = self.0.last_mut() {
            change(boot);
        }
    }

    /// The medians of what was seen, in seconds.
    pub(crate) fn medians(&self) -> Medians {
        let span = |from: Option<Instant>, to: Option<Instant>| {
            Some(to?.saturating_duration_since(from?).as_secs_f64())
        };
        let median = |part: &dyn Fn(&Boot) -> Option<f64>| {
            let mut seen: Vec<f64> = self.0.iter().filter_map(part).collect();
            seen.sort_by(f64::total_cmp);
            seen.get(seen.len() / 2).copied()
        };
        Medians {
            loader_and_kernel: median(&|boot| span(Some(boot.begin), boot.kernel)),
            into_the_root: median(&|boot| span(boot.kernel, boot.up)),
            checks: median(&|boot| span(boot.up, boot.healthy)),
        }
    }
}

/// Typical times of one case, in seconds; `None` where nothing was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Medians {
    /// From power or reset to the first program of the initramfs.
    pub(crate) loader_and_kernel: Option<f64>,
    /// From there to the first words of the root.
    pub(crate) into_the_root: Option<f64>,
    /// From there to the verdict of `gybe health`.
    pub(crate) checks: Option<f64>,
}

impl fmt::Display for Medians {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, seconds) in [
            ("loader and kernel", self.loader_and_kernel),
            ("root", self.into_the_root),
            ("checks", self.checks),
        ] {
            if let Some(seconds) = seconds {
                let comma = if first { "" } else { ", " };
                write!(f, "{comma}{name} {seconds:.1} s")?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_phase_is_the_median_of_the_boots_that_came_so_far() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut phases = Phases::default();
        for (begin, kernel) in [(0, 5), (100, 107), (200, 206)] {
            phases.begin(after(begin));
            phases.kernel(after(kernel));
        }
        phases.begin(after(300));
        let medians = phases.medians();
        assert_eq!(medians.loader_and_kernel, Some(6.0));
        assert_eq!(medians.checks, None);
        assert_eq!(medians.to_string(), "loader and kernel 6.0 s");
    }
}
