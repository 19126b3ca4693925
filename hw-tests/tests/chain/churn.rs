//! An image that changes from release to release, as operating systems do: a few files nearly every
//! time, most of them never.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::bench::Small;

const FILES: u64 = 320;
/// Files with a number below this change often.
const HOT: u64 = 32;

/// The files of one release, by their numbers: a seed and a length in lines.
pub(crate) struct Churn {
    files: BTreeMap<u64, (u64, u64)>,
    kernel: u32,
    random: Random,
    release: u32,
}

impl Churn {
    pub(crate) fn new() -> Self {
        let mut random = Random(7);
        let files = (0..FILES).map(|file| (file, (file, 20 + random.below(5000)))).collect();
        Self { files, kernel: 0, random, release: 1 }
    }

    /// The next release: files change, come, go and grow; at times there is another kernel.
    pub(crate) fn step(&mut self) {
        self.release += 1;
        let seed = |change: u64| u64::from(self.release) * 1_000_000 + change;
        for change in 0..24 {
            let hot = self.random.below(10) < 7;
            let file = self.random.below(if hot { HOT } else { FILES });
            if let Some((of, len)) = self.files.get_mut(&file) {
                *of = seed(change);
                *len += self.random.below(20);
            }
        }
        let gone = HOT + self.random.below(FILES - HOT);
        self.files.remove(&gone);
        let new = FILES + u64::from(self.release);
        self.files.insert(new, (seed(99), 20 + self.random.below(5000)));
        self.kernel += u32::from(self.release.is_multiple_of(8));
    }

    /// Writes the release's tree.
    pub(crate) fn write(&self, stage: &Path) {
        Small { files: 0, changed: 0, ..Small::new(self.kernel) }.write(stage);
        for (file, (seed, lines)) in &self.files {
            let path = stage.join(format!("usr/lib/part{:02}/{file:04}", file % 16));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text(*seed, *lines)).unwrap();
        }
        fs::write(stage.join("etc/release"), format!("{:08}\n", self.release)).unwrap();
    }
}

/// Lines that zstd makes about a third as long.
fn text(seed: u64, lines: u64) -> String {
    let mut random = Random(seed + 1);
    let mut text = String::new();
    for line in 0..lines {
        let (one, two) = (random.next(), random.below(1 << 20));
        writeln!(text, "{line:06} device {one:016x} reports {two} of its registers").unwrap();
    }
    text
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
