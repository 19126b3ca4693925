//! The core on a Cortex-M4 in QEMU, against the host: the firmware verifies, installs, is cut off
//! and goes on, and its slots are byte for byte those of `gybe install`. It must fit 96 KiB of
//! flash and 32 KiB of RAM, the decoder and its workspace apart.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, reason = "the table is what people look for")]

mod bench;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bench::{Bench, Device, Parts, Small, hex, run, succeed, tool};
use serde_json::Value;

/// The budget in bytes.
const FLASH_MAX: u64 = 96 << 10;
const RAM_MAX: u64 = 32 << 10;
/// The partitions, as `board.rs` of the firmware has them.
const ROOT_LEN: u64 = 4 << 20;
const BOOT_LEN: u64 = 2 << 20;
const TARGET: &str = "thumbv7em-none-eabihf";

/// The firmware and what its linker says of it.
struct Firmware {
    elf: PathBuf,
    map: String,
}

/// Builds the firmware with Debian's compiler, which has the source of `core`, and the linker of
/// our own.
fn build() -> Firmware {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("cortex-m4");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("cortex-m4");
    let tools = std::env::var_os("GYBE_TOOLS")
        .map_or_else(|| target.with_file_name("tools"), PathBuf::from);
    let sysroot = succeed(tool("rustc").args(["--print", "sysroot"]).current_dir(&package));
    let host = succeed(tool("rustc").args(["--print", "host-tuple"]).current_dir(&package));
    let linker = format!("{}/lib/rustlib/{}/bin/rust-lld", sysroot.trim(), host.trim());
    let map = target.join("firmware.map");
    let flags = [
        // Small rather than fast, as a device's own build would have it.
        "--cfg",
        "sha2_backend_soft=\"compact\"",
        "-Zlocation-detail=none",
        "-Zfmt-debug=none",
        "-Zunstable-options",
        "-Cpanic=immediate-abort",
        &format!("-Clink-arg=-Map={}", map.display()),
    ];
    let mut cargo = tool(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.args(["build", "--locked", "--release", "-Zbuild-std=core", "--target", TARGET]);
    cargo.current_dir(&package);
    // What the tests were built with is not for another compiler and target.
    for name in ["RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_PROFILE_RELEASE_OPT_LEVEL"] {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC", tools.join("debian-rust/rustc")).env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER", linker);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    succeed(&mut cargo);
    let elf = target.join(TARGET).join("release/gybe-cortex-m4");
    Firmware { elf, map: fs::read_to_string(map).unwrap() }
}

/// A release that both keys signed, and the device that trusts them, with the release installed.
struct Host<'b> {
    parts: Parts,
    device: Device<'b>,
}

impl<'b> Host<'b> {
    fn new(bench: &'b Bench) -> Self {
        // Noise that fills its blocks is stored, text is compressed.
        let small = Small { files: 5, noise_len: 64 * 4096, changed: 2, ..Small::new(1) };
        let sealed = bench.seal(&small.make(bench, "image"), "release", 1);
        assert_eq!(sealed["targets"].as_array().unwrap().len(), 2, "{sealed}");
        let key = bench.key("ed25519");
        succeed(tool("openssl").args(["genpkey", "-algorithm", "ED25519", "-out"]).arg(&key));
        let mut public = tool("openssl");
        public.args(["pkey", "-pubout", "-in"]).arg(&key);
        succeed(public.arg("-out").arg(bench.public_key("ed25519")));
        bench.sign("release", "ed25519");
        let device = Device::new(bench, "device");
        let trust = "threshold = 2\n\
             [[key]]\nname = \"p256\"\nfile = \"release.pub\"\n\
             [[key]]\nname = \"ed25519\"\nfile = \"ed25519.pub\"\n";
        device.write("usr/lib/gybe/trust.toml", trust);
        let public = fs::read_to_string(bench.public_key("ed25519")).unwrap();
        device.write("usr/lib/gybe/ed25519.pub", &public);
        for (name, len) in [("root_b", ROOT_LEN), ("boot_b", BOOT_LEN)] {
            device.resize(name, len);
        }
        device.gybe(&["install", &bench.source("release"), "--slot", "b"]).done();
        Self { parts: Parts::read(&bench.path("release")), device }
    }

    /// The signatures as the trailer of the slot keeps them: part 3 of the footer.
    fn signatures(&self) -> Vec<u8> {
        let partition = fs::read(self.device.partition("root_b")).unwrap();
        let footer = &partition[partition.len() - 4096..];
        let entry = &footer[48 + 2 * 48..];
        let number = |at: usize| {
            usize::try_from(u64::from_le_bytes(entry[at..at + 8].try_into().unwrap())).unwrap()
        };
        partition[number(0) * 4096..][..number(8)].to_vec()
    }

    /// What the firmware finds on its flash chip; see its `shelf.rs`.
    fn shelf(&self, bench: &Bench) -> PathBuf {
        let der = |name: &str| {
            let path = bench.path(&format!("{name}.der"));
            let mut make = tool("openssl");
            make.args(["pkey", "-pubin", "-outform", "DER", "-in"]).arg(bench.public_key(name));
            succeed(make.arg("-out").arg(&path));
            fs::read(path).unwrap()
        };
        let (variables, copy) = (bench.path("variables"), bench.path("copy"));
        fs::write(&variables, "bootdelay=2\n").unwrap();
        succeed(tool("mkenvimage").args(["-r", "-s", "0x100", "-o"]).arg(&copy).arg(&variables));
        let file = |name: &str| fs::read(self.parts.file(name)).unwrap();
        let pieces = [
            bench::native().as_bytes().to_vec(),
            fs::read(copy).unwrap(),
            der("release"),
            der("ed25519"),
            file("manifest"),
            file("config"),
            self.signatures(),
            self.parts.recipe.clone(),
            self.parts.pack.clone(),
        ];
        let mut shelf = b"GYBEFW\0\0".to_vec();
        for piece in &pieces {
            shelf.extend(u32::try_from(piece.len()).unwrap().to_le_bytes());
        }
        shelf.extend(pieces.concat());
        let path = bench.path("shelf");
        fs::write(&path, shelf).unwrap();
        path
    }
}

/// Runs the firmware with what it finds on its flash chip; gives its lines.
fn emulate(firmware: &Firmware, shelf: &Path) -> Vec<String> {
    // It takes seconds; a fault within a fault would go on for ever.
    let mut qemu = tool("timeout");
    qemu.args([
        "600",
        "qemu-system-arm",
        "-machine",
        "mps2-an386",
        "-nographic",
        "-monitor",
        "none",
        "-serial",
        "none",
    ]);
    qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(&firmware.elf);
    let shelf = format!("loader,file={},addr=0x21000000,force-raw=on", shelf.display());
    // Semihosting writes single letters to stderr.
    let ended = run(qemu.args(["-device", &shelf])).done();
    ended.stderr.lines().map(str::to_owned).collect()
}

/// The lines that end in a number, by what stands before it.
fn numbers(lines: &[String]) -> BTreeMap<&str, u64> {
    let split = lines.iter().filter_map(|line| line.rsplit_once(' '));
    split.filter_map(|(name, number)| Some((name, number.parse().ok()?))).collect()
}

/// Bytes in flash and in RAM before the stack: of everything but the decoder, and of the decoder.
#[derive(Debug, Default)]
struct Sizes {
    flash: u64,
    variables: u64,
    decoder: u64,
}

/// Adds up what the linker's map says of each input. The decoder's objects come from its archive.
fn sizes(map: &str) -> Sizes {
    let mut sizes = Sizes::default();
    let mut section = String::new();
    for line in map.lines().skip(1) {
        // VMA, LMA and size in hexadecimal, alignment; then, further in, section, input or symbol.
        let mut words = line.split_whitespace();
        let [_, _, Some(size), _] = [(); 4].map(|()| words.next()) else { continue };
        let size = u64::from_str_radix(size, 16).unwrap();
        let Some(named) = line.get(33..) else { continue };
        let depth = named.len() - named.trim_start().len();
        match (depth, section.as_str()) {
            (0, _) => section = named.trim().to_owned(),
            (8, ".vector_table" | ".text" | ".rodata" | ".data") if named.contains("zstd_sys") => {
                sizes.decoder += size;
            }
            (8, ".vector_table" | ".text" | ".rodata") => sizes.flash += size,
            (8, ".data") => {
                (sizes.flash, sizes.variables) = (sizes.flash + size, sizes.variables + size)
            }
            (8, ".bss" | ".uninit") => sizes.variables += size,
            _ => {}
        }
    }
    sizes
}

fn kib(bytes: u64) -> String {
    format!("{bytes:>9} bytes {:>7.1} KiB", bytes as f64 / 1024.0)
}

#[test]
fn a_cortex_m4_installs_what_the_host_does_within_its_budget() {
    let bench = Bench::new("cortex-m4");
    let firmware = build();
    let host = Host::new(&bench);
    let lines = emulate(&firmware, &host.shelf(&bench));
    let text = lines.join("\n");
    let numbers = numbers(&lines);
    println!("{text}");

    for key in ["p256", "ed25519", "both"] {
        assert!(lines.contains(&format!("verified {key}")), "{text}");
    }
    let manifest = fs::metadata(host.parts.file("manifest")).unwrap().len();
    assert_eq!(numbers["refused"], manifest.div_ceil(97), "a wrong bit every 97 bytes\n{text}");

    // To the last byte: targets, hash tree and trailer.
    for name in ["root", "boot"] {
        let digest = hex(&fs::read(host.device.partition(&format!("{name}_b"))).unwrap());
        for install in ["whole", "resumed"] {
            assert!(lines.contains(&format!("{install} {name} {digest}")), "{digest}\n{text}");
        }
    }

    let blocks = |install: &str| {
        let kinds = ["skipped", "zero", "stored", "decoded"];
        kinds.map(|kind| numbers[format!("{install} {kind}").as_str()])
    };
    let config: &Value = &host.parts.config;
    let targets = config["targets"].as_array().unwrap().iter();
    let total: u64 = targets.map(|it| it["size"].as_u64().unwrap().div_ceil(4096)).sum();
    let [skipped, _, stored, decoded] = blocks("whole");
    assert_eq!(blocks("whole").iter().sum::<u64>(), total, "{text}");
    assert_eq!(skipped, 0, "{text}");
    assert!(stored > 100 && decoded > 100, "chunks of both kinds\n{text}");
    let [skipped, ..] = blocks("resumed");
    assert_eq!(blocks("resumed").iter().sum::<u64>(), total, "{text}");
    assert!(skipped > total / 4, "{text}");
    let [whole, resumed] = [numbers["whole fetched"], numbers["resumed fetched"]];
    assert!(resumed < whole * 3 / 4, "{text}");

    let said = |line: &str| lines.iter().filter(|found| *found == line).count();
    assert_eq!((said("cut source"), said("cut power")), (1, 1), "{text}");
    // After each cut and each wrong bit only A is good, and nothing is on trial.
    assert_eq!(said("state good bad none"), 2 + 8, "{text}");
    assert_eq!(said("state good bad b"), 1, "{text}");
    // Compressed frames are not decoded, and chunks of stored ones are not written.
    let [frames, chunks] = ["ended frame", "ended chunk"].map(said);
    assert_eq!(frames + chunks, 8, "{text}");
    assert!(frames > 0 && chunks > 0, "{text}");

    let sizes = sizes(&firmware.map);
    let ram = sizes.variables + numbers["stack all"];
    println!("\nflash, without the decoder {}   limit {}", kib(sizes.flash), kib(FLASH_MAX));
    println!("RAM: variables and stack   {}   limit {}", kib(ram), kib(RAM_MAX));
    println!("  stack to verify          {}", kib(numbers["stack verify"]));
    println!("decoder, flash             {}", kib(sizes.decoder));
    println!("decoder, workspace         {}", kib(numbers["workspace decoder"]));
    println!("fetched, whole             {}", kib(whole));
    println!("fetched, after two cuts    {}", kib(resumed));
    assert!(sizes.flash > 60 << 10 && sizes.decoder > 8 << 10, "not all was counted: {sizes:?}");
    assert!(sizes.flash <= FLASH_MAX, "flash: {sizes:?}");
    assert!(ram <= RAM_MAX, "RAM: {ram} bytes, limit {RAM_MAX}");
}
