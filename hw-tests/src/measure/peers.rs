//! What other tools would fetch for the same update, on the same bytes, in the same run.
//!
//! Those that work on images get the root file system as it lies in the slots; zstd:chunked gets
//! the layers that the release was sealed from.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use super::{
    inputs::{BASE, Pair},
    lab::{self, Lab},
    layout::{layers, number, text},
    toc,
};
use crate::{run, sample};

/// Another way to bring the new image to a device that has the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// Layers that changed, as the build compressed them.
    Layers,
    /// Ranges of zstd:chunked layers, found by their tables of contents.
    Chunked,
    Casync,
    Zchunk,
    /// The whole root file system as one stream.
    Zstd3,
    Zstd19,
    /// A patch made beforehand for exactly these two.
    Patch3,
    Patch19,
}

impl Peer {
    pub(super) const ALL: [Self; 8] = [
        Self::Layers,
        Self::Chunked,
        Self::Casync,
        Self::Zchunk,
        Self::Zstd3,
        Self::Zstd19,
        Self::Patch3,
        Self::Patch19,
    ];

    /// Those that take minutes, and run only where the table of pairs asks for them.
    fn is_slow(self) -> bool {
        matches!(self, Self::Zstd19 | Self::Patch19)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Layers => "layers that changed, gzip",
            Self::Chunked => "zstd:chunked, ranges and tables",
            Self::Casync => "casync, missing chunks and index",
            Self::Zchunk => "zchunk, missing chunks and header",
            Self::Zstd3 => "whole root, zstd -3",
            Self::Zstd19 => "whole root, zstd -19",
            Self::Patch3 => "zstd -3 --patch-from (made beforehand)",
            Self::Patch19 => "zstd -19 --patch-from (made beforehand)",
        }
    }
}

/// What a peer would fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) bytes: u64,
    pub(super) requests: u64,
}

/// What every peer would fetch; those that did not run are not in it.
pub(super) type Fetches = HashMap<Peer, Fetch>;

/// The root file systems of both slots, as files of their own.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) old: PathBuf,
    pub(super) new: PathBuf,
}

/// Runs every peer on a pair, two at a time: none of them is timed.
pub(super) fn run(lab: &Lab, pair: &Pair, roots: &Roots) -> Result<Fetches, String> {
    let is_asked = |peer: &Peer| !peer.is_slow() || pair.slow_peers.contains(peer);
    let (patches, others): (Vec<Peer>, Vec<Peer>) = Peer::ALL
        .into_iter()
        .filter(is_asked)
        .partition(|peer| matches!(peer, Peer::Patch3 | Peer::Patch19));
    let all = |peers: &[Peer]| -> Result<Vec<(Peer, Fetch)>, String> {
        peers.iter().map(|peer| Ok((*peer, peer.fetch(lab, pair, roots)?))).collect()
    };
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| all(&patches));
        let second = all(&others);
        (first.join(), second)
    });
    let mut found = first.map_err(|_| "a peer ended early")??;
    found.extend(second?);
    Ok(found.into_iter().collect())
}

impl Peer {
    fn fetch(self, lab: &Lab, pair: &Pair, roots: &Roots) -> Result<Fetch, String> {
        match self {
            Self::Layers => changed_layers(lab, pair),
            Self::Chunked => chunked(lab, pair),
            Self::Casync => casync(lab, roots),
            Self::Zchunk => zchunk(lab, roots),
            Self::Zstd3 => zstd(lab, "-3", None, &roots.new),
            Self::Zstd19 => zstd(lab, "-19", None, &roots.new),
            Self::Patch3 => zstd(lab, "-3", Some(&roots.old), &roots.new),
            Self::Patch19 => zstd(lab, "-19", Some(&roots.old), &roots.new),
        }
    }
}

fn changed_layers(lab: &Lab, pair: &Pair) -> Result<Fetch, String> {
    let images = lab.inputs.images();
    let (old, new) = (images.manifest(BASE)?, images.manifest(pair.tag)?);
    let there: HashSet<&str> =
        layers(&old).filter_map(|layer| text(layer, "/digest").ok()).collect();
    let mut fetch = Fetch { bytes: 0, requests: 0 };
    for layer in layers(&new) {
        if !there.contains(text(layer, "/digest")?) {
            fetch.bytes += number(layer, "/size")?;
            fetch.requests += 1;
        }
    }
    Ok(fetch)
}

fn chunked(lab: &Lab, pair: &Pair) -> Result<Fetch, String> {
    let chunked = lab.inputs.chunked();
    let needed = toc::needed(&chunked.tables(pair.tag)?, &chunked.tables(BASE)?);
    let bytes = needed.bytes + needed.table_bytes;
    Ok(Fetch { bytes, requests: needed.ranges + needed.tables })
}

/// What is made of the old root serves every pair.
fn once(path: &Path, make: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    if path.exists() { Ok(()) } else { make() }
}

fn casync(lab: &Lab, roots: &Roots) -> Result<Fetch, String> {
    let make = |root: &Path| -> Result<(PathBuf, PathBuf), String> {
        let (index, store) = (root.with_extension("caibx"), root.with_extension("castr"));
        once(&index, || {
            let mut make = run::command("casync");
            make.arg("make").arg(format!("--store={}", store.display())).arg(&index).arg(root);
            lab.measure(&make).map(drop)
        })?;
        Ok((index, store))
    };
    let (_, old) = make(&roots.old)?;
    let (index, new) = make(&roots.new)?;
    let (old, chunks) = (chunk_files(&old)?, chunk_files(&new)?);
    let missing = chunks.iter().filter(|(name, _)| !old.contains_key(*name));
    let (count, bytes) = missing.fold((0, 0), |(count, bytes), (_, len)| (count + 1, bytes + len));
    let fetch = Fetch { bytes: bytes + lab::len(&index)?, requests: count + 1 };
    lab::remove(&index)?;
    lab::remove(&new)?;
    Ok(fetch)
}

/// The chunks in a store of casync, and how long each is.
fn chunk_files(store: &Path) -> Result<HashMap<String, u64>, String> {
    let mut found = HashMap::new();
    for folder in fs::read_dir(store).map_err(sample::words)? {
        for file in fs::read_dir(folder.map_err(sample::words)?.path()).map_err(sample::words)? {
            let file = file.map_err(sample::words)?;
            let len = file.metadata().map_err(sample::words)?.len();
            found.insert(file.file_name().to_string_lossy().into_owned(), len);
        }
    }
    Ok(found)
}

fn zchunk(lab: &Lab, roots: &Roots) -> Result<Fetch, String> {
    let make = |root: &Path| -> Result<PathBuf, String> {
        let made = root.with_extension("zck");
        once(&made, || {
            let mut make = run::command("zck");
            lab.measure(make.arg("--output").arg(&made).arg(root)).map(drop)
        })?;
        Ok(made)
    };
    let (old, new) = (make(&roots.old)?, make(&roots.new)?);
    let mut ask = run::command("zck_delta_size");
    let (_, said) = lab.measure(ask.args([&old, &new]))?;
    lab::remove(&new)?;
    delta_size(&said).ok_or_else(|| format!("zck_delta_size said {said:?}"))
}

/// Reads `Would download 80546 of 25141343 bytes` and `Matched 675 of 676 chunks`. The bytes
/// include the header; the requests are one for it and one for each chunk.
fn delta_size(said: &str) -> Option<Fetch> {
    let numbers = |start: &str| -> Option<(u64, u64)> {
        let rest = said.lines().find_map(|line| line.strip_prefix(start))?;
        let mut numbers = rest.split_whitespace().filter_map(|word| word.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    let (bytes, _) = numbers("Would download ")?;
    let (matched, all) = numbers("Matched ")?;
    Some(Fetch { bytes, requests: all.checked_sub(matched)? + 1 })
}

fn zstd(lab: &Lab, level: &str, old: Option<&Path>, new: &Path) -> Result<Fetch, String> {
    let kind = if old.is_some() { "patch" } else { "zst" };
    let made = new.with_extension(format!("{kind}{level}"));
    let mut make = run::command("zstd");
    make.args(["--quiet", "--force", level]);
    if let Some(old) = old {
        make.arg("--long=31").arg(format!("--patch-from={}", old.display()));
    }
    lab.measure(make.arg(new).arg("-o").arg(&made))?;
    let bytes = lab::len(&made)?;
    lab::remove(&made)?;
    Ok(Fetch { bytes, requests: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zck_delta_size_says_is_read() {
        let said = "Would download 80546 of 25141343 bytes\nMatched 675 of 676 chunks\n";
        assert_eq!(delta_size(said), Some(Fetch { bytes: 80_546, requests: 2 }));
        for wrong in ["", "Would download 1 of 2 bytes\n", "Matched 3 of 2 chunks\n"] {
            assert_eq!(delta_size(wrong), None, "{wrong:?}");
        }
    }
}
