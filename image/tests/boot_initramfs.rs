//! Initramfs made by the tools that people use, and what those tools say of what became of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use gybe_core::digest::Digest;
use gybe_image::content::Content;
use gybe_image::initramfs::{INITRAMFS_LEN_MAX, Outcome, Unpacked, unpack};
use gybe_image::tree::Kind;

mod fixture;

use fixture::{Fixture, judge, run};

/// A folder with what goes into initramfs, and with them.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let early = bench.path("early/kernel/x86/microcode");
        fs::create_dir_all(&early).unwrap();
        fs::write(early.join("GenuineIntel.bin"), noise(1, 30_000)).unwrap();
        for (tree, seed) in [("main", 2), ("more", 3)] {
            let folder = bench.path(tree);
            fs::create_dir_all(folder.join("usr/lib/modules")).unwrap();
            for (index, len) in [0, 1, 4095, 4096, 4097, 20_000, 300_000].into_iter().enumerate() {
                let name = format!("usr/lib/modules/{index}-{}.ko", "x".repeat(index * 37));
                fs::write(folder.join(name), noise(seed + 10 * index, len)).unwrap();
            }
            fs::write(folder.join(tree), "text\n".repeat(3000)).unwrap();
            fs::set_permissions(folder.join(tree), fs::Permissions::from_mode(0o751)).unwrap();
            fs::hard_link(folder.join(tree), folder.join("linked")).unwrap();
            symlink("usr/lib", folder.join("lib")).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a line of the shell in the folder.
    fn shell(&self, line: &str) {
        let line = format!("set -eu -o pipefail; {line}");
        judge(Command::new("bash").args(["-c", &line]).current_dir(&self.0));
    }

    /// Packs a tree as initramfs-tools and dracut do it.
    fn cpio(&self, tree: &str) {
        let find = format!("cd {tree}; find . -print0 | LC_ALL=C sort -z");
        let cpio = "cpio --null --create --format=newc --reproducible --quiet";
        self.shell(&format!("({find} | {cpio}) > {tree}.cpio"));
    }

    /// Unpacks the file `name` into the file `to`.
    fn unpack(&self, name: &str, to: &str) -> Unpacked {
        let mut fixture = Fixture::new();
        let content = content(&mut fixture, &fs::read(self.path(name)).unwrap());
        match unpack(&fixture, &content, INITRAMFS_LEN_MAX).unwrap() {
            Outcome::Unpacked(unpacked) => {
                let mut bytes = vec![0; usize::try_from(unpacked.spooled.len()).unwrap()];
                unpacked.spooled.read_at(0, &mut bytes).unwrap();
                fs::write(self.path(to), bytes).unwrap();
                unpacked
            }
            Outcome::Left(reason) => panic!("{name} is left: {reason}"),
        }
    }

    /// What bsdtar and cpio list of an archive, with owners, links, times and sizes.
    fn listed(&self, name: &str) -> [String; 2] {
        let path = self.path(name);
        let tar = judge(Command::new("bsdtar").arg("-tvf").arg(&path));
        let mut cpio = Command::new("cpio");
        cpio.args(["--list", "--verbose", "--numeric-uid-gid", "--quiet", "-F"]).arg(&path);
        [tar, judge(&mut cpio)]
    }

    /// The bytes of every file that cpio unpacks.
    fn contents(&self, name: &str) -> String {
        let folder = self.path(&format!("{name}.d"));
        fs::create_dir(&folder).unwrap();
        let mut cpio = Command::new("cpio");
        cpio.args(["--extract", "--make-directories", "--quiet", "-F"]).arg(self.path(name));
        judge(cpio.current_dir(&folder));
        let sums = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
        judge(Command::new("sh").args(["-c", sums]).current_dir(&folder))
    }
}

fn content(fixture: &mut Fixture, bytes: &[u8]) -> Content {
    match fixture.content(bytes) {
        Kind::File(content) => content,
        other => panic!("{other:?}"),
    }
}

fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// How the tools compress an initramfs, and the names we have for it.
const COMPRESSORS: [(&str, &str); 8] = [
    ("cat", ""),
    ("gzip -9n", "gzip"),
    ("xz --check=crc32 -6", "xz"),
    ("xz --check=crc32 --x86 --lzma2=dict=1MiB -T1", "xz"),
    ("lz4 -l -9", "lz4"),
    ("zstd -q -19", "zstd"),
    ("zstd -q -1 --no-check -T2", "zstd"),
    ("zstd -q -19 --long=27", "zstd"),
];

#[test]
fn every_compressor_gives_the_same_initramfs_and_tools_see_in_it_what_went_in() {
    let bench = Bench::new();
    bench.cpio("main");
    let [listed, contents] = [bench.listed("main.cpio").join("\n"), bench.contents("main.cpio")];
    assert_eq!(contents.lines().count(), 9);
    let mut digests = Vec::new();
    for (index, (command, format)) in COMPRESSORS.into_iter().enumerate() {
        let name = format!("{index}.unpacked");
        bench.shell(&format!("{command} < main.cpio > {index}.img"));
        let unpacked = bench.unpack(&format!("{index}.img"), &name);
        let formats: Vec<_> = unpacked.formats.iter().map(ToString::to_string).collect();
        assert_eq!(formats.join(" "), format, "{command}");
        assert_eq!(unpacked.files.len(), 5, "files of a block or more: {command}");
        digests.push(unpacked.digest);
        if index == 0 {
            assert_eq!(bench.listed(&name).join("\n"), listed);
            assert_eq!(bench.contents(&name), contents);
        }
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn archives_behind_each_other_are_unpacked_in_order_and_the_early_one_stays_as_it_is() {
    let bench = Bench::new();
    for tree in ["early", "main", "more"] {
        bench.cpio(tree);
    }
    for (index, (first, second)) in
        [("zstd -q", "gzip"), ("xz --check=crc32", "lz4 -l"), ("cat", "cat")]
            .into_iter()
            .enumerate()
    {
        // Padding between archives, as boot loaders and mkinitcpio leave it.
        let parts = format!("cat early.cpio; {first} < main.cpio; head -c 4 /dev/zero");
        let align = format!("truncate -s %4 {index}.img");
        bench.shell(&format!(
            "({parts}) > {index}.img; {align}; {second} < more.cpio >> {index}.img"
        ));
        let name = format!("{index}.unpacked");
        bench.unpack(&format!("{index}.img"), &name);
        let [early, found] = ["early.cpio", &name].map(|name| fs::read(bench.path(name)).unwrap());
        assert!(found.starts_with(&early), "{first}, {second}");
        // initramfs-tools walks over archives without compression as Linux does. Debian 12's then
        // misses a compressed one at the end, whatever made the file, and says so.
        let listed = run(Command::new("lsinitramfs").arg(bench.path(&name)));
        let complaint = String::from_utf8_lossy(&listed.stderr);
        assert!(complaint.lines().all(|it| it == "cpio: premature end of archive"), "{complaint}");
        let listed = String::from_utf8(listed.stdout).unwrap();
        let names = |tree: &str| {
            let mut names = vec![];
            walk(&bench.path(tree), Path::new("."), &mut names);
            names
        };
        let mut expected = [names("early"), names("main"), names("more")].concat();
        let mut seen: Vec<_> = listed.lines().map(str::to_owned).collect();
        expected.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, expected, "{first}, {second}");
    }
}

/// The names that `find` gives.
fn walk(folder: &Path, name: &Path, names: &mut Vec<String>) {
    let plain = name.to_str().unwrap();
    names.push(plain.strip_prefix("./").unwrap_or(plain).to_owned());
    if folder.is_dir() && !folder.is_symlink() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            walk(&entry.path(), &name.join(entry.file_name()), names);
        }
    }
}

/// What cpio 2.13 and zstd 1.5 make is not the same on every machine, so this one is made here.
#[test]
fn the_layout_of_an_unpacked_initramfs_has_not_changed() {
    let entry = |mode: u32, name: &str, body: &[u8]| {
        let (len, name_len) = (body.len(), name.len() + 1);
        let mut bytes = format!(
            "070701{:08x}{mode:08x}{:032x}{len:08x}{:032x}{name_len:08x}{:08x}{name}",
            7, 1, 0, 0
        )
        .into_bytes();
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let archive = [
        entry(0o40_755, "usr", b""),
        entry(0o100_644, "usr/long", &noise(1, 300_000)),
        entry(0o100_755, "usr/short", &noise(2, 1000)),
        entry(0o100_644, "usr/block", &noise(3, 4096)),
        entry(0, "TRAILER!!!", b""),
    ]
    .concat();
    let bench = Bench::new();
    fs::write(bench.path("golden.cpio"), archive).unwrap();
    let unpacked = bench.unpack("golden.cpio", "golden.unpacked");
    let digest = "sha256:4f268e997fe6919bc22afe5a2c9b314151c5c70ea9874721382a437bfeb16eb1";
    assert_eq!(unpacked.digest.to_string(), digest);
    assert_eq!(Digest::of(&fs::read(bench.path("golden.unpacked")).unwrap()), unpacked.digest);
}
