//! Images of any size that are made here: noise, which nothing makes smaller, and text.

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::{run, sample};

const MODULES: &str = "usr/lib/modules/6.12.0-gybe";
const KERNEL_LEN: usize = 300_000;
const INITRAMFS_LEN: usize = 2_000_000;

/// A tree of files, half of them noise. Equal numbers, equal bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub(super) file_count: u32,
    pub(super) file_len: usize,
    /// How many of the files have bytes that no other image has.
    pub(super) changed: u32,
}

impl Made {
    /// Writes the tree as a layer.
    pub(super) fn layer(self, tar: &Path) -> Result<(), String> {
        let stage = tar.with_extension("stage");
        self.write(&stage).map_err(sample::words)?;
        let mut make = run::command("tar");
        make.arg("--create").arg("--file").arg(tar).arg("--directory").arg(&stage);
        make.args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mode=u=rwX,go=rX",
        ]);
        sample::succeed(make.arg(format!("--mtime=@{}", sample::EPOCH)).arg("."))?;
        fs::remove_dir_all(&stage).map_err(sample::words)
    }

    fn write(self, stage: &Path) -> std::io::Result<()> {
        let put = |path: String, content: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>| {
            let path = stage.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            let mut file = BufWriter::new(fs::File::create(path)?);
            content(&mut file)?;
            file.flush()
        };
        put(format!("{MODULES}/vmlinuz"), &mut |to| noise(1_000_000, KERNEL_LEN, to))?;
        put(format!("{MODULES}/initramfs.img"), &mut |to| noise(1_000_001, INITRAMFS_LEN, to))?;
        put("usr/lib/os-release".into(), &mut |to| to.write_all(b"ID=acme\n"))?;
        for number in 0..self.file_count {
            let own = number >= self.file_count.saturating_sub(self.changed);
            let seed = if own { number + 5_000_000 } else { number };
            let path = format!("usr/share/made/{:02}/{number:05}", number % 32);
            if number % 2 == 0 {
                put(path, &mut |to| noise(seed, self.file_len, to))?;
            } else {
                put(path, &mut |to| text(seed, self.file_len, to))?;
            }
        }
        Ok(())
    }
}

/// Adds layers to an image, removes their files, and makes it an operating system's.
pub(super) fn finish(image: &str, layers: &[PathBuf]) -> Result<(), String> {
    for layer in layers {
        let mut add = run::command("umoci");
        sample::succeed(add.args(["raw", "add-layer", "--image", image]).arg(layer))?;
        fs::remove_file(layer).map_err(sample::words)?;
    }
    let mut config = run::command("umoci");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    config.args(["config", "--image", image, "--architecture", architecture]);
    sample::succeed(config.args(["--config.label", "containers.bootc=1"]))
}

/// Bytes that no encoder makes smaller, the same for the same seed.
fn noise(seed: u32, len: usize, to: &mut dyn Write) -> std::io::Result<()> {
    let mut state = u64::from(seed) + 1;
    for at in (0..len).step_by(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bytes = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        to.write_all(bytes.get(..(len - at).min(8)).unwrap_or_default())?;
    }
    Ok(())
}

/// Lines that shrink to about an eighth, the same for the same seed.
fn text(seed: u32, len: usize, to: &mut dyn Write) -> std::io::Result<()> {
    let (mut left, mut line) = (len, 0_u64);
    while left > 0 {
        let mixed = (line + u64::from(seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        let text = format!("unit {seed}: line {line} of a log, measured {mixed} at the gateway\n");
        let part = text.as_bytes().get(..text.len().min(left)).unwrap_or_default();
        to.write_all(part)?;
        left -= part.len();
        line += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_give_equal_bytes_of_the_length_that_was_asked_for() {
        for write in [noise, text] {
            let bytes = |seed, len| {
                let mut bytes = Vec::new();
                write(seed, len, &mut bytes).unwrap();
                bytes
            };
            for len in [0, 1, 8, 1001] {
                assert_eq!(bytes(3, len).len(), len);
            }
            assert_eq!(bytes(3, 5000), bytes(3, 5000));
            assert_ne!(bytes(3, 5000), bytes(4, 5000));
        }
    }
}
