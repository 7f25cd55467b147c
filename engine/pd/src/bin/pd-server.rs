//! PD as its own process.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use pd::server::{EngineWallClock, PdConfig, PdServer};
use security::{SecurityConfig, SecurityManager};

/// The placement driver of a cluster: timestamps, ids, stores and regions.
#[derive(Parser)]
#[command(name = "pd-server", version)]
struct Args {
    /// Where to listen, host:port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:2379")]
    addr: String,
    /// What clients connect to, host:port, where it is not --addr
    #[arg(long)]
    advertise_addr: Option<String>,
    /// Where the state is kept; created if missing
    #[arg(long)]
    data_dir: PathBuf,
    /// Id of a new cluster; of an existing one it must be right
    #[arg(long)]
    cluster_id: Option<u64>,
    /// Peers that every region should have
    #[arg(long)]
    max_replicas: Option<u32>,
    /// PEM file of the authority that certificates must be signed by; with --cert and --key: TLS
    #[arg(long, value_name = "FILE", requires_all = ["cert", "key"])]
    cacert: Option<PathBuf>,
    /// PEM file of this server's certificate
    #[arg(long, value_name = "FILE", requires_all = ["cacert", "key"])]
    cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires_all = ["cacert", "cert"])]
    key: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let (ca, cert, key) = (args.cacert.as_deref(), args.cert.as_deref(), args.key.as_deref());
    let security = SecurityManager::new(SecurityConfig::from_paths(ca, cert, key))?;
    let config = PdConfig {
        data_dir: args.data_dir,
        addr: resolve(&args.addr)?,
        advertise_addr: args.advertise_addr,
        cluster_id: args.cluster_id,
        max_replicas: args.max_replicas,
        clock: Arc::new(EngineWallClock),
    };
    let handle = PdServer::start_secure(config, &security)?;
    println!("PD of cluster {} is ready at {}", handle.cluster_id(), handle.addr());
    wait_for_interrupt()?;
    handle.shutdown();
    Ok(())
}

fn resolve(addr: &str) -> anyhow::Result<SocketAddr> {
    let mut found =
        addr.to_socket_addrs().with_context(|| format!("--addr: expected host:port, got {addr:?}"))?;
    found.next().with_context(|| format!("--addr: {addr:?} names no address"))
}

/// Returns on SIGINT or SIGTERM. The state is on disk at any time; kill -9 loses nothing either.
fn wait_for_interrupt() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        Ok(())
    })
}
