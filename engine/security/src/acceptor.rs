//! The server's side: a TCP connection becomes a TLS one, with the certificate that is on disk now.

use std::{sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{Peer, Result, SecurityConfig, pem};

/// What a port serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// gRPC: clients must show a certificate.
    Grpc,
    /// gRPC and HTTP on one port, as PD has them: clients must show a certificate.
    GrpcAndHttp,
    /// HTTP of the status server: they must only where names are asked for.
    Http,
}

/// Whether a client may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    Allowed,
    /// Its certificate is good, but has none of the names that are asked for.
    Forbidden(Peer),
}

type Modified = [Option<SystemTime>; 3];

/// Turns accepted connections into TLS.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<SecurityConfig>,
    serves: Use,
    current: Mutex<(Modified, Tls)>,
}

#[derive(Clone)]
struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

impl Acceptor {
    pub(crate) fn new(config: Arc<SecurityConfig>, serves: Use) -> Result<Self> {
        let current = Mutex::new((modified(&config), build(&config, serves)?));
        Ok(Self { config, serves, current })
    }

    /// Shakes hands; also tells whether the client may call.
    ///
    /// # Errors
    /// What the handshake failed at.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Clients)> {
        let stream = self.tls().0.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.map_or_else(Peer::default, |certificate| Peer::of(certificate));
        let allowed = peer.is_allowed(&self.config);
        Ok((stream, if allowed { Clients::Allowed } else { Clients::Forbidden(peer) }))
    }

    /// With the files as they are now; with the last good ones while they are not good.
    fn tls(&self) -> Tls {
        let mut current = self.current.lock();
        let now = modified(&self.config);
        if now != current.0 {
            match build(&self.config, self.serves) {
                Ok(tls) => current.1 = tls,
                Err(e) => log::error!("the renewed certificate is not used: {e}"),
            }
            current.0 = now;
        }
        current.1.clone()
    }
}

fn modified(config: &SecurityConfig) -> Modified {
    [&config.ca_path, &config.cert_path, &config.key_path]
        .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

fn build(config: &SecurityConfig, serves: Use) -> Result<Tls> {
    let (ask, protocols): (bool, &[&[u8]]) = match serves {
        Use::Grpc => (true, &[b"h2"]),
        Use::GrpcAndHttp => (true, &[b"h2", b"http/1.1"]),
        Use::Http => (config.restricts_clients(), &[b"h2", b"http/1.1"]),
    };
    Ok(Tls(TlsAcceptor::from(Arc::new(pem::server_config(config, ask, protocols)?))))
}
