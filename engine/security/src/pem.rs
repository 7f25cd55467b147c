//! PEM files and the rustls configurations made of them.
use std::sync::Arc;

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::{Error, Result, SecurityConfig};

/// Reads a whole file.
pub fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::Read(path.to_owned(), e))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |found: String| Error::Pem { path: path.to_owned(), expected: "a certificate in PEM", found };
    let bytes = read(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<std::result::Result<Vec<_>, _>>();
    let found = found.map_err(|e| bad(e.to_string()))?;
    if found.is_empty() { Err(bad("none".to_owned())) } else { Ok(found) }
}

fn key(path: &str) -> Result<PrivateKeyDer<'static>> {
    let bad = |found: String| Error::Pem { path: path.to_owned(), expected: "a private key in PEM", found };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|e| bad(e.to_string()))
}

fn authorities(config: &SecurityConfig) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.ca_path)? {
        roots.add(certificate).map_err(|e| Error::Pem {
            path: config.ca_path.clone(),
            expected: "the certificate of an authority",
            found: e.to_string(),
        })?;
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(tokio_rustls::rustls::crypto::ring::default_provider())
}

fn pair(config: &SecurityConfig, e: impl std::fmt::Display) -> Error {
    let (cert, key) = (config.cert_path.clone(), config.key_path.clone());
    Error::Pair { cert, key, why: e.to_string() }
}

/// Builds the configuration for connections that this process opens.
pub fn client_config(config: &SecurityConfig, protocols: &[&[u8]]) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| pair(config, e))?;
    let builder = builder.with_root_certificates(authorities(config)?);
    let (chain, key) = (certificates(&config.cert_path)?, key(&config.key_path)?);
    let mut client = builder.with_client_auth_cert(chain, key).map_err(|e| pair(config, e))?;
    client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(client)
}

/// Builds the configuration for connections that this process accepts.
pub fn server_config(config: &SecurityConfig, ask_client: bool, protocols: &[&[u8]]) -> Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| pair(config, e))?;
    let builder = if ask_client {
        let roots = Arc::new(authorities(config)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        let bad = |e: tokio_rustls::rustls::server::VerifierBuilderError| Error::Pem {
            path: config.ca_path.clone(),
            expected: "the certificate of an authority",
            found: e.to_string(),
        };
        builder.with_client_cert_verifier(verifier.map_err(bad)?)
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = (certificates(&config.cert_path)?, key(&config.key_path)?);
    let mut server = builder.with_single_cert(chain, key).map_err(|e| pair(config, e))?;
    server.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(server)
}
