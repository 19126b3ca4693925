//! What a client of zstd:chunked layers would fetch: the ranges of files that it does not have.
//!
//! The table of contents as containers/storage writes it, pkg/chunked/toc, read 2026-11: a frame
//! of JSON at the place that the layer's annotation names. A file of several chunks is an entry
//! and further entries of type `chunk`, and a chunk ends where the next one begins.

use std::collections::HashSet;

use serde::Deserialize;

/// Gaps up to this many bytes between two ranges are fetched with them.
pub(super) const BRIDGED: u64 = 4096;

/// The table of contents of one layer.
#[derive(Debug, Deserialize)]
struct Table {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    end_offset: u64,
    #[serde(default)]
    chunk_digest: String,
    #[serde(default)]
    chunk_type: String,
}

/// A stretch of a layer that is decoded alone.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    at: u64,
    end: u64,
    /// Digest of the file, and of this part of it: who has either has the piece.
    digests: [String; 2],
}

/// A layer: what its table says and how long that table is.
#[derive(Debug)]
pub(super) struct Layer {
    digest: String,
    table_len: u64,
    pieces: Vec<Piece>,
}

/// What has to be fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    /// Bytes of content, bridged gaps included.
    pub(super) bytes: u64,
    pub(super) ranges: u64,
    /// Bytes of the tables of layers that are not there.
    pub(super) table_bytes: u64,
    /// How many tables those are.
    pub(super) tables: u64,
}

impl Layer {
    /// Reads the JSON of a table.
    ///
    /// # Errors
    /// The JSON is not a table of contents.
    pub(super) fn parse(digest: &str, table_len: u64, json: &[u8]) -> Result<Self, String> {
        let table: Table =
            serde_json::from_slice(json).map_err(|cause| format!("layer {digest}: {cause}"))?;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut file: Option<(u64, String)> = None;
        for entry in table.entries {
            match entry.kind.as_str() {
                "reg" if entry.end_offset > entry.offset => {
                    file = Some((entry.end_offset, entry.digest.clone()));
                }
                "chunk" => {
                    if let (Some(before), Some(_)) = (pieces.last_mut(), &file) {
                        before.end = entry.offset;
                    }
                }
                _ => file = None,
            }
            let Some((end, whole)) = &file else { continue };
            // A hole needs no bytes, but still ends the chunk before it.
            let hole = entry.chunk_type == "zeros";
            let digests = [whole.clone(), if hole { HOLE.into() } else { entry.chunk_digest }];
            pieces.push(Piece { at: entry.offset, end: *end, digests });
        }
        Ok(Self { digest: digest.to_owned(), table_len, pieces })
    }
}

const HOLE: &str = "a hole";

/// What a client that has every file of `old` fetches to have every file of `new`.
pub(super) fn needed(new: &[Layer], old: &[Layer]) -> Needed {
    let mut there: HashSet<&str> = HashSet::from([HOLE]);
    let digests = old.iter().flat_map(|layer| &layer.pieces).flat_map(|piece| &piece.digests);
    there.extend(digests.map(String::as_str));
    there.remove("");
    let mut needed = Needed::default();
    for layer in new {
        if old.iter().any(|other| other.digest == layer.digest) {
            continue;
        }
        needed.tables += 1;
        needed.table_bytes += layer.table_len;
        let has = |piece: &&Piece| piece.digests.iter().any(|digest| there.contains(&**digest));
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut taken: HashSet<&str> = HashSet::new();
        let missing = layer.pieces.iter().filter(|piece| !has(piece) && piece.end > piece.at);
        for piece in missing {
            // A file of one chunk has no other digest. The same content twice is fetched once.
            let [file, chunk] = &piece.digests;
            if taken.insert(if chunk.is_empty() { file } else { chunk }) {
                ranges.push((piece.at, piece.end));
            }
        }
        there.extend(taken);
        ranges.sort_unstable();
        let mut end = None;
        for (from, to) in ranges {
            match end {
                Some(before) if from <= u64::saturating_add(before, BRIDGED) => {
                    needed.bytes += to.saturating_sub(before);
                }
                _ => {
                    needed.ranges += 1;
                    needed.bytes += to - from;
                }
            }
            end = Some(end.unwrap_or(0).max(to));
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(digest: &str, entries: &str) -> Layer {
        let json = format!(r#"{{"version":1,"entries":[{entries}]}}"#);
        Layer::parse(digest, 1000, json.as_bytes()).unwrap()
    }

    fn file(digest: &str, offset: u64, end: u64) -> String {
        format!(
            r#"{{"type":"reg","name":"n","size":1,"digest":"{digest}","offset":{offset},
            "endOffset":{end},"chunkDigest":"c{digest}"}}"#
        )
    }

    #[test]
    fn a_chunk_ends_where_the_next_begins_and_the_last_with_its_file() {
        let entries = r#"{"type":"dir","name":"d"},
            {"type":"reg","name":"f","digest":"f","offset":10,"endOffset":90,"chunkDigest":"1"},
            {"type":"chunk","name":"f","offset":40,"chunkOffset":5,"chunkDigest":"2"},
            {"type":"chunk","name":"f","offset":60,"chunkOffset":9,"chunkType":"zeros"},
            {"type":"reg","name":"empty"}"#;
        let layer = layer("l", entries);
        let ends: Vec<_> = layer.pieces.iter().map(|piece| (piece.at, piece.end)).collect();
        assert_eq!(ends, [(10, 40), (40, 60), (60, 90)]);
        let needed = needed(&[layer], &[]);
        assert_eq!((needed.bytes, needed.ranges), (50, 1), "a hole is not fetched");
    }

    #[test]
    fn what_the_old_image_has_is_free_and_small_gaps_are_bridged() {
        let old = layer("old", &[file("a", 0, 100), file("b", 100, 9000)].join(","));
        let files = [file("n1", 0, 50), file("a", 50, 4146), file("n2", 4146, 4150)];
        let near = layer("near", &files.join(","));
        let expected = Needed { bytes: 4150, ranges: 1, table_bytes: 1000, tables: 1 };
        assert_eq!(needed(&[near], std::slice::from_ref(&old)), expected);
        let files = [file("n1", 0, 50), file("a", 50, 4147), file("n2", 4147, 4151)];
        let far = layer("far", &files.join(","));
        let found = needed(&[far], std::slice::from_ref(&old));
        assert_eq!((found.bytes, found.ranges), (54, 2));
    }

    #[test]
    fn a_layer_that_is_there_costs_nothing_and_equal_files_are_fetched_once() {
        let one = || layer("same", &file("a", 0, 100));
        assert_eq!(needed(&[one()], &[one()]), Needed::default());
        let twice = layer("x", &[file("n", 0, 100), file("n", 9000, 9100)].join(","));
        let again = layer("y", &file("n", 0, 100));
        let found = needed(&[twice, again], &[]);
        let expected = Needed { bytes: 100, ranges: 1, table_bytes: 2000, tables: 2 };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let why = Layer::parse("l", 0, b"{}").unwrap_err();
        assert!(why.starts_with("layer l: missing field `entries`"), "{why}");
    }
}
