//! TLS between the parts of a cluster, configured by TiKV's `[security]` (TiKV `components/security`). A
//! process has one certificate, which it shows on connections in both directions, and one authority that must
//! have signed the certificate of each peer.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod acceptor;
#[cfg(feature = "clap")]
mod args;
mod connector;
mod error;
mod handshake;
mod peer;
mod pem;
mod probe;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

pub use acceptor::{Acceptor, Clients, Use};
#[cfg(feature = "clap")]
pub use args::TlsArgs;
pub use connector::Connection;
pub use error::{Error, Result};
pub use handshake::{Greeting, HANDSHAKE_TIMEOUT, Handshake};
pub use peer::Peer;
pub use probe::Serves;
pub use tokio_rustls::server::TlsStream;

/// `[security]` of a `tikv.toml`. Empty paths mean no TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct SecurityConfig {
    /// PEM file of the authorities that certificates must be signed by.
    pub ca_path: String,
    /// PEM file of this process's certificate and of the intermediate ones up to the authority.
    pub cert_path: String,
    /// PEM file of this process's private key.
    pub key_path: String,
    /// Common names allowed in clients' certificates; empty allows any.
    pub cert_allowed_cn: BTreeSet<String>,
    /// Alternative names (DNS, URI, IP) of which clients' certificates must have one; empty allows any.
    pub cert_allowed_san: BTreeSet<String>,
}

impl SecurityConfig {
    /// Builds a configuration from three paths, all or none.
    pub fn from_paths(ca: Option<&Path>, cert: Option<&Path>, key: Option<&Path>) -> Self {
        let text =
            |path: Option<&Path>| path.map_or(String::new(), |path| path.to_string_lossy().into_owned());
        SecurityConfig { ca_path: text(ca), cert_path: text(cert), key_path: text(key), ..Self::default() }
    }

    /// Returns whether connections use TLS.
    pub fn is_tls(&self) -> bool {
        !(self.ca_path.is_empty() && self.cert_path.is_empty() && self.key_path.is_empty())
    }

    fn restricts_clients(&self) -> bool {
        !(self.cert_allowed_cn.is_empty() && self.cert_allowed_san.is_empty())
    }
}

/// The TLS settings of a process; clones share them. The default is no TLS.
#[derive(Clone, Debug, Default)]
pub struct SecurityManager {
    config: Arc<SecurityConfig>,
}

impl SecurityManager {
    /// Reads the files once, so that an invalid one is reported at once. Each use reads them again:
    /// certificates may be renewed while the process runs.
    ///
    /// # Errors
    /// If some but not all of the three paths are given, or a file is not of the expected kind.
    pub fn new(config: SecurityConfig) -> Result<Self> {
        if config.is_tls() {
            for (name, path) in [
                ("ca-path", &config.ca_path),
                ("cert-path", &config.cert_path),
                ("key-path", &config.key_path),
            ] {
                if path.is_empty() {
                    return Err(Error::Missing(name));
                }
            }
            pem::client_config(&config, &[])?;
        }
        Ok(Self { config: Arc::new(config) })
    }

    /// Returns whether connections use TLS.
    pub fn is_tls(&self) -> bool {
        self.config.is_tls()
    }

    /// Returns a hint for tools with the flags `--ca-path`, `--cert-path`, `--key-path` when a server closes
    /// the connection.
    pub fn hint(&self) -> &'static str {
        if self.is_tls() {
            "; it must speak TLS, with a certificate of --ca-path that names this host, and trust the authority of --cert-path"
        } else {
            "; if it speaks TLS, give --ca-path, --cert-path and --key-path"
        }
    }

    /// Returns the scheme of addresses: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    /// Returns the endpoint of the gRPC server at `address`: `HOST:PORT` or a URL. The configuration, not the
    /// URL's scheme, decides about TLS.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint> {
        let bare = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
        if address.starts_with("https://") && !self.is_tls() {
            return Err(Error::NoTls(address.to_owned()));
        }
        let bad = |e: tonic::transport::Error| Error::Address(address.to_owned(), causes(&e));
        let why = match bare.rsplit_once(':') {
            _ if bare.is_empty() => Some("it is empty"),
            None => Some("it has no port"),
            Some(("", _)) => Some("it has no host"),
            Some((_, port)) if port.parse::<u16>().is_err() => Some("its port is not a number up to 65535"),
            Some(_) => None,
        };
        if let Some(why) = why {
            return Err(Error::Address(address.to_owned(), why.to_owned()));
        }
        let endpoint = Endpoint::from_shared(format!("{}://{bare}", self.scheme())).map_err(bad)?;
        if !self.is_tls() {
            return Ok(endpoint);
        }
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(pem::read(&self.config.ca_path)?))
            .identity(self.identity()?);
        endpoint.tls_config(tls).map_err(bad)
    }

    /// Returns the settings for a server of tonic; none without TLS. Clients must show a certificate.
    pub fn tonic_server(&self) -> Result<Option<ServerTlsConfig>> {
        if !self.is_tls() {
            return Ok(None);
        }
        let ca = Certificate::from_pem(pem::read(&self.config.ca_path)?);
        Ok(Some(ServerTlsConfig::new().identity(self.identity()?).client_ca_root(ca)))
    }

    /// Returns the acceptor of connections; none without TLS.
    pub fn acceptor(&self, serves: Use) -> Result<Option<Acceptor>> {
        if !self.is_tls() {
            return Ok(None);
        }
        Acceptor::new(self.config.clone(), serves).map(Some)
    }

    fn identity(&self) -> Result<Identity> {
        Ok(Identity::from_pem(pem::read(&self.config.cert_path)?, pem::read(&self.config.key_path)?))
    }
}

/// Formats an error's causes, the innermost last, without repetition:
/// tonic's own text is only "transport error".
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_part_of_an_address_is_named() {
        let security = SecurityManager::default();
        for (address, says) in [
            ("", "it is empty"),
            ("http://", "it is empty"),
            ("127.0.0.1", "it has no port"),
            (":20160", "it has no host"),
            ("127.0.0.1:99999", "its port is not a number up to 65535"),
            ("127.0.0.1:x", "its port is not a number up to 65535"),
        ] {
            let error = security.endpoint(address).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(security.endpoint("127.0.0.1:20160").is_ok());
    }
}
