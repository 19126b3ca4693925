//! Where releases come from: registries, and OCI layouts and archives on a disk.
//!
//! A [`Reference`] names one as skopeo does, [`Sources`] opens it, [`LayoutWriter`] writes a layout.
//! Everything read here comes from strangers: sizes are compared with limits before anything is
//! read, no link is followed inside a layout, and small blobs are handed out only when their
//! digest is right. Large ones are read in place, and whoever reads them checks what they read.

mod archive;
mod blob;
mod directory;
mod document;
mod layout;
mod manifest;
mod offer;
mod package;
mod reference;
mod registry;
mod resolve;
mod signatures;
mod source;
mod statement;
pub mod tar;
mod writer;

pub use archive::ArchiveWriter;
pub use blob::{Blob, BlobReader};
pub use document::Document;
pub use layout::{Layout, LayoutError, Problem};
pub use manifest::{
    ANNOTATIONS_MAX, Annotations, CONFIG_LEN_MAX, DESCRIPTORS_MAX, Descriptor, INDEX_LEN_MAX,
    Index, MANIFEST_LEN_MAX, Manifest, Platform, REF_NAME, media_type,
};
pub use offer::{Offer, OfferError, Read};
pub use package::{Package, Refusal};
pub use reference::{LayoutReference, Reference, ReferenceError, RegistryReference, Transport};
pub use registry::{
    Access, Answer, Ask, ConfigurationError, CredentialsError, Limits, Lists, Parts, PushError,
    ReadAt, RegistryError, Repository, Scope, Sent, Target, Traffic, post_json,
};
pub use resolve::{IMAGES_MAX, Listed, Resolved};
pub use signatures::{Candidate, SIGNATURE_CANDIDATES_MAX, SIGNATURE_MANIFEST_LEN_MAX};
pub use source::{Reach, Source, SourceError, Sources};
pub use statement::{
    PREFIX, STATEMENT_ANNOTATIONS_MAX, STATEMENT_NAME_LEN_MAX, STATEMENT_VALUE_LEN_MAX, Statement,
    StatementError, Unreadable,
};
pub use writer::{BlobWriter, LayoutWriter};
