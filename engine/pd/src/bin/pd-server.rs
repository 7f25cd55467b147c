//! Runs PD as a process.
#![forbid(unsafe_code)]
use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use manual::Manual;
use pd::server::{EngineWallClock, PdConfig, PdServer};
use security::{SecurityConfig, SecurityManager};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};
use tracepoints::printable::{note, print};

/// The placement driver of a cluster: timestamps, ids, stores and regions.
#[derive(Parser)]
#[command(
    name = "pd-server",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Args {
    /// Address to listen on, host:port; port 0 chooses a free port
    #[arg(long, default_value = "127.0.0.1:2379")]
    addr: String,
    /// Address that clients connect to, host:port [default: that of --addr]
    #[arg(long)]
    advertise_addr: Option<String>,
    /// Directory of the state; created if missing
    #[arg(long, required = true)]
    data_dir: Option<PathBuf>,
    /// Id of a new cluster; must match an existing one
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    cluster_id: Option<u64>,
    /// Number of peers of every region [default: 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99))]
    max_replicas: Option<u32>,
    /// Time without heartbeats after which a store's peers are replaced, e.g. 30m; kept over restarts [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = down_time)]
    max_store_down_time: Option<Duration>,
    /// PEM file of the authority that signs certificates; TLS needs --cert and --key, too
    #[arg(long, value_name = "FILE", requires_all = ["cert", "key"])]
    cacert: Option<PathBuf>,
    /// PEM file of this server's certificate
    #[arg(long, value_name = "FILE", requires_all = ["cacert", "key"])]
    cert: Option<PathBuf>,
    /// PEM file of this server's private key
    #[arg(long, value_name = "FILE", requires_all = ["cacert", "cert"])]
    key: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Manual>,
}

fn down_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("expected a time above 0, such as 30m or 1h30m".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(help) => return manual::print_help(&help, "error"),
    };
    match run(args) {
        Ok(code) => code,
        Err(e) => {
            note(format_args!("error: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(manual) = &args.command {
        manual.run(Args::command())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (ca, cert, key) = (args.cacert.as_deref(), args.cert.as_deref(), args.key.as_deref());
    let security = SecurityManager::new(SecurityConfig::from_paths(ca, cert, key))?;
    let config = PdConfig {
        data_dir: args.data_dir.unwrap_or_default(),
        addr: resolve(&args.addr)?,
        advertise_addr: args.advertise_addr.map(check_advertised).transpose()?,
        cluster_id: args.cluster_id,
        max_replicas: args.max_replicas,
        clock: Arc::new(EngineWallClock),
    };
    let handle = PdServer::start_secure(config, &security)?;
    if let Some(time) = args.max_store_down_time {
        handle.set_max_store_down_time(time)?;
    }
    // Before the line that announces readiness: its reader may send a signal at once.
    let signals = StopSignals::listen()?;
    let ready = format!("PD of cluster {} is ready at {}\n", handle.cluster_id(), handle.addr());
    if let Err(e) = print(&ready) {
        // A parent that does not read the output does not stop the server.
        note(format_args!("cannot write to standard output: {e}"));
    }
    let code = signals.wait();
    handle.shutdown();
    Ok(code)
}

/// Checks only the form: clients resolve the address on their hosts.
fn check_advertised(addr: String) -> anyhow::Result<String> {
    let port = addr
        .rsplit_once(':')
        .and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>().ok())?);
    match port {
        Some(port) if port > 0 => Ok(addr),
        _ => {
            anyhow::bail!(
                "--advertise-addr: expected host:port, found {addr:?}; give an address that clients can connect to"
            )
        }
    }
}

fn resolve(addr: &str) -> anyhow::Result<SocketAddr> {
    let mut found =
        addr.to_socket_addrs().with_context(|| format!("--addr: expected host:port, found {addr:?}"))?;
    found.next().with_context(|| format!("--addr: {addr:?} resolves to no address"))
}

/// The signals that end PD. The state is on disk at any time; kill -9 loses nothing either.
struct StopSignals {
    runtime: Runtime,
    terminate: Signal,
    others: [Signal; 3],
}

impl StopSignals {
    /// Takes over the signals.
    fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (terminate, others) = runtime.block_on(async {
            let others = [SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()].map(signal);
            let [interrupt, hangup, quit] = others;
            std::io::Result::Ok((signal(SignalKind::terminate())?, [interrupt?, hangup?, quit?]))
        })?;
        Ok(Self { runtime, terminate, others })
    }

    /// Returns on SIGTERM (PD then exits with 0), or on SIGINT, SIGHUP or SIGQUIT (with 1), as PD's own `main`.
    fn wait(mut self) -> ExitCode {
        let [interrupt, hangup, quit] = &mut self.others;
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => ExitCode::SUCCESS,
                _ = interrupt.recv() => ExitCode::FAILURE,
                _ = hangup.recv() => ExitCode::FAILURE,
                _ = quit.recv() => ExitCode::FAILURE,
            }
        })
    }
}
