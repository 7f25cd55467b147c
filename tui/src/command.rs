//! Runs the commands of the command line.
use std::{
    io::{self, IsTerminal, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;
use tracepoints::{
    Stage,
    catalogue::STAGES,
    printable::{Form, Writer, note, print},
    request::RequestKind,
};
use tracepoints_input::{OnDisk, is_stdin};

use crate::{
    cli::{
        AttachArgs, Cli, Command, Common, FilterArgs, ImportArgs, ListArgs, OpenArgs, OverheadArgs, StepArgs,
        TraceArgs, TraceCommand,
    },
    plain::{self, Format},
    recording,
    run::{self, ScreenEnd},
    source::{
        attached::{Attached, RequestFilter},
        recorded::Recorded,
    },
    state::{Screen, Start, StepSource, screen::Options, search},
    terminal::signals::Stopped,
    view::theme::Theme,
};

/// Runs the command.
///
/// # Errors
/// The failure of the command, or [`Stopped`] if a signal ended it.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        None => step(StepArgs { name: "point_get".into(), flags: cli.step }),
        Some(Command::Step(args)) => step(args),
        Some(Command::List(args)) => list(&args),
        Some(Command::Attach(args)) => attach(args),
        Some(Command::Record(args)) => recording::record::run(&args),
        Some(Command::Trace(args)) => trace(*args),
        Some(Command::Overhead(args)) => overhead(args),
        Some(Command::Completions { shell }) => completions(shell),
        Some(Command::Man { dir }) => man(&dir),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tikv-tui", &mut text);
    print(&String::from_utf8_lossy(&text)).context("cannot write to standard output")
}

/// Writes `tikv-tui.1` and a page for each command.
fn man(dir: &Path) -> Result<()> {
    let shown = dir.display();
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.with_context(|| format!("cannot write the man pages into {shown}"))?;
    note(format_args!("{shown}: read the pages with man -l {shown}/tikv-tui.1"));
    Ok(())
}

#[cfg(feature = "embedded")]
fn overhead(args: OverheadArgs) -> Result<()> {
    crate::overhead::run(args.seconds, args.json)
}

#[cfg(not(feature = "embedded"))]
fn overhead(_: OverheadArgs) -> Result<()> {
    bail!("this program was built without the embedded cluster: build it with the feature `embedded`")
}

#[cfg(feature = "embedded")]
fn step(args: StepArgs) -> Result<()> {
    let crate::cli::StepFlags { data_dir, no_stacks, common } = args.flags;
    let start = start(&common, !no_stacks)?;
    let source = crate::source::embedded::Embedded::start(&args.name, data_dir, start)?;
    show(Box::new(source), &common)
}

#[cfg(not(feature = "embedded"))]
fn step(_: StepArgs) -> Result<()> {
    bail!("this program was built without the embedded cluster: build it with the feature `embedded`")
}

#[cfg(feature = "embedded")]
fn list(args: &ListArgs) -> Result<()> {
    let recipes = crate::source::embedded::recipes()?;
    let width = recipes.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, title): &(String, String)| match args.json {
        true => format!("{}\n", serde_json::json!({ "name": name, "title": title })),
        false => format!("{name:<width$}  {title}\n"),
    };
    let lines: String = recipes.iter().map(line).collect();
    print(&lines).context("cannot write to standard output")
}

#[cfg(not(feature = "embedded"))]
fn list(_: &ListArgs) -> Result<()> {
    bail!("this program was built without the embedded cluster: build it with the feature `embedded`")
}

fn attach(args: AttachArgs) -> Result<()> {
    let wanted = RequestFilter {
        key: args.key.as_deref().map(|k| parse_key("--key", k)).transpose()?.unwrap_or_default(),
        region: args.region,
        kind: args
            .kind
            .as_deref()
            .map(|k| Ok::<_, anyhow::Error>(kind("--kind", k)?.name()))
            .transpose()?
            .unwrap_or_default(),
    };
    let source = Attached::start(&args.address, &args.tls.security()?, wanted, start(&args.common, true)?)?;
    show(Box::new(source), &args.common)
}

fn trace(mut args: TraceArgs) -> Result<()> {
    let _copies = on_disk(&mut args)?;
    match &args.command {
        None => open(&args.open),
        Some(TraceCommand::Info(args)) => printing(args.json, |out| recording::info::run(args, out)),
        Some(TraceCommand::Grep(args)) => printing(args.json, |out| recording::grep::run(args, out)),
        Some(TraceCommand::Top(args)) => printing(args.json, |out| recording::top::run(args, out)),
        Some(TraceCommand::Diff(args)) => printing(args.json, |out| recording::diff::run(args, out)),
        Some(TraceCommand::Export(args)) => recording::export::run(args),
        Some(TraceCommand::Import(args)) => import(args),
    }
}

/// Runs a command that prints text or JSON, and escapes foreign text so that the terminal does not obey it.
fn printing(json: bool, f: impl FnOnce(&mut dyn io::Write) -> Result<()>) -> Result<()> {
    let form = if json { Form::Json } else { Form::Lines };
    let mut out = Writer::new(io::stdout().lock(), form);
    let done = f(&mut out);
    unless_pipe_closed(done.and_then(|()| Ok(out.flush()?)))
}

/// Copies inputs from a pipe or `-` to temporary files, because recordings are read by their index.
fn on_disk(args: &mut TraceArgs) -> Result<Vec<OnDisk>> {
    let mut paths: Vec<&mut PathBuf> = match &mut args.command {
        None => args.open.file.iter_mut().collect(),
        Some(TraceCommand::Info(args)) => vec![&mut args.file],
        Some(TraceCommand::Grep(args)) => vec![&mut args.file],
        Some(TraceCommand::Top(args)) => vec![&mut args.file],
        Some(TraceCommand::Diff(args)) => vec![&mut args.before, &mut args.after],
        Some(TraceCommand::Export(args)) => vec![&mut args.file],
        Some(TraceCommand::Import(args)) => vec![&mut args.file],
    };
    if paths.iter().filter(|path| is_stdin(path)).count() > 1 {
        bail!("standard input can be read only once: give `-` for one file only");
    }
    let mut copies = Vec::new();
    // The reader reports a missing file.
    let piped = |path: &Path| is_stdin(path) || path.metadata().is_ok_and(|about| !about.is_file());
    for path in paths.iter_mut().filter(|path| piped(path)) {
        let copy = OnDisk::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        copy.path().clone_into(path);
        copies.push(copy);
    }
    Ok(copies)
}

/// Lists the requests of another tool's trace, or opens one of them as steps.
fn import(args: &ImportArgs) -> Result<()> {
    let Some(id) = args.request else {
        return printing(args.common.json, |out| recording::import::run(args, out));
    };
    let start = Start { run: true, ..start(&args.common, false)? };
    show(Box::new(recording::import::open(&args.file, id, &start)?), &args.common)
}

/// Turns a broken pipe into success: the reader of the output may stop early.
pub fn unless_pipe_closed(done: Result<()>) -> Result<()> {
    let closed = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    match done {
        Err(e) if e.chain().any(closed) => Ok(()),
        other => other,
    }
}

/// Opens saved steps or a request of a recording; lists the requests of a recording if none is named.
fn open(args: &OpenArgs) -> Result<()> {
    let start = Start { run: true, ..start(&args.common, false)? };
    let file = args.file.as_deref().context("expected a FILE")?;
    if !recording::open::is_recording(file) {
        if args.request.is_some() {
            bail!(
                "--request: expected a recording, found {} with the steps of one operation: leave out --request",
                file.display()
            );
        }
        return show(Box::new(Recorded::open(file, start.gates)?), &args.common);
    }
    let file = recording::open(file)?;
    match (args.request, printed(&args.common)) {
        (Some(id), _) => {
            let found = match recording::import::kept(&file, id, &start) {
                Some(kept) => kept,
                None => recording::open::steps(&recording::open::request(&file, id)?, &start),
            };
            show(Box::new(found), &args.common)
        }
        (None, format) => {
            let (all, json) = (FilterArgs::default(), format == Some(Format::Json));
            printing(json, |out| match recording::import::list_kept(&file, json, out)? {
                // An imported trace file has no stamps to list.
                true if file.stamps().next().is_none() => Ok(()),
                _ => recording::grep::print(&file, &all, usize::MAX, json, out),
            })
        }
    }
}

/// The format to print steps in; None: show them on the screen.
fn printed(common: &Common) -> Option<Format> {
    // A dumb terminal has neither an alternate screen nor a cursor.
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    let terminal = io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb;
    match (common.json, common.plain || !terminal) {
        (true, _) => Some(Format::Json),
        (false, true) => Some(Format::Table),
        (false, false) => None,
    }
}

fn start(common: &Common, stacks: bool) -> Result<Start> {
    let gates = common.gates.iter().map(|g| gate(g)).collect::<Result<_>>()?;
    Ok(Start { gates, run: printed(common).is_some(), stacks })
}

/// Finds a stage by its name in any case; the error suggests similar names.
pub fn stage(flag: &str, name: &str) -> Result<&'static Stage> {
    if let Some(stage) = tracepoints::find_stage(name) {
        return Ok(stage);
    }
    let near = search::near(name, STAGES.iter().map(|s| s.name));
    let hint = if near.is_empty() {
        let all: Vec<_> = STAGES.iter().map(|s| s.name).collect();
        format!("the stages are {}", all.join(", "))
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    bail!("{flag}: expected a stage, found `{name}`; {hint}");
}

/// Finds a stage that can hold a request, by its name in any case.
pub fn gate(name: &str) -> Result<String> {
    let stage = stage("--gate", name)?;
    if stage.hold == tracepoints::Hold::None {
        bail!(
            "--gate: expected a stage that can hold a request, found `{}`, which is only observed; choose a stage before or after it",
            stage.name
        );
    }
    Ok(stage.name.into())
}

/// Finds a request kind by its name in any case.
pub fn kind(flag: &str, name: &str) -> Result<RequestKind> {
    if let Some(kind) = RequestKind::parse(name) {
        return Ok(kind);
    }
    const KINDS: [RequestKind; 12] = {
        use RequestKind::*;
        [
            KvGet,
            KvBatchGet,
            KvScan,
            KvPrewrite,
            KvCommit,
            KvCleanup,
            KvResolveLock,
            KvCheckTxnStatus,
            RawGet,
            RawPut,
            RawDelete,
            RawScan,
        ]
    };
    let names: Vec<String> = KINDS.iter().map(|k| k.name()).collect();
    bail!("{flag}: expected a request kind, named as TiKV's RPCs ({}, ...), found `{name}`", names.join(", "))
}

/// Parses a key: raw text, z-escaped or 0x hex.
pub fn parse_key(flag: &str, text: &str) -> Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("0x") {
        let bad = || format!("{flag}: expected 0x and an even number of hex digits, found `{text}`");
        if hex.len() % 2 != 0 || !hex.is_ascii() {
            bail!(bad());
        }
        let pair = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).with_context(bad);
        return (0..hex.len()).step_by(2).map(pair).collect();
    }
    keys::unescape(text).with_context(|| {
        format!("{flag}: expected an escape such as \\ooo, \\xhh, \\n, \\t or \\\\, found `{text}`; or write 0x hex")
    })
}

/// Shows the source's steps on the screen, or prints them if [`printed`] names a format.
fn show(mut source: Box<dyn StepSource>, common: &Common) -> Result<()> {
    if let Some(dir) = &common.tikv_src
        && !dir.is_dir()
    {
        bail!("--tikv-src: expected a checkout of tikv/tikv, found no directory at {}", dir.display());
    }
    match printed(common) {
        Some(format) => plain::print(source.as_mut(), format, &mut io::stdout().lock()),
        None => {
            let options = Options { tikv_src: common.tikv_src.clone(), color: Theme::wanted() };
            match run::run(Screen::new(source, options))? {
                ScreenEnd::Quit(None) => Ok(()),
                ScreenEnd::Quit(Some(failure)) => bail!(failure),
                ScreenEnd::Signal(signal) => Err(Stopped(signal).into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_stage_is_an_error_with_similar_names() {
        assert_eq!(gate("Lock_CF_get").unwrap(), "lock_cf_get");
        let near = gate("lock_cf").unwrap_err().to_string();
        assert!(near.contains("lock_cf_get"), "{near}");
        assert!(gate("qqqqqqqq").unwrap_err().to_string().contains("grpc_receive, grpc_decode"));
        assert!(gate("raft_ack").unwrap_err().to_string().contains("only observed"));
    }

    #[test]
    fn keys_and_kinds_are_parsed_or_refused() {
        assert_eq!(parse_key("--key", "0x6b31").unwrap(), b"k1");
        assert_eq!(parse_key("--key", "k\\0001").unwrap(), b"k\x001");
        assert!(parse_key("--key", "0x6").unwrap_err().to_string().contains("even number"));
        assert!(parse_key("--key", "k\\q").unwrap_err().to_string().contains("expected an escape"));
        assert_eq!(kind("--kind", "KV_GET").unwrap(), RequestKind::KvGet);
        assert!(kind("--kind", "get").unwrap_err().to_string().contains("kv_get"));
    }
}
