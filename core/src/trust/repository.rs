//! Under which name a release must have been signed.
//!
//! Simple signing names a repository (`docker-reference`), a bundle names none. cosign ignores the
//! name; containers/image compares it, as here: its `matchRepository` and `matchExact`.
//! Source: containers/image `docs/containers-policy.json.5.md`.

/// What is asked of the name under which a release was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repository<'p> {
    /// Nothing: a release may be copied to other repositories, and `compatible` says what it is for.
    Any,
    /// It is in this repository, under whichever tag: `host[:port]/path`.
    In(&'p str),
    /// It is this reference, with its tag: `host[:port]/path:tag`.
    Exactly(&'p str),
}

impl Repository<'_> {
    /// Whether a release that was signed as `reference` is what is asked for.
    pub(super) fn is(self, reference: &str) -> bool {
        match self {
            Self::Any => true,
            Self::In(repository) => repository_of(reference) == repository,
            Self::Exactly(wanted) => reference == wanted,
        }
    }
}

/// A reference without its digest and tag.
#[must_use]
pub fn repository_of(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    // A colon before the last slash belongs to a port.
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_any_tag_and_an_exact_reference_its_own() {
        let repository = Repository::In("host:5000/acme/gateway");
        for (reference, in_it) in [
            ("host:5000/acme/gateway", true),
            ("host:5000/acme/gateway:stable", true),
            ("host:5000/acme/gateway@sha256:00", true),
            ("host:5000/acme/gateway:stable@sha256:00", true),
            ("host/acme/gateway", false),
            ("host:5000/acme/gateway2", false),
            ("host:5000/acme", false),
            ("host:5000", false),
            ("", false),
        ] {
            assert_eq!(repository.is(reference), in_it, "{reference}");
        }
        let exact = Repository::Exactly("host:5000/acme/gateway:stable");
        assert!(exact.is("host:5000/acme/gateway:stable"));
        assert!(!exact.is("host:5000/acme/gateway"));
        assert!(!exact.is("host:5000/acme/gateway:beta"));
    }
}
