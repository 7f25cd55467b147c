//! Pauses and resumes the gRPC server of a running store (TiKV `components/service/src/service_manager.rs`).
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::{runtime::Handle, sync::Mutex};

use super::serve::{BindError, GrpcServer, Http2Options, Secured, bind};

/// Time that a pause waits for running requests.
const GRACE: Duration = Duration::from_millis(500);

/// Reason why the gRPC server cannot be paused or resumed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The store is shutting down.
    #[error("the store is stopping")]
    Stopping,
    /// The port cannot be opened again.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server cannot be started again.
    #[error("{0}")]
    Start(#[from] io::Error),
}

struct Service {
    addr: SocketAddr,
    services: Secured,
    options: Http2Options,
    runtime: Handle,
    /// None while paused.
    server: Option<GrpcServer>,
    stopping: bool,
}

/// Owns a store's gRPC server; clones share it.
#[derive(Clone)]
pub struct GrpcServiceManager(Arc<Mutex<Service>>);

impl GrpcServiceManager {
    /// Starts to serve on `runtime`.
    pub fn start(
        listener: TcpListener,
        services: Secured,
        options: Http2Options,
        runtime: Handle,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let mut service = Service { addr, services, options, runtime, server: None, stopping: false };
        service.server = Some(service.serve(listener)?);
        Ok(Self(Arc::new(Mutex::new(service))))
    }

    /// Closes the port and all connections, including those of other stores, once the running requests have
    /// ended or half a second has passed. Does nothing if it is paused already.
    pub async fn pause(&self) -> Result<(), ServiceError> {
        let mut service = self.0.lock().await;
        if service.stopping {
            return Err(ServiceError::Stopping);
        }
        if let Some(server) = service.server.take() {
            server.stop(GRACE).await;
            log::info!("the gRPC server on {} is paused", service.addr);
        }
        Ok(())
    }

    /// Listens on the same address again. Does nothing if it is not paused.
    ///
    /// # Errors
    /// If another program has taken the port, or the store is stopping.
    pub async fn resume(&self) -> Result<(), ServiceError> {
        let mut service = self.0.lock().await;
        if service.stopping {
            return Err(ServiceError::Stopping);
        }
        if service.server.is_none() {
            let listener = bind("gRPC server", "--addr", &service.addr.to_string())?;
            service.server = Some(service.serve(listener)?);
            log::info!("the gRPC server on {} is resumed", service.addr);
        }
        Ok(())
    }

    /// Stops for good; waits at most `timeout` for running requests.
    pub async fn stop(&self, timeout: Duration) {
        let mut service = self.0.lock().await;
        service.stopping = true;
        if let Some(server) = service.server.take() {
            server.stop(timeout).await;
        }
    }
}

impl Service {
    fn serve(&self, listener: TcpListener) -> io::Result<GrpcServer> {
        let _guard = self.runtime.enter();
        GrpcServer::start(listener, self.services.clone(), self.options.clone())
    }
}
