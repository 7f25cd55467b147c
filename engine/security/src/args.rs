//! The flags of TLS, which every program that connects to servers has.
use std::path::PathBuf;

use crate::{Result, SecurityConfig, SecurityManager};

/// TLS files for the connections to servers: all three or none.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsArgs {
    /// PEM file of the CA that signs the server's certificate; enables TLS, with --cert-path and --key-path
    #[arg(long, global = true, value_name = "FILE", requires_all = ["cert_path", "key_path"])]
    pub ca_path: Option<PathBuf>,
    /// PEM file of the client certificate
    #[arg(long, global = true, value_name = "FILE", requires_all = ["ca_path", "key_path"])]
    pub cert_path: Option<PathBuf>,
    /// PEM file of the client certificate's private key
    #[arg(long, global = true, value_name = "FILE", requires_all = ["ca_path", "cert_path"])]
    pub key_path: Option<PathBuf>,
}

impl TlsArgs {
    /// Reads the files; without them, connections use no TLS.
    ///
    /// # Errors
    /// If a file cannot be read or has other contents than expected.
    pub fn security(&self) -> Result<SecurityManager> {
        let (ca, cert, key) = (self.ca_path.as_deref(), self.cert_path.as_deref(), self.key_path.as_deref());
        SecurityManager::new(SecurityConfig::from_paths(ca, cert, key))
    }
}
