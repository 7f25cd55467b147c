//! The status server with TLS (TiKV `status_server/mod.rs`, `check_cert`): paths without user data do not
//! need a name of `cert-allowed-cn`.
use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, Request, connect_info::Connected},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::Response,
    serve::{IncomingStream, Listener},
};
use security::{Acceptor, Clients, Greeting, HANDSHAKE_TIMEOUT, Handshake, TlsStream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::reply;

#[derive(Clone, Debug)]
struct Caller(Clients);

/// Accepts connections without TLS, which must begin with a request.
struct PlainListener(TcpListener);

impl Listener for PlainListener {
    type Io = Handshake<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, addr) = Listener::accept(&mut self.0).await;
        (Handshake::new(stream, Greeting::Http, HANDSHAKE_TIMEOUT), addr)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Serves without TLS until the runtime ends.
pub async fn serve_plain(listener: TcpListener, router: Router) -> std::io::Result<()> {
    axum::serve(PlainListener(listener), router).await
}

impl Connected<IncomingStream<'_, TlsListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Caller(stream.remote_addr().clone())
    }
}

/// Accepts connections whose handshake is done: a slow handshake does not delay other connections.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, Clients)>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = Clients;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task is gone: the runtime is ending.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        // No caller asks for this address.
        Ok(Clients::Allowed)
    }
}

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, tls: Acceptor, router: Router) -> std::io::Result<()> {
    let ready = tls.accept_all(listener, "status server");
    let router = router.layer(middleware::from_fn(check));
    axum::serve(TlsListener { ready }, router.into_make_service_with_connect_info::<Caller>()).await
}

async fn check(ConnectInfo(Caller(caller)): ConnectInfo<Caller>, request: Request, next: Next) -> Response {
    let open = matches!(request.uri().path(), "/metrics" | "/status" | "/config" | "/debug/pprof/profile");
    if matches!(caller, Clients::Forbidden(_)) && !(open && request.method() == Method::GET) {
        return reply::text(StatusCode::FORBIDDEN, "certificate role error");
    }
    next.run(request).await
}
