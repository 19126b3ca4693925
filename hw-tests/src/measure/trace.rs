//! What a program read from a source, counted by the kernel: the lines of `strace -f -y`.
//!
//! Neither the program nor a server has a say: each read of a file below the source is taken from
//! the system calls themselves. A request is what one read of a contiguous range would be: reads
//! that go on where the one before them ended are the same request.

use std::collections::HashMap;

/// The options that give the lines that [`Reads::of`] understands; the file of lines comes next.
pub(super) const OPTIONS: [&str; 8] = [
    "-f",
    "-qq",
    "-y",
    "-s0",
    "--seccomp-bpf",
    "--signal=none",
    "--trace=pread64,preadv,read,readv,mmap,sendfile,copy_file_range",
    "-o",
];

/// A read of a file below the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The file's name, without its folder.
    pub(super) name: String,
    /// `None` where the call says no position: it goes on behind the one before.
    pub(super) at: Option<u64>,
    pub(super) len: u64,
}

/// Everything that was read from a source.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    pub(super) ranges: Vec<Range>,
}

/// Bytes that one request would bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) name: String,
    pub(super) at: u64,
    pub(super) len: u64,
}

impl Reads {
    /// What the lines of `text` read from files below `folder`, in the order in which the calls
    /// ended.
    ///
    /// # Errors
    /// A line that reads from such a file in a way that this cannot count.
    pub(super) fn of(text: &str, folder: &str) -> Result<Self, String> {
        let mut reads = Self::default();
        let mut begun: HashMap<&str, String> = HashMap::new();
        for line in text.lines() {
            let (thread, call) = line.split_once(' ').unwrap_or((line, ""));
            let call = call.trim_start();
            if let Some(head) = call.strip_suffix("<unfinished ...>") {
                begun.insert(thread, head.to_owned());
                continue;
            }
            let whole = match call.split_once(" resumed>") {
                Some((start, rest)) if start.starts_with("<...") => {
                    begun.remove(thread).unwrap_or_default() + rest
                }
                _ => call.to_owned(),
            };
            if let Some(read) = parse(&whole, folder)? {
                reads.add(read);
            }
        }
        Ok(reads)
    }

    fn add(&mut self, read: Read) {
        let Read { name, at, len } = read;
        let behind = |range: &Range| range.at.saturating_add(range.len);
        let at = at.unwrap_or_else(|| {
            self.ranges.iter().rev().find(|range| range.name == name).map_or(0, behind)
        });
        // Reads of other files between two that belong together come from other threads.
        let before = self.ranges.iter_mut().rev().find(|range| range.name == name);
        match before {
            Some(range) if behind(range) == at => range.len = range.len.saturating_add(len),
            _ => self.ranges.push(Range { name, at, len }),
        }
    }

    /// How many bytes, those that were read twice counted twice.
    pub(super) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.len).sum()
    }

    /// How many bytes were read of this stretch of a file.
    pub(super) fn overlap(&self, name: &str, at: u64, len: u64) -> u64 {
        let end = at.saturating_add(len);
        let of = |range: &Range| {
            let (from, to) = (range.at.max(at), range.at.saturating_add(range.len).min(end));
            to.saturating_sub(from)
        };
        self.ranges.iter().filter(|range| range.name == name).map(of).sum()
    }

    /// How many requests.
    pub(super) fn requests(&self) -> usize {
        self.ranges.len()
    }
}

/// The read in one whole call, if it is one of a file below `folder`.
fn parse(call: &str, folder: &str) -> Result<Option<Read>, String> {
    let Some(name) = file_below(call, folder) else { return Ok(None) };
    let unknown = || format!("strace: cannot count `{call}`");
    let (arguments, result) = call.rsplit_once(") = ").ok_or_else(unknown)?;
    let result = result.split_whitespace().next().unwrap_or_default();
    if result.starts_with('-') || result == "?" || result == "0" {
        return Ok(None);
    }
    let len = result.parse().map_err(|_| unknown())?;
    let at = match arguments.split_once('(').ok_or_else(unknown)?.0 {
        "pread64" | "preadv" => {
            let position = arguments.rsplit_once(", ").ok_or_else(unknown)?.1;
            Some(position.parse().map_err(|_| unknown())?)
        }
        "read" | "readv" => None,
        _ => return Err(unknown()),
    };
    Ok(Some(Read { name: name.to_owned(), at, len }))
}

/// The name of the file that a call is about, if it lies below `folder`.
fn file_below<'a>(call: &'a str, folder: &str) -> Option<&'a str> {
    let (_, path) = call.split_once('<')?;
    let (path, _) = path.split_once('>')?;
    let below = path.strip_prefix(folder)?.strip_prefix('/')?;
    below.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"
71 pread64(5</r/blobs/sha256/aa>, ""..., 100, 0) = 100
71 pread64(5</r/blobs/sha256/aa>, ""..., 50, 100) = 50
72 pread64(6</r/blobs/sha256/bb>, ""..., 4096, 8192) = 4096
71 pread64(5</r/blobs/sha256/aa>,  <unfinished ...>
72 pread64(6</r/blobs/sha256/bb>, ""..., 4096, 12288) = 4096
71 <... pread64 resumed>""..., 10, 150) = 10
71 pread64(7</dev/root_a>, ""..., 4096, 0) = 4096
71 read(8</r/index.json>, ""..., 100) = 100
72 pread64(6</r/blobs/sha256/bb>, ""..., 4096, 12288) = 4096
71 read(5</r/blobs/sha256/cc>, ""..., 64) = 64
71 read(5</r/blobs/sha256/cc>, ""..., 64) = 3
71 read(5</r/blobs/sha256/cc>, ""..., 64) = 0
71 pread64(5</r/blobs/sha256/aa>, 0x7ffe, 10, 999) = -1 EINTR (Interrupted system call)
71 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3</lib/libc.so.6>, 0) = 0x7f00
"#;

    fn range(name: &str, at: u64, len: u64) -> Range {
        Range { name: name.into(), at, len }
    }

    #[test]
    fn reads_that_go_on_are_one_request_and_reads_again_count_again() {
        let reads = Reads::of(LINES, "/r/blobs").unwrap();
        let expected = [
            range("aa", 0, 160),
            range("bb", 8192, 8192),
            range("bb", 12288, 4096),
            range("cc", 0, 67),
        ];
        assert_eq!(reads.ranges, expected);
        assert_eq!((reads.bytes(), reads.requests()), (160 + 8192 + 4096 + 67, 4));
        assert_eq!(reads.overlap("bb", 12_000, 1000), 1000 + 712, "one of them twice");
        assert_eq!(reads.overlap("aa", 160, 10), 0);
    }

    #[test]
    fn what_cannot_be_counted_is_an_error_and_not_nothing() {
        for line in [
            "7 mmap(NULL, 8192, PROT_READ, MAP_SHARED, 3</r/blobs/sha256/aa>, 0) = 0x7f00",
            "7 pread64(5</r/blobs/sha256/aa>, \"\"..., 10, 0x10) = 10",
            "7 pread64(5</r/blobs/sha256/aa>, \"\"..., 10, 0",
        ] {
            let why = Reads::of(line, "/r/blobs").unwrap_err();
            assert!(why.starts_with("strace: cannot count"), "{why}");
        }
        assert_eq!(Reads::of("7 +++ exited with 0 +++", "/r/blobs").unwrap().requests(), 0);
    }

    #[test]
    fn the_real_strace_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        std::fs::create_dir(path.join("blobs")).unwrap();
        std::fs::write(path.join("blobs/x"), vec![7; 100_000]).unwrap();
        let lines = path.join("lines");
        let mut trace = crate::run::command("strace");
        trace.args(OPTIONS).arg(&lines).arg("cat").arg(path.join("blobs/x"));
        let output = trace.output().expect("strace runs; run: cargo full-test, which installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&lines).unwrap();
        let reads = Reads::of(&text, &path.join("blobs").to_string_lossy()).unwrap();
        assert_eq!(reads.ranges, [range("x", 0, 100_000)], "{text}");
    }
}
