//! Why PD could not be asked, or what it refused.

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
    #[error("PD at {endpoint} belongs to cluster {got}, expected cluster {expected}")]
    ClusterId { endpoint: String, expected: u64, got: u64 },
    #[error("cluster {0} is not bootstrapped")]
    NotBootstrapped(u64),
    #[error("cluster {0} is already bootstrapped")]
    AlreadyBootstrapped(u64),
    #[error("PD says the store is gone for good: {0}")]
    StoreTombstone(String),
    #[error("PD knows no region with id {0}")]
    RegionNotFound(u64),
    #[error("PD knows no region that holds the key {0}")]
    KeyNotFound(String),
    #[error("PD refused the request: {0}")]
    Refused(String),
    #[error("PD did not answer {what} within {waited:?}")]
    Timeout { what: &'static str, waited: Duration },
    #[error("PD answered {what} without {missing}")]
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
    /// Whether another attempt, perhaps at another PD, may help.
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

/// The error a response header carries, if any (TiKV `pd_client::util::check_resp_header`).
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
