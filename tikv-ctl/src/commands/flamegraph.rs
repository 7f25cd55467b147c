//! `flamegraph`: draws CPU time (a server's profile) or wall-clock time (the stages of requests).
mod cpu;
mod diff;
mod form;
mod input;
mod page;
mod profile;
mod wall;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use security::SecurityManager;
use serde_json::json;
use tracepoints_profile::{
    Pick,
    flame::Measure,
    folded::show,
    format,
    view::{self, View},
    wall::WallOptions,
};

pub use form::Form;
pub use input::InputArgs;

use self::{cpu::REPLY_TIMEOUT, profile::Profile};
use crate::{Error, Result, cli::Global, http, pd::Pd, print::output::Output};

/// Source of the stacks, and form of the output.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "CPU:        tikv-ctl flamegraph --status STATUS_ADDR --seconds 10 -o cpu.svg\n\
                        Wall clock: tikv-ctl flamegraph --wall --host ADDR -o wall.svg\n\
                        \x20           tikv-ctl flamegraph --trace FILE --kind kv_get --percentile 99..100 -o slow.html\n\
                        Difference: tikv-ctl flamegraph diff BEFORE AFTER\n\
                        A file:     tikv-ctl flamegraph perf.data --as firefox -o profile.json",
    args_conflicts_with_subcommands = true
)]
pub struct FlamegraphArgs {
    #[command(subcommand)]
    pub command: Option<FlamegraphCommand>,
    #[command(flatten)]
    pub input: InputArgs,
    /// Wall clock of the requests in a trace file
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    pub trace: Option<PathBuf>,
    /// Wall clock of the requests that the server at --host serves during --seconds, or of --trace
    #[arg(long)]
    pub wall: bool,
    /// Seconds to observe a server
    #[arg(long, default_value_t = 10, conflicts_with = "trace", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// CPU samples per second
    #[arg(long, default_value_t = 99, conflicts_with = "trace", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub frequency: u32,
    /// CPU of a server: the sampler that it uses [default: own on Linux, pprof elsewhere]; a real TiKV has only its own
    #[arg(long, value_enum, conflicts_with = "trace")]
    pub sampler: Option<SamplerName>,
    /// CPU of a server: a row for each thread instead of each thread pool
    #[arg(long, conflicts_with_all = ["trace", "wall"])]
    pub threads: bool,
    /// CPU of a server: show the frames of the async runtime, which are one frame by default
    #[arg(long, conflicts_with_all = ["trace", "wall"])]
    pub runtime_frames: bool,
    /// Wall clock: only requests of this kind, e.g. kv_get, kv_prewrite; `client`: whole operations
    #[arg(long, visible_alias = "type", value_name = "KIND")]
    pub kind: Option<String>,
    /// Wall clock: only the request with this id
    #[arg(long, value_name = "ID")]
    pub request: Option<u64>,
    /// Wall clock: only requests whose duration is in this percentile band of their kind, e.g. 99..100
    #[arg(long, value_name = "BAND", value_parser = Pick::band)]
    pub percentile: Option<(f64, f64)>,
    /// Wall clock: a CPU profile of the same time in pprof's protobuf; divides each stage into running and
    /// waiting
    #[arg(long, value_name = "FILE")]
    pub cpu: Option<PathBuf>,
    /// CPU of the server with this status address (its --status-addr), or with --wall, also its CPU profile
    /// during that time; if absent, PD is asked for the one of --host
    #[arg(long, value_name = "STATUS_ADDR", conflicts_with_all = ["cpu", "trace"])]
    pub status: Option<String>,
    /// Write one page with flame graph, timeline and table that needs no network (default if --output ends in
    /// .html)
    #[arg(long, conflicts_with = "folded")]
    pub html: bool,
    /// Form of the output: a picture, or a profile for other tools
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Svg, conflicts_with_all = ["folded", "html"])]
    pub form: Form,
    /// Write folded stacks (`frame;frame COUNT`) instead of a picture: --as folded
    #[arg(long)]
    pub folded: bool,
    /// Wall clock: include work of replicas at that time, which is not part of a request's sum
    #[arg(long)]
    pub replicas: bool,
    /// Wall clock: name the store of each stage
    #[arg(long)]
    pub stores: bool,
    /// Wall clock: add the call stacks, where they were captured
    #[arg(long)]
    pub frames: bool,
    /// Wall clock: only stages, without the code that ran in them and the waits
    #[arg(long)]
    pub no_waits: bool,
}

/// Sampler of a server's CPU profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SamplerName {
    /// The server's own sampler, which labels samples with the stage of the request
    Own,
    /// The sampler of the pprof crate, which TiKV uses
    Pprof,
}

impl FlamegraphArgs {
    /// Whether an option for the form of wall-clock stacks is given.
    fn shapes_wall(&self) -> bool {
        self.replicas || self.stores || self.frames || self.no_waits
    }

    /// Returns the status server's path of the requested CPU profile.
    fn profile_path(&self) -> String {
        let (seconds, frequency) = (self.seconds, self.frequency);
        let sampler = match self.sampler {
            None => "",
            Some(SamplerName::Own) => "&sampler=own",
            Some(SamplerName::Pprof) => "&sampler=pprof",
        };
        format!("/debug/pprof/profile?seconds={seconds}&frequency={frequency}{sampler}")
    }
}

/// Subcommands of `flamegraph`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum FlamegraphCommand {
    /// Compare two profiles, two recordings, or two bands of one recording, frame by frame
    Diff(diff::DiffArgs),
}

/// Runs `flamegraph`.
pub fn run(args: &FlamegraphArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if let Some(FlamegraphCommand::Diff(args)) = &args.command {
        return diff::run(args, global, out);
    }
    let options = WallOptions {
        stores: args.stores,
        replicas: args.replicas,
        frames: args.frames,
        waits: !args.no_waits,
    };
    let pick = Pick { kind: args.kind.clone(), request: args.request, percentile: args.percentile };
    let samples = match (&args.cpu, &args.status) {
        (Some(path), _) => Some(cpu::Samples::read_file(path)?),
        (None, Some(status)) if args.wall => {
            Some(cpu::Samples::request(status, args.profile_path(), args.seconds, global.security()?))
        }
        (None, _) => None,
    };
    let profile = match (&args.trace, &global.host) {
        _ if args.input.file.is_some() => input::read(&args.input, out)?,
        (Some(path), _) => wall::read_file(path, out)?.profile(&pick, options, samples, out)?,
        (None, Some(host)) if args.wall => {
            wall::record_server(host, args.seconds, global, out)?.profile(&pick, options, samples, out)?
        }
        (None, None) if args.wall => {
            return Err(Error::other("--wall: give --host ADDR, a server's gRPC address, or --trace FILE"));
        }
        (None, _) if pick != Pick::default() || samples.is_some() || args.shapes_wall() => {
            return Err(Error::other(
                "--kind, --request, --percentile, --cpu, --replicas, --stores, --frames and --no-waits are for the wall \
                 clock of requests: add --wall, or --trace FILE",
            ));
        }
        (None, Some(host)) if args.status.is_some() => {
            return Err(Error::other(format!(
                "expected one server, found --host {host} and --status: a CPU profile needs --status only; for the wall \
                 clock of requests with its CPU profile add --wall"
            )));
        }
        (None, _) => cpu_profile(&status_address(args, global)?, args, &global.security()?, out)?,
    };
    write(args, global, &profile, out)?;
    if let Some(path) = global.output_file() {
        let total = input::in_unit(&profile.folded, unit(profile.measure));
        out.note(&format!("{}: {} stacks, {total}", path.display(), profile.folded.len()));
    }
    Ok(())
}

fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Samples => "samples",
        Measure::Bytes => "bytes",
        Measure::Nanoseconds => "ns",
        Measure::CpuTime => "nanoseconds",
    }
}

/// Returns the status address to profile: the one of `--status`, or the one that PD has for `--host`.
fn status_address(args: &FlamegraphArgs, global: &Global) -> Result<String> {
    if let Some(status) = &args.status {
        return Ok(status.clone());
    }
    let Some(host) = &global.host else {
        return Err(Error::other(
            "give --status STATUS_ADDR for a CPU profile, --wall --host ADDR or --trace FILE for wall clock, or a \
             profile's file",
        ));
    };
    if global.pd.is_none() {
        return Err(Error::other(format!(
            "--host {host} is a gRPC address, and a CPU profile comes from the server's status address: give --status \
             STATUS_ADDR (its --status-addr), or also --pd ADDR to ask PD for it, or --wall for wall clock"
        )));
    }
    let stores = Pd::connect(global)?.stores()?;
    let named = stores.into_iter().find(|store| store.address == *host).map(|store| store.status_address);
    named.filter(|address| !address.is_empty()).ok_or_else(|| {
        Error::other(format!(
            "--host {host}: PD has no store with this address and a status address: give --status STATUS_ADDR"
        ))
    })
}

/// Takes a CPU profile from the status server at `host`.
fn cpu_profile(
    host: &str,
    args: &FlamegraphArgs,
    security: &SecurityManager,
    out: &mut Output<'_>,
) -> Result<Profile> {
    let (seconds, frequency) = (args.seconds, args.frequency);
    out.note(&format!("profiling {host} for {seconds} s at {frequency} Hz ..."));
    let path = args.profile_path();
    let timeout = Duration::from_secs(seconds.into()) + REPLY_TIMEOUT;
    // TiKV chooses the form of its reply by the request's content type.
    let headers = [("Content-Type", "application/protobuf")];
    let body = out.while_waiting(Duration::from_secs(seconds.into()), || {
        http::get(host, &path, &headers, timeout, security)
    })?;
    let fail =
        |what: &dyn std::fmt::Display| Error::other(format!("{}://{host}{path}: {what}", security.scheme()));
    let read = format::read(&body, &format::ReadOptions::default());
    let (_, stacks) = read.map_err(|e| fail(&e))?;
    let value = input::value(&stacks, args.input.value.as_deref())?;
    let view = View { threads: args.threads, runtime: args.runtime_frames };
    let folded = view::fold(&stacks, value, view);
    let measure = input::measure(&stacks, value);
    let samples = stacks.value_named("samples").map_or(0, |samples| stacks.total(samples));
    let total = input::in_unit(&folded, unit(measure));
    let subtitle = format!("{total} in {seconds} s, {samples} samples at {frequency} Hz");
    let title = format!("CPU of {host}");
    Ok(Profile {
        folded,
        measure,
        title,
        subtitle,
        operations: Vec::new(),
        stacks: Some(stacks),
        in_time: None,
    })
}

fn write(args: &FlamegraphArgs, global: &Global, profile: &Profile, out: &mut Output<'_>) -> Result<()> {
    if out.is_json() {
        let unit = 10f64.powi(profile.folded.decimals() as i32);
        let count = |count: u64| if unit == 1.0 { json!(count) } else { json!(count as f64 / unit) };
        let stacks: Vec<_> = profile
            .folded
            .iter()
            .map(|(stack, n)| {
                json!({ "stack": stack.split(';').map(show).collect::<Vec<_>>(), "count": count(n) })
            })
            .collect();
        return out.json(&stacks);
    }
    if page::wanted(args.html, global.output.as_deref()) {
        return out.raw(page::render(profile)?.as_bytes());
    }
    let form = if args.folded { Form::Folded } else { args.form };
    out.raw(&form.render(profile, args.input.value.as_deref())?)
}
