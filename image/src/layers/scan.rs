//! The other thread's half of reading a layer: its members, as changes to the layers below.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::decode::Received;
use super::ostree::{self, Objects};
use super::{LayerProblem, Options};
use crate::content::Content;
use crate::tar::{Member, MemberKind, Reader, TarError, normal};
use crate::tree::{Kind, Node};

/// What begins the name of a marker for something deleted.
const WHITEOUT: &[u8] = b".wh.";
/// What begins the names that AUFS keeps for itself.
const WHITEOUT_META: &[u8] = b".wh..wh.";
/// The marker of a directory whose lower content is hidden.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Longest names and attributes of all layers together, in bytes.
pub(crate) const HEADERS_LEN_MAX: usize = 256 << 20;

/// What all layers have used up of their limits. Layers are read at once, and all of them are in
/// memory before the first is laid down.
#[derive(Debug, Default)]
pub(super) struct Used {
    entries: AtomicUsize,
    headers_len: AtomicUsize,
}

impl Used {
    fn add(&self, member: &Member, options: &Options) -> Result<(), LayerProblem> {
        let limit = options.entry_count_max;
        if self.entries.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(LayerProblem::Entries { limit });
        }
        self.add_headers(member.header_len)
    }

    fn add_headers(&self, len: usize) -> Result<(), LayerProblem> {
        let len = self.headers_len.fetch_add(len, Ordering::Relaxed).saturating_add(len);
        if len > HEADERS_LEN_MAX {
            return Err(LayerProblem::Headers { len, limit: HEADERS_LEN_MAX });
        }
        Ok(())
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is about; of a marker, what that marks.
    pub(crate) path: Vec<u8>,
    pub(crate) item: Item,
}

/// What a layer says about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// It is this. A directory is given without its names.
    Node(Node),
    /// It is another name for what has this path.
    HardLink(Vec<u8>),
    /// It is not there in the layers below.
    Whiteout,
    /// What the layers below have in it is not there.
    Opaque,
}

/// What the names of markers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Markers {
    /// That something in the layers below is not there.
    Count,
    /// Nothing: there are no layers below.
    AreFiles,
}

type Failure = (Option<Vec<u8>>, LayerProblem);

/// Takes a layer apart.
pub(super) fn scan(
    from: Received<'_>,
    layer: usize,
    markers: Markers,
    used: &Used,
    options: &Options,
) -> Result<Vec<Entry>, Failure> {
    let mut reader = Reader::new(from, options.layer_len_max);
    let mut entries: Vec<Entry> = Vec::new();
    let mut objects = Objects::default();
    loop {
        // An error between members is best placed by the last good one.
        let member = reader.next().map_err(|cause| match entries.last() {
            Some(last) => (Some([b"after ", &*last.path].concat()), cause.into()),
            None => (None, cause.into()),
        });
        let Some(member) = member? else { break };
        let path = member.path.clone();
        let failed = |problem| (Some(path.clone()), problem);
        used.add(&member, options).map_err(&failed)?;
        match entry(member, layer, markers, &mut reader, &mut objects, used) {
            Ok(entry) => entries.extend(entry),
            Err(problem) => return Err(failed(problem)),
        }
    }
    objects.apply(&mut entries);
    Ok(entries)
}

/// What a member says; `None` if it is of no concern.
fn entry(
    member: Member,
    layer: usize,
    markers: Markers,
    reader: &mut Reader<Received<'_>>,
    objects: &mut Objects,
    used: &Used,
) -> Result<Option<Entry>, LayerProblem> {
    let path = normal(&member.path).map_err(TarError::from)?;
    match marker(&path) {
        _ if markers == Markers::AreFiles => {}
        Marker::None => {}
        Marker::Of(entry) => return Ok(Some(entry)),
        Marker::Foreign => return Ok(None),
        Marker::Wrong { name } => return Err(LayerProblem::Whiteout { name }),
    }
    let kind = match member.kind {
        MemberKind::HardLink(target) => {
            let target = normal(&target).map_err(TarError::from)?;
            return Ok(Some(Entry { path, item: Item::HardLink(target) }));
        }
        MemberKind::Directory => {
            return Ok(Some(Entry { path, item: Item::Node(Node::directory(member.meta)) }));
        }
        MemberKind::File { len, pieces } if ostree::holds_xattrs(&path) => {
            if len > ostree::XATTRS_LEN_MAX {
                return Err(LayerProblem::OstreeXattrs);
            }
            let mut bytes = Vec::new();
            let digest = reader.digest_and(len, &pieces, |part| bytes.extend_from_slice(part))?;
            used.add_headers(objects.add(&path, &bytes)?)?;
            Kind::File(Content { layer, len, digest, pieces })
        }
        MemberKind::File { len, pieces } => {
            let digest = reader.digest(len, &pieces)?;
            Kind::File(Content { layer, len, digest, pieces })
        }
        MemberKind::Symlink(target) => Kind::Symlink(target),
        MemberKind::CharDevice(device) => Kind::CharDevice(device),
        MemberKind::BlockDevice(device) => Kind::BlockDevice(device),
        MemberKind::Fifo => Kind::Fifo,
    };
    Ok(Some(Entry { path, item: Item::Node(Node { meta: member.meta, kind }) }))
}

/// What a path marks.
enum Marker {
    /// Nothing: it is what it is.
    None,
    /// This.
    Of(Entry),
    /// Something that only AUFS understands.
    Foreign,
    /// Nothing that makes sense.
    Wrong { name: String },
}

fn marker(path: &[u8]) -> Marker {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (parent, name) = match slash {
        Some(at) => (path.get(..at), path.get(at..).and_then(|rest| rest.get(1..))),
        None => (None, Some(path)),
    };
    let (parent, name) = (parent.unwrap_or(b""), name.unwrap_or(b""));
    if name == OPAQUE {
        return Marker::Of(Entry { path: parent.to_vec(), item: Item::Opaque });
    }
    if path.split(|&byte| byte == b'/').any(|name| name.starts_with(WHITEOUT_META)) {
        return Marker::Foreign;
    }
    let wrong = |name: &[u8]| Marker::Wrong { name: name.escape_ascii().to_string() };
    if let Some(inside) = parent.split(|&byte| byte == b'/').find(|name| name.starts_with(WHITEOUT))
    {
        return wrong(inside);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Marker::None,
        Some(b"" | b"." | b"..") => wrong(name),
        Some(hidden) => {
            let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
            let path = [parent, slash, hidden].concat();
            Marker::Of(Entry { path, item: Item::Whiteout })
        }
    }
}
