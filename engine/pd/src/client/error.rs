//! Errors of requests to PD.
use std::time::Duration;

use kvproto::pdpb::{self, ErrorType};
use tonic::Status;

/// Result of a request to PD.
pub type Result<T> = std::result::Result<T, Error>;

/// As TiKV's `pd_client::Error`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of endpoints is empty.
    #[error("no PD endpoint was given; give at least one host:port")]
    NoEndpoints,
    /// An endpoint is no address.
    #[error("expected a PD endpoint host:port or URL, found {endpoint:?}: {reason}")]
    BadEndpoint {
        /// The endpoint as given.
        endpoint: String,
        /// The violation.
        reason: String,
    },
    /// No endpoint answered in time.
    #[error(
        "no PD answered within {waited:?} at {endpoints:?}; last error: {last}; check that PD runs there"
    )]
    Unreachable {
        /// All endpoints.
        endpoints: Vec<String>,
        /// Time until the client gave up.
        waited: Duration,
        /// Error of the last attempt.
        last: String,
    },
    /// PD manages another cluster than the store belongs to.
    #[error(
        "PD at {endpoint}: expected cluster {expected}, found {got}; give the endpoints of the store's own PD"
    )]
    ClusterId {
        /// The endpoint as given.
        endpoint: String,
        /// Id of the store's cluster.
        expected: u64,
        /// Id of PD's cluster.
        got: u64,
    },
    /// The cluster of this id has no stores yet.
    #[error("cluster {0} is not bootstrapped")]
    NotBootstrapped(u64),
    /// The cluster of this id has stores.
    #[error("cluster {0} is already bootstrapped")]
    AlreadyBootstrapped(u64),
    /// The store was removed from the cluster; PD's message.
    #[error("PD has removed the store from the cluster: {0}")]
    StoreTombstone(String),
    /// No region has this id.
    #[error("PD has no region with id {0}")]
    RegionNotFound(u64),
    /// No region contains this key, given in hexadecimal.
    #[error("PD has no region that contains the key {0}")]
    KeyNotFound(String),
    /// PD's reason.
    #[error("PD refused the request: {0}")]
    Refused(String),
    /// PD did not answer in time.
    #[error("PD did not answer {what} within {waited:?}")]
    Timeout {
        /// Name of the request.
        what: &'static str,
        /// Time until the client gave up.
        waited: Duration,
    },
    /// A field is missing in PD's reply.
    #[error("PD's answer to {what} has no {missing}")]
    Incomplete {
        /// Name of the request.
        what: &'static str,
        /// Name of the field.
        missing: &'static str,
    },
    /// The call failed.
    #[error("PD request failed: {0}")]
    Rpc(Box<Status>),
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        Error::Rpc(Box::new(status))
    }
}

impl Error {
    /// Returns whether another attempt, perhaps at another PD member, may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Timeout { .. } => true,
            Error::Rpc(status) => {
                let gone = matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded);
                gone || status.message().contains("not leader")
                    || status.message().contains("transport error")
            }
            _ => false,
        }
    }
}

/// Returns the error of a response header (TiKV `pd_client::util::check_resp_header`).
pub fn check_header(header: Option<&pdpb::ResponseHeader>) -> Result<()> {
    let Some((header, error)) = header.and_then(|header| Some((header, header.error.as_ref()?))) else {
        return Ok(());
    };
    match ErrorType::try_from(error.r#type) {
        Ok(ErrorType::Ok) => Ok(()),
        Ok(ErrorType::NotBootstrapped) => Err(Error::NotBootstrapped(header.cluster_id)),
        Ok(ErrorType::AlreadyBootstrapped) => Err(Error::AlreadyBootstrapped(header.cluster_id)),
        Ok(ErrorType::StoreTombstone) => Err(Error::StoreTombstone(error.message.clone())),
        _ => Err(Error::Refused(error.message.clone())),
    }
}
