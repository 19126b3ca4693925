//! Why a registry gives nothing, or nothing that may be taken.

use std::time::Duration;

use gybe_core::digest::Digest;

use super::configuration::ConfigurationError;
use super::credentials::CredentialsError;
use crate::layout::Problem;

/// Why something cannot be had from a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// `registries.conf` cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A file with credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The certificates of a registry cannot be used.
    #[error("certificates: {path}: {why}")]
    Certificates {
        /// The file.
        path: String,
        /// Why not.
        why: String,
    },
    /// The program cannot set up what it needs to connect.
    #[error("cannot set up connections: {why}")]
    Setup {
        /// Why not.
        why: String,
    },
    /// `registries.conf` says that it is not to be asked.
    #[error("{name} is blocked by registries.conf")]
    Blocked {
        /// The repository.
        name: String,
    },
    /// There is no connection.
    #[error("{host}: cannot connect: {why}")]
    Connect {
        /// The host.
        host: String,
        /// Why not.
        why: String,
    },
    /// The host shows no certificate that is believed.
    #[error("{host}: its certificate is not believed: {why}")]
    Certificate {
        /// The host.
        host: String,
        /// Why not.
        why: String,
    },
    /// A connection broke.
    #[error("{host}: connection broke: {why}")]
    Broke {
        /// The host.
        host: String,
        /// How.
        why: String,
    },
    /// Nothing comes.
    #[error("{host}: no answer within {} s", after.as_secs_f32())]
    Stalled {
        /// The host.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// Too little comes.
    #[error("{host}: slower than {limit} bytes a second")]
    Slow {
        /// The host.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// Everything together takes too long.
    #[error("{host}: not done within {} s", limit.as_secs())]
    Overall {
        /// The host.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// More would be received than was allowed.
    #[error("more than {limit} bytes would be received: {used} have been, {wanted} are wanted")]
    Budget {
        /// What is allowed.
        limit: u64,
        /// What was received.
        used: u64,
        /// What is wanted beside it.
        wanted: u64,
    },
    /// There is no such thing.
    #[error("{host} has no {what}")]
    NotFound {
        /// The host.
        host: String,
        /// What.
        what: String,
    },
    /// Credentials are missing or wrong.
    #[error("{host} asks for other credentials for {what}{said}")]
    Unauthorized {
        /// The host.
        host: String,
        /// What for.
        what: String,
        /// Its own words.
        said: String,
    },
    /// The registry is busy.
    #[error("{host} is busy (status {status})")]
    Busy {
        /// The host.
        host: String,
        /// 429 or 503.
        status: u16,
        /// How long it asks to wait.
        after: Option<Duration>,
    },
    /// The registry asks to wait longer than is waited.
    #[error("{host} asks to wait {} s, limit {} s", after.as_secs(), limit.as_secs())]
    WaitTooLong {
        /// The host.
        host: String,
        /// How long.
        after: Duration,
        /// How long is waited at most.
        limit: Duration,
    },
    /// The registry does not do it.
    #[error("{host} answers {what} with status {status}{said}")]
    Status {
        /// The host.
        host: String,
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
        /// Its own words.
        said: String,
    },
    /// A link to a store does not hold any more.
    #[error("{host}: the link to it has expired (status {status})")]
    Expired {
        /// The store.
        host: String,
        /// The status.
        status: u16,
    },
    /// An answer leads somewhere that is not followed.
    #[error("{host} leads to {to}, {why}")]
    Redirect {
        /// The host.
        host: String,
        /// Where to.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// Tokens are given out by somebody who is not known to do so.
    #[error("{host} asks to get a token from {realm}, {why}")]
    Realm {
        /// The host.
        host: String,
        /// Who that would be.
        realm: String,
        /// Why it is not asked.
        why: &'static str,
    },
    /// A challenge cannot be met.
    #[error("{host} asks for credentials in a way that is not known: {challenge}")]
    Challenge {
        /// The host.
        host: String,
        /// Its words.
        challenge: String,
    },
    /// An answer is longer than it may be.
    #[error("{host}: {what} is more than {limit} bytes")]
    TooLong {
        /// The host.
        host: String,
        /// What.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// An answer is not what was asked for.
    #[error("{host}: {what}: {why}")]
    Wrong {
        /// The host.
        host: String,
        /// What.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A document is another one than was asked for.
    #[error("{host}: {digest} is corrupt: the digest of its bytes is {found}")]
    Digest {
        /// The host.
        host: String,
        /// What was asked for.
        digest: Digest,
        /// What came.
        found: Digest,
    },
    /// What was found does not lead to one release.
    #[error("{reference}: {problem}")]
    Resolve {
        /// The reference.
        reference: String,
        /// What is wrong.
        problem: Box<Problem>,
    },
}

impl RegistryError {
    /// Whether it may be otherwise in a moment.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Broke { .. }
            | Self::Stalled { .. }
            | Self::Slow { .. }
            | Self::Busy { .. }
            | Self::Expired { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 500 | 502 | 504),
            _ => false,
        }
    }

    /// Whether another place that has the same may do better.
    pub(super) const fn is_of_the_place(&self) -> bool {
        !matches!(
            self,
            Self::Budget { .. } | Self::Overall { .. } | Self::Setup { .. } | Self::Resolve { .. }
        )
    }

    /// Whether there is no such thing, as far as the registry tells.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
