//! Requests of a server: those in flight, and those that it has kept.
use std::{io::IsTerminal, thread, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use kvproto::tracecontrol::{
    InFlightRequest, KeepRequest, KeptRequest, trace_control_client::TraceControlClient,
};
use security::SecurityManager;
use serde_json::json;
use tonic::{Code, Status, transport::Channel};
use tracepoints::{collector::InFlight, probe::LockTables};

use crate::{
    Error, Result, cli::Global, grpc, key::escaped, print::output::Output, probe::is_status_address,
};

/// Commands that use a server's trace control.
#[derive(Clone, Debug, Subcommand)]
pub enum TraceCmd {
    /// Print the requests that a server is processing
    Inflight(InflightArgs),
    /// Make a server keep the next requests that match
    Keep(KeepArgs),
    /// Fetch the requests that a server has kept, as a trace file
    Kept(KeptArgs),
}

/// Selection of in-flight requests, and the refresh interval.
#[derive(Clone, Debug, Args)]
pub struct InflightArgs {
    /// Refresh every SECONDS seconds until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    pub watch: Option<f64>,
    /// Print at most this many requests, the oldest ones
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
    /// Include the requests of all stores that run in the server's process
    #[arg(long)]
    pub all_stores: bool,
}

/// Parses an interval of 0.05 to 3600 seconds.
fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.05..=3600.0).contains(seconds));
    seconds.ok_or_else(|| format!("expected 0.05 to 3600 seconds, found {text}"))
}

/// Filter of the requests to keep. An absent criterion matches every request.
#[derive(Clone, Debug, Args)]
pub struct KeepArgs {
    /// Kind of the request, e.g. kv_get or raw_put
    #[arg(long, visible_alias = "type", value_name = "KIND")]
    pub kind: Option<String>,
    /// Prefix of its first key, in escaped form; the first 16 bytes are compared
    #[arg(short = 'k', long)]
    pub key: Option<String>,
    /// Region of the request
    #[arg(short = 'r', long, default_value_t = 0, hide_default_value = true)]
    pub region: u64,
    /// Number of requests to keep
    #[arg(short = 'n', long, default_value_t = 10)]
    pub count: u64,
}

/// Filter of the kept requests to fetch.
#[derive(Clone, Debug, Args)]
pub struct KeptArgs {
    /// Reasons for keeping a request: asked, slow, failed, sampled; all if absent
    #[arg(long, value_delimiter = ',', value_parser = ["asked", "slow", "failed", "sampled"])]
    pub why: Vec<String>,
}

/// Runs `cmd`.
pub fn run(cmd: &TraceCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        TraceCmd::Inflight(args) => inflight(args, global, out),
        TraceCmd::Keep(args) => keep(args, global, out),
        TraceCmd::Kept(args) => kept(args, global, out),
    }
}

/// A server's trace control.
struct Server<'a> {
    host: &'a str,
    security: SecurityManager,
    runtime: tokio::runtime::Runtime,
    client: TraceControlClient<Channel>,
}

impl<'a> Server<'a> {
    fn connect(global: &'a Global, command: &str) -> Result<Self> {
        let Some(host) = &global.host else {
            return Err(Error::other(format!("{command} needs a running server: give --host HOST:PORT")));
        };
        let security = global.security()?;
        let (runtime, channel) = grpc::connect(host, &security)?;
        Ok(Self { host, security, runtime, client: TraceControlClient::new(channel) })
    }

    fn failure(&self, status: &Status) -> Error {
        let host = self.host;
        Error::other(match status.code() {
            Code::Unimplemented => format!(
                "--host {host}: this server has no trace control (TiKV has none): give the address of this \
                 project's tikv-server"
            ),
            _ => is_status_address(host, &self.security)
                .unwrap_or_else(|| format!("--host {host}: {}", status.message())),
        })
    }
}

/// `inflight`: prints the requests in flight and the lock tables, once or repeatedly.
fn inflight(args: &InflightArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let server = Server::connect(global, "inflight")?;
    loop {
        let request = InFlightRequest { all_stores: args.all_stores, limit: args.limit };
        let reply = server.runtime.block_on(server.client.clone().in_flight(request));
        let reply = reply.map_err(|e| server.failure(&e))?.into_inner();
        let unknown = |what: &str, e: serde_json::Error| {
            Error::other(format!(
                "expected {what} from the server, but decoding failed: {e}; use the tikv-ctl of the server's \
                 version"
            ))
        };
        let rows: Vec<InFlight> =
            serde_json::from_slice(&reply.json).map_err(|e| unknown("a list of requests", e))?;
        // A server of an older version sends none.
        let locks: LockTables = match reply.locks.is_empty() {
            true => LockTables::default(),
            false => serde_json::from_slice(&reply.locks).map_err(|e| unknown("lock tables", e))?,
        };
        if args.watch.is_some() && !out.is_json() && std::io::stdout().is_terminal() {
            out.raw(b"\x1b[2J\x1b[H")?;
        }
        print(&rows, reply.total, &locks, out)?;
        let Some(seconds) = args.watch else { return Ok(()) };
        out.flush()?;
        thread::sleep(Duration::from_secs_f64(seconds));
    }
}

fn print(rows: &[InFlight], total: u64, locks: &LockTables, out: &mut Output<'_>) -> Result<()> {
    if out.is_json() {
        return out.json(&json!({
            "requests": total,
            "in_flight": rows,
            "memory_locks": locks.memory_locks,
            "wait_graph": locks.wait_graph,
        }));
    }
    out.line(format!("requests in flight: {total}"))?;
    rows.iter().try_for_each(|row| out.bytes(row.to_text().as_bytes()))?;
    if total > rows.len() as u64 {
        out.line(format!("and {} more: raise --limit to print them", total - rows.len() as u64))?;
    }
    out.bytes(locks.to_text().as_bytes())
}

/// `keep`: makes the server keep the next requests that match.
fn keep(args: &KeepArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let server = Server::connect(global, "keep")?;
    let request = KeepRequest {
        key: args.key.as_deref().map_or(Ok(Vec::new()), escaped)?,
        region_id: args.region,
        request_type: args.kind.clone().unwrap_or_default(),
        count: args.count,
    };
    server.runtime.block_on(server.client.clone().keep(request)).map_err(|e| server.failure(&e))?;
    let text = || {
        format!(
            "the server keeps the next {} matching requests: fetch them with `tikv-ctl kept --why asked`",
            args.count
        )
    };
    out.either(text, || json!({ "count": args.count }))
}

/// `kept`: fetches the kept requests as a trace file.
fn kept(args: &KeptArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let server = Server::connect(global, "kept")?;
    let request = KeptRequest { why: args.why.clone() };
    let chunks = server.runtime.block_on(server.client.clone().kept(request));
    let mut chunks = chunks.map_err(|e| server.failure(&e))?.into_inner();
    if global.output.is_none() && !out.is_json() && std::io::stdout().is_terminal() {
        return Err(Error::other("a trace file is binary and is not printed to a terminal: give -o FILE"));
    }
    let mut trace = Vec::new();
    loop {
        match server.runtime.block_on(chunks.message()) {
            Ok(Some(chunk)) if out.is_json() => trace.extend_from_slice(&chunk.data),
            Ok(Some(chunk)) => out.raw(&chunk.data)?,
            Ok(None) if out.is_json() => {
                let text = BASE64_STANDARD.encode(&trace);
                return out.json(&json!({ "bytes": trace.len(), "trace_base64": text }));
            }
            Ok(None) => return Ok(()),
            Err(e) => return Err(server.failure(&e)),
        }
    }
}
