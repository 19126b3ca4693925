//! Bits flipped anywhere in a release: on its way, and by a signer who may sign anything.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, reason = "what was measured is worth reading")]

mod bench;

use std::fs;
use std::path::PathBuf;

use bench::{Bench, DONE, Device, FAILED, Parts, REFUSED, Small};
use serde_json::json;

const RUNS: u64 = 60;

/// Numbers that look random: which ones depends on the seed, which failures name.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        usize::try_from((self.0 >> 33) % u64::try_from(end).unwrap()).unwrap()
    }
}

fn bench(name: &str) -> Bench {
    let bench = Bench::new(name);
    for (name, number) in [("one", 1), ("two", 2)] {
        let small = Small { files: 8, changed: 4, ..Small::new(number) };
        let image = small.make(&bench, &format!("image-{name}"));
        bench.seal(&image, name, number);
    }
    Device::with(&bench, "device", &bench.source("one"));
    bench
}

/// Installs what `spoil` leaves of the second release, run after run.
fn judge(name: &str, spoil: impl Fn(&Bench, &mut Parts, &mut Random) -> String) {
    let bench = bench(name);
    let device = Device::at(&bench, "device");
    let mut codes = [0_u32; 4];
    for seed in 0..RUNS {
        let mut parts = bench.copy("two", "spoilt");
        let what = spoil(&bench, &mut parts, &mut Random(seed));
        let tried = device.copy("tried");
        let before = tried.snapshot();
        let ended = tried.gybe(&["install", &bench.source("spoilt")]);
        let after = tried.snapshot();
        let at = format!("seed {seed}, {what}: {ended:#?}");
        assert!([DONE, FAILED, REFUSED].contains(&ended.code), "{at}");
        codes[usize::try_from(ended.code).unwrap()] += 1;
        for file in ["dev/root_a", "dev/boot_a"] {
            assert_eq!(before[file], after[file], "{file}, {at}");
        }
        let status = tried.status();
        let (state, next) = if ended.code == DONE { ("trial", "b") } else { ("unbootable", "a") };
        assert_eq!((&status["b"]["state"], &status["next_boot"]), (&json!(state), &json!(next)));
        if ended.code == DONE {
            tried.gybe(&["verify", "--slots"]).done();
        } else {
            assert!(ended.stderr.contains("error: "), "{at}");
        }
        if ended.code == REFUSED {
            assert_eq!(before, after, "{at}");
        }
        tried.remove();
        fs::remove_dir_all(bench.path("spoilt")).unwrap();
    }
    eprintln!("{name}: done {}, failed {}, refused {}", codes[0], codes[1], codes[3]);
    // Others hit what this device does not need, as the second of two signatures.
    assert!(u64::from(codes[1] + codes[3]) * 3 > RUNS, "{codes:?}");
}

#[test]
fn a_bit_flipped_on_the_way_is_noticed_or_does_not_matter() {
    judge("flipped", |bench, _, random| {
        let folder = bench.path("spoilt");
        let blobs = fs::read_dir(folder.join("blobs/sha256")).unwrap();
        let mut files: Vec<PathBuf> = blobs.map(|entry| entry.unwrap().path()).collect();
        files.extend([folder.join("index.json"), folder.join("oci-layout")]);
        files.sort();
        // Each in turn, so that chance does not decide how many of them matter: names are digests, of
        // signatures that differ each time.
        let turn = usize::try_from(random.0).unwrap();
        let file = &files[turn % files.len()];
        let mut bytes = fs::read(file).unwrap();
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        fs::write(file, &bytes).unwrap();
        format!("byte {at} of {} in {}", bytes.len(), file.display())
    });
}

#[test]
fn a_recipe_with_any_signed_content_ends_in_order() {
    judge("signed-flips", |bench, parts, random| {
        let at = random.below(parts.recipe.len());
        parts.recipe[at] ^= 1 << random.below(8);
        parts.rehash_pages();
        parts.rewrite();
        bench.sign("spoilt", "release");
        format!("byte {at} of {} in the recipe", parts.recipe.len())
    });
}
