//! Errors of certificates and TLS connections, with the remedy.

/// A failure to set TLS up or to connect with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is missing: TLS needs ca-path, cert-path and key-path, all three")]
    Missing(&'static str),
    #[error("{0}: {1}; expected a PEM file")]
    Read(String, std::io::Error),
    #[error("{path}: expected {expected}, found {found}")]
    Pem { path: String, expected: &'static str, found: String },
    #[error(
        "the certificate {cert} and the key {key} do not go together: {why}; give the key of this certificate"
    )]
    Pair { cert: String, key: String, why: String },
    #[error("{0:?}: expected HOST:PORT: {1}")]
    Address(String, String),
    #[error("{0} needs TLS, but no certificate is given: set ca-path, cert-path and key-path")]
    NoTls(String),
    #[error("{0}")]
    Handshake(String),
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
