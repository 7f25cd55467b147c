//! Errors of certificates and TLS connections, with the remedy.

/// A failure to set TLS up or to connect with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is missing that the others need; its name.
    #[error("{0} is missing: TLS needs ca-path, cert-path and key-path, all three")]
    Missing(&'static str),
    /// A file cannot be read: its path, and the reason.
    #[error("{0}: expected a PEM file, but cannot read it: {1}")]
    Read(String, std::io::Error),
    /// A file has no PEM block of the expected kind.
    #[error("{path}: expected {expected}, found {found}; give a PEM file that contains it")]
    Pem {
        /// Path of the file.
        path: String,
        /// Kind of block that the file must have.
        expected: &'static str,
        /// The contents of the file.
        found: String,
    },
    /// Certificate and private key do not belong together.
    #[error(
        "the certificate {cert} and the key {key} do not go together: {why}; give the key of this certificate"
    )]
    Pair {
        /// Path of the certificate.
        cert: String,
        /// Path of the private key.
        key: String,
        /// Reason that rustls gives.
        why: String,
    },
    /// An address that is no URL or host: the address, and the reason.
    #[error("{0:?}: expected HOST:PORT: {1}")]
    Address(String, String),
    /// The address asks for TLS, but no certificates are set.
    #[error("{0} needs TLS, but no certificate is given: set ca-path, cert-path and key-path")]
    NoTls(String),
    /// The handshake failed; the reason.
    #[error("{0}")]
    Handshake(String),
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
