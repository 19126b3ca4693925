//! What sealing takes on the build host.

use super::{
    cost::Runs,
    inputs::BASE,
    lab::{self, Lab},
    layout::{Layout, number},
};
use crate::say;

/// The same image, sealed again and again.
#[derive(Debug, Default)]
pub(super) struct Sealing {
    pub(super) runs: Runs,
    /// Bytes of the root file system that came of it.
    pub(super) root_len: u64,
    pub(super) commands: Vec<String>,
}

impl Sealing {
    /// Seconds for a root of 1 GiB at the same pace.
    pub(super) fn wall_s_per_gib(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let share = self.root_len as f64 / f64::from(1 << 30);
        self.runs.wall().median / share
    }
}

pub(super) fn run(lab: &Lab) -> Result<Sealing, String> {
    let mut sealing = Sealing::default();
    let image = lab.inputs.images().source(BASE);
    for run in 1..=lab.run_count {
        say::heading(&format!("seal, run {run} of {}", lab.run_count));
        let releases = Layout(lab.path("sealing"));
        let mut seal = lab.seal(&image, &releases, BASE);
        sealing.runs.0.push(lab.measure(seal.args(["--sequence", "1"]))?.0);
        let config = releases.config(&releases.manifest(BASE)?)?;
        sealing.root_len = number(&config, "/targets/0/size")?;
        lab::remove(&releases.0)?;
    }
    sealing.commands = lab.commands();
    Ok(sealing)
}
