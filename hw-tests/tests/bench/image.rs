//! A small image that has what a bootc-style image must have, made by tar and umoci.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Bench, succeed, tool};

/// The directory of the kernel.
pub(crate) const MODULES: &str = "usr/lib/modules/6.12.0-gybe";

/// What a small image is made of: equal numbers, equal bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Small {
    /// How many files of noise there are.
    pub(crate) files: u32,
    /// How long each of them is, in bytes.
    pub(crate) noise_len: usize,
    /// How many of them have bytes of their own, which no other image has.
    pub(crate) changed: u32,
    /// Tells these from those of another image.
    pub(crate) seed: u32,
    pub(crate) architecture: &'static str,
}

impl Small {
    pub(crate) const fn new(seed: u32) -> Self {
        Self { files: 40, noise_len: 70_000, changed: 10, seed, architecture: native() }
    }

    /// Makes the image in a layout of its own and gives its source.
    pub(crate) fn make(self, bench: &Bench, name: &str) -> String {
        let stage = bench.path(&format!("{name}-stage"));
        self.write(&stage);
        image(bench, name, &stage, self.architecture)
    }

    /// Writes the image's tree.
    pub(crate) fn write(self, stage: &Path) {
        let put = |path: &str, content: &[u8]| {
            let path = stage.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let modules = MODULES;
        put(&format!("{modules}/vmlinuz"), &noise(1_000_000, 300_000));
        put(&format!("{modules}/initramfs.img"), &noise(1_000_001 + self.seed, 200_000));
        put("usr/lib/os-release", b"ID=acme\n");
        put("etc/machine-name", format!("{}\n", self.seed).as_bytes());
        for number in 0..self.files {
            let own = number >= self.files - self.changed;
            let seed = number + if own { 1000 * (1 + self.seed) } else { 0 };
            put(&format!("usr/share/noise/{number:03}"), &noise(seed, self.noise_len));
        }
        let mut words = String::new();
        for line in 0..40_000 {
            words.push_str(&format!("line {line} of text that a decoder unpacks\n"));
        }
        put("usr/share/text", words.as_bytes());
        symlink("text", stage.join("usr/share/link")).unwrap();
        fs::hard_link(stage.join("usr/share/text"), stage.join("usr/share/hard")).unwrap();
    }
}

/// An image of one layer, in a layout of its own, of what lies in `stage`; gives its source.
pub(crate) fn image(bench: &Bench, name: &str, stage: &Path, architecture: &str) -> String {
    let layer = bench.path(&format!("{name}.tar"));
    let mut tar = tool("tar");
    tar.arg("--create").arg("--file").arg(&layer).arg("--directory").arg(stage);
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    succeed(tar.args(["--mtime=@1767225600", "."]));
    let layout = bench.path(name);
    let image = format!("{}:t", layout.display());
    succeed(tool("umoci").arg("init").arg("--layout").arg(&layout));
    succeed(tool("umoci").args(["new", "--image", &image]));
    succeed(tool("umoci").args(["raw", "add-layer", "--image", &image]).arg(&layer));
    let mut config = tool("umoci");
    config.args(["config", "--image", &image, "--architecture", architecture]);
    succeed(config.args(["--config.label", "containers.bootc=1"]));
    succeed(tool("umoci").arg("gc").arg("--layout").arg(&layout));
    format!("oci:{image}")
}

/// The architecture of this machine, as OCI spells it.
pub(crate) const fn native() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Bytes that no encoder makes smaller, the same for the same seed.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}
