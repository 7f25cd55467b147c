//! Runs one store as a process; with `--embedded-pd` also the cluster's PD.
mod allocator;

use std::{net::ToSocketAddrs, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use pd::server::{EngineWallClock, PdConfig, PdHandle, PdServer};
use security::SecurityManager;
use server::{
    PluginRegistry, StartOptions, TikvServer,
    bridge::Bridge,
    config::{Cli, TikvConfig},
    logger,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracepoints::printable::{note, print};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) => return manual::print_help(&help, "tikv-server"),
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            note(format_args!("tikv-server: {}", server::format_error_chain(e.chain())));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if let Some(manual) = &cli.command {
        return Ok(manual.run(Cli::command())?);
    }
    let (mut config, unknown) = cli.resolve()?;
    if cli.config_check {
        return print("the configuration is valid\n").context("cannot write to standard output");
    }
    if cli.config_info {
        let info = serde_json::to_string_pretty(&config)?;
        return print(&format!("{info}\n")).context("cannot write to standard output");
    }
    logger::init(logger::parse_level(&config.log.level).map_err(anyhow::Error::msg)?);
    if !unknown.is_empty() {
        log::warn!("configuration keys that this server does not read: {}", unknown.join(", "));
    }
    server::heap::install(allocator::dump, allocator::stats);
    let signals = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pd = cli.embedded_pd.as_deref().map(|addr| start_pd(addr, &config)).transpose()?;
    if let (Some(pd), true) = (&pd, cli.pd_endpoints.is_empty()) {
        // The configured port may be 0: use the one that the system chose.
        config.pd.endpoints = vec![pd.addr().to_string()];
    }
    let bridge = Bridge::start(&cli.bridge)?;
    let options = StartOptions {
        cli: Some(cli.clone()),
        plugins: plugins(),
        on_wait: Some(report_wait),
        ..StartOptions::default()
    };
    let store = TikvServer::start(config, options)?;
    // Before the line that announces the port: its reader may send a signal at once.
    let stop = signals.block_on(async { StopSignals::listen() })?;
    announce(&format!("store {} serves on {}; ctrl-c stops it", store.store_id(), store.addr()));
    signals.block_on(stop.wait());
    bridge.finish();
    store.shutdown();
    if let Some(pd) = pd {
        pd.shutdown();
    }
    Ok(())
}

/// Returns the plugins of this program: none. A build with plugins registers each of them here.
fn plugins() -> PluginRegistry {
    PluginRegistry::default()
}

/// Prints a line. A parent that does not read the output does not stop the server.
fn announce(line: &str) {
    if let Err(e) = print(&format!("{line}\n")) {
        log::warn!("cannot write to standard output: {e}");
    }
}

/// Prints a line to stderr, unless the log goes there too and has it.
fn report_wait(text: &str) {
    if !log::log_enabled!(log::Level::Warn) {
        note(format_args!("tikv-server: {text}"));
    }
}

/// Starts PD with its data in `pd/` of the store's data directory.
fn start_pd(addr: &str, config: &TikvConfig) -> anyhow::Result<PdHandle> {
    let expected = || format!("--embedded-pd: expected IP:PORT, found {addr:?}");
    let socket = addr.to_socket_addrs().with_context(expected)?.next().with_context(expected)?;
    // The store checks its directory before anything is written into it.
    let parent = &config.storage.data_dir;
    drop(server::data_dir::DataDir::open(parent)?);
    let security = SecurityManager::new(config.security.clone()).context("[security]")?;
    let config = PdConfig {
        data_dir: parent.join("pd"),
        addr: socket,
        // Port 0: the real port is not known yet.
        advertise_addr: (socket.port() != 0).then(|| addr.to_owned()),
        cluster_id: None,
        max_replicas: None,
        clock: Arc::new(EngineWallClock),
    };
    let pd = PdServer::start_secure(config, &security).context("cannot start the embedded PD")?;
    announce(&format!("PD serves on {}", pd.addr()));
    Ok(pd)
}

/// SIGTERM, SIGINT and SIGHUP: the store stops in order and exits with 0 (TiKV:
/// `signal_handler::wait_for_signal`).
struct StopSignals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl StopSignals {
    /// Takes over the signals. Before this call they end the process at
    /// once, for example while it waits for PD.
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(mut self) {
        let name = tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        };
        log::info!("receive signal {name}, stopping server...");
    }
}
