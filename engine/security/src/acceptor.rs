//! The server's side of TLS: turns TCP connections into TLS ones, with the
//! certificate that is on disk at that moment.
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{Peer, Result, SecurityConfig, handshake::HANDSHAKE_TIMEOUT, pem};

/// Maximum number of accepted connections that wait for the server.
const READY: usize = 16;
/// Pause after a failed accept, e.g. when file descriptors are exhausted.
const PAUSE: Duration = Duration::from_millis(50);

/// The protocols of a port, and whether its clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// gRPC: clients must show a certificate.
    Grpc,
    /// gRPC and HTTP on one port, as PD has them: clients must show a certificate.
    GrpcAndHttp,
    /// HTTP of the status server: clients must show a certificate only if names are restricted.
    Http,
}

/// Whether a client may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// The client may call.
    Allowed,
    /// The certificate is valid, but contains none of the allowed names.
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

    /// Completes a TLS handshake and checks whether the client may call.
    ///
    /// # Errors
    /// The reason why the handshake failed.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Clients)> {
        let stream = self.tls().0.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.map_or_else(Peer::default, |certificate| Peer::from_certificate(certificate));
        let allowed = peer.is_allowed(&self.config);
        Ok((stream, if allowed { Clients::Allowed } else { Clients::Forbidden(peer) }))
    }

    /// Accepts connections in a task of its own, and returns those with a completed handshake: a slow handshake does
    /// not delay other connections. The task ends when the receiver is dropped. `server` names the server in the log.
    /// Must be called within a runtime.
    pub fn accept_all(
        self,
        listener: TcpListener,
        server: &'static str,
    ) -> mpsc::Receiver<(TlsStream<TcpStream>, Clients)> {
        let (connections, ready) = mpsc::channel(READY);
        tokio::spawn(accept_all(listener, Arc::new(self), server, connections));
        ready
    }

    /// Returns an acceptor for the files as they are on disk; while they
    /// are invalid, for the last valid ones.
    fn tls(&self) -> Tls {
        let mut current = self.current.lock();
        let now = modified(&self.config);
        if now != current.0 {
            match build(&self.config, self.serves) {
                Ok(tls) => current.1 = tls,
                Err(e) => log::error!("the renewed certificate is not used, the previous one stays: {e}"),
            }
            current.0 = now;
        }
        current.1.clone()
    }
}

async fn accept_all(
    listener: TcpListener,
    tls: Arc<Acceptor>,
    server: &'static str,
    connections: mpsc::Sender<(TlsStream<TcpStream>, Clients)>,
) {
    loop {
        let accepted = tokio::select! {
            () = connections.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                log::warn!("{server}: cannot accept a connection: {e}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Small replies must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let (tls, connections) = (tls.clone(), connections.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                // Closed when the server ends.
                Ok(Ok(connection)) => drop(connections.send(connection).await),
                Ok(Err(e)) => log::warn!("{server}: a TLS handshake failed: {e}"),
                Err(_) => log::warn!("{server}: a TLS handshake did not end within {HANDSHAKE_TIMEOUT:?}"),
            }
        });
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
