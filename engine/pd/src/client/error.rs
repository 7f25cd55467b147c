//! Errors of requests to PD.

use std::time::Duration;

use kvproto::pdpb::{self, ErrorType};
use tonic::Status;

pub type Result<T> = std::result::Result<T, Error>;

/// As TiKV's `pd_client::Error`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no PD endpoint was given; give at least one host:port")]
    NoEndpoints,
    #[error("PD endpoint {endpoint:?} is not a host:port or URL: {reason}")]
    BadEndpoint { endpoint: String, reason: String },
    #[error("no PD answered within {waited:?} at {endpoints:?}; last error: {last}. Is PD running there?")]
    Unreachable { endpoints: Vec<String>, waited: Duration, last: String },
    #[error("PD at {endpoint} is of another cluster: expected cluster {expected}, found {got}")]
    ClusterId { endpoint: String, expected: u64, got: u64 },
    #[error("cluster {0} is not bootstrapped")]
    NotBootstrapped(u64),
    #[error("cluster {0} is already bootstrapped")]
    AlreadyBootstrapped(u64),
    #[error("PD has removed the store from the cluster: {0}")]
    StoreTombstone(String),
    #[error("PD has no region with id {0}")]
    RegionNotFound(u64),
    #[error("PD has no region that contains the key {0}")]
    KeyNotFound(String),
    #[error("PD refused the request: {0}")]
    Refused(String),
    #[error("PD did not answer {what} within {waited:?}")]
    Timeout { what: &'static str, waited: Duration },
    #[error("PD's answer to {what} has no {missing}")]
    Incomplete { what: &'static str, missing: &'static str },
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
