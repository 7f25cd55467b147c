//! Runs the commands of the command line.
use std::{
    io::{self, IsTerminal, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::CommandFactory as _;
use tracepoints::printable::{Form, Writer, print};
use tracepoints_input::{OnDisk, is_stdin};

use crate::{
    arguments::{gate, kind, parse_key},
    cli::{
        AttachArgs, Cli, Command, Common, CompareArgs, FilterArgs, ImportArgs, ListArgs, OpenArgs,
        OverheadArgs, RunArgs, StepArgs, TraceArgs, TraceCommand,
    },
    print::{self, Format, unless_pipe_closed},
    recording,
    run::{self, ScreenEnd},
    source::{
        attached::{Attached, RequestFilter},
        recorded::Recorded,
    },
    state::{Screen, Start, StepSource, screen::Options},
    terminal::signals::Stopped,
    view::theme::Theme,
};

/// The recipe that is stepped if the user names none.
const DEFAULT_RECIPE: &str = "point_get";

/// Runs the command.
///
/// # Errors
/// The failure of the command, or [`Stopped`] if a signal ended it.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        None => step(StepArgs { name: Some(DEFAULT_RECIPE.into()), flags: cli.step }),
        Some(Command::Step(args)) => step(args),
        Some(Command::Run(args)) => run_operation(args),
        Some(Command::List(args)) => list(&args),
        Some(Command::Attach(args)) => attach(args),
        Some(Command::Record(args)) => recording::record::run(&args),
        Some(Command::Trace(args)) => trace(*args),
        Some(Command::Compare(args)) => compare(&args),
        Some(Command::Dap(args)) => crate::dap::run(args.port),
        Some(Command::Scripts(args)) => crate::scripts::run(&args),
        Some(Command::Overhead(args)) => overhead(args),
        Some(Command::Manual(manual)) => Ok(manual.run(Cli::command())?),
    }
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
    let name = match args.name {
        Some(name) => name,
        None if printed(&common).is_none() => choose_recipe()?,
        None => DEFAULT_RECIPE.to_owned(),
    };
    let source = crate::source::embedded::Embedded::start(&name, data_dir, start)?;
    show(Box::new(source), &common)
}

/// Asks for a recipe on the terminal.
#[cfg(feature = "embedded")]
fn choose_recipe() -> Result<String> {
    let recipes = crate::source::embedded::recipes()?;
    let width = recipes.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: String = recipes
        .iter()
        .enumerate()
        .map(|(i, (name, title))| format!("{:>3}  {name:<width$}  {title}\n", i + 1))
        .collect();
    print(&format!("{lines}\nA number, a name or a file (Enter: {DEFAULT_RECIPE}): "))
        .context("cannot write to the terminal")?;
    io::stdout().flush().context("cannot write to the terminal")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read from the terminal")?;
    Ok(chosen_recipe(answer.trim(), &recipes))
}

/// The recipe of an answer: by its number, or the text itself.
#[cfg(feature = "embedded")]
fn chosen_recipe(answer: &str, recipes: &[(String, String)]) -> String {
    let by_number = answer.parse::<usize>().ok().and_then(|n| recipes.get(n.checked_sub(1)?));
    match (answer, by_number) {
        ("", _) => DEFAULT_RECIPE.to_owned(),
        (_, Some((name, _))) => name.clone(),
        (text, None) => text.to_owned(),
    }
}

#[cfg(not(feature = "embedded"))]
fn step(_: StepArgs) -> Result<()> {
    bail!("this program was built without the embedded cluster: build it with the feature `embedded`")
}

/// Shows the second run on the screen, with the comparison open, or prints the comparison.
fn compare(args: &CompareArgs) -> Result<()> {
    let format = printed(&args.common);
    let stacks = format.is_none();
    let before = crate::compare::load(&args.before, stacks)?;
    let after = crate::compare::load(&args.after, stacks)?;
    if let Some(format) = format {
        let json = format == Format::Json;
        return printing(json, |out| crate::compare::print(&before.run, &after.run, json, out));
    }
    let start = Start { run: true, ..start(&args.common, stacks)? };
    let (title, outcome) = (after.run.title, after.run.outcome);
    let source = Recorded::new(&title, after.run.steps, after.summary, &start).with(&outcome, Vec::new());
    let mut screen = screen(Box::new(source), &args.common)?;
    while screen.poll() {}
    screen.compare_with_run(before.run);
    screen.toggle_compare();
    on_screen(screen)
}

#[cfg(feature = "embedded")]
fn run_operation(args: RunArgs) -> Result<()> {
    let crate::cli::StepFlags { data_dir, no_stacks, common } = args.flags;
    let (text, start) = (args.operation.join(" "), start(&common, !no_stacks)?);
    let security = args.tls.security()?;
    if args.pd.is_none() && security.is_tls() {
        bail!(
            "expected --pd with --ca-path, found none: the embedded cluster has no TLS, so give --pd or no --ca-path"
        );
    }
    let source: Box<dyn StepSource> = match args.pd {
        Some(pd) => {
            let files = [args.tls.ca_path, args.tls.cert_path, args.tls.key_path];
            let tls = match files {
                [Some(ca), Some(cert), Some(key)] => Some([ca, cert, key]),
                _ => None,
            };
            let access = recipes::client::Access { keyspace: args.keyspace, tls };
            Box::new(crate::source::remote::start(&pd, &text, start, access, &security)?)
        }
        None => Box::new(crate::source::embedded::Embedded::start_operation(&text, data_dir, start)?),
    };
    show(source, &common)
}

#[cfg(not(feature = "embedded"))]
fn run_operation(_: RunArgs) -> Result<()> {
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
        (false, true) => Some(Format::Table { inside: common.inside }),
        (false, false) => None,
    }
}

fn start(common: &Common, stacks: bool) -> Result<Start> {
    let gates = common.gates.iter().map(|g| gate(g)).collect::<Result<_>>()?;
    Ok(Start { gates, run: printed(common).is_some(), stacks })
}

/// Shows the source's steps on the screen, or prints them if [`printed`] names a format.
fn show(mut source: Box<dyn StepSource>, common: &Common) -> Result<()> {
    match printed(common) {
        Some(format) => {
            check_tikv_src(common)?;
            print::run(source.as_mut(), format, &mut io::stdout().lock())
        }
        None => on_screen(screen(source, common)?),
    }
}

fn check_tikv_src(common: &Common) -> Result<()> {
    if let Some(dir) = &common.tikv_src
        && !dir.is_dir()
    {
        bail!("--tikv-src: expected a checkout of tikv/tikv, found no directory at {}", dir.display());
    }
    Ok(())
}

/// Makes the screen of a source.
fn screen(source: Box<dyn StepSource>, common: &Common) -> Result<Screen> {
    check_tikv_src(common)?;
    let options = Options { tikv_src: common.tikv_src.clone(), color: Theme::wanted() };
    Ok(Screen::new(source, options))
}

/// Shows the screen until the user quits.
fn on_screen(screen: Screen) -> Result<()> {
    match run::run(screen)? {
        ScreenEnd::Quit(None) => Ok(()),
        ScreenEnd::Quit(Some(failure)) => bail!(failure),
        ScreenEnd::Signal(signal) => Err(Stopped(signal).into()),
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;

    #[test]
    fn the_menu_takes_a_number_a_name_or_a_file() {
        let recipes = crate::source::embedded::recipes().unwrap();
        assert_eq!(chosen_recipe("", &recipes), "point_get");
        assert_eq!(chosen_recipe("2", &recipes), recipes[1].0);
        assert_eq!(chosen_recipe("0", &recipes), "0", "an error names it");
        assert_eq!(chosen_recipe("my.txt", &recipes), "my.txt");
    }
}
