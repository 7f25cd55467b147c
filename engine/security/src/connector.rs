//! The client's side of HTTP/1.1 on a blocking socket. gRPC connects by [`SecurityManager::endpoint`].
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{Error, Result, SecurityManager, pem};

/// A connection, plain or TLS.
#[derive(Debug)]
pub enum Connection {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl SecurityManager {
    /// Wraps `stream`, a connection to the server at `address` (`HOST:PORT`), in TLS if the configuration
    /// asks for it. The handshake runs with the first byte.
    pub fn wrap(&self, stream: TcpStream, address: &str) -> Result<Connection> {
        if !self.is_tls() {
            return Ok(Connection::Plain(stream));
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(host).map_err(|e| Error::Address(address.to_owned(), e.to_string()))?;
        let config = pem::client_config(&self.config, &[b"http/1.1"])?;
        let tls =
            ClientConnection::new(Arc::new(config), name).map_err(|e| Error::Handshake(e.to_string()))?;
        Ok(Connection::Tls(Box::new(StreamOwned::new(tls, stream))))
    }
}

impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(stream) => stream.read(buf),
            // Some servers close without a TLS alert. The reply's own length says whether it is complete.
            Connection::Tls(stream) => match stream.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(stream) => stream.write(buf),
            Connection::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Plain(stream) => stream.flush(),
            Connection::Tls(stream) => stream.flush(),
        }
    }
}
