//! `flamegraph diff`: what differs between two profiles, two recordings, or the slow and the fast of one.
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tracepoints_profile::{
    Comparison, FlameOptions, Folded, Pick, cohort, compare,
    compare::Side,
    flame::Measure,
    html::{self, Heading},
    wall::{self, WallOptions},
};

use super::{page, pprof, wall as recording};
use crate::{Error, Result, cli::Global, output::Output};

/// What is compared with what.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Slow against fast: tikv-ctl flamegraph diff FILE --kind kv_get --percentile 45..55 --percentile 99..100\n\
                        Two recordings:    tikv-ctl flamegraph diff before.trace after.trace --kind kv_prewrite -o diff.html\n\
                        Two CPU profiles:  tikv-ctl flamegraph diff before.folded after.pb -o diff.svg"
)]
pub struct DiffArgs {
    /// A trace file, folded stacks, or a profile in pprof's protobuf
    pub before: PathBuf,
    /// The same of what it is compared with; without it, two bands of the one file are compared
    pub after: Option<PathBuf>,
    /// Only requests of this kind
    #[arg(long)]
    pub kind: Option<String>,
    /// Only requests in this band of their kind; given twice, the first is for BEFORE, the second for AFTER
    #[arg(long, value_name = "BAND", value_parser = Pick::band)]
    pub percentile: Vec<(f64, f64)>,
    /// Write one page with both flames and the table; so also if the name of --output ends in .html (in .svg: a picture)
    #[arg(long)]
    pub html: bool,
    /// How many frames the table has
    #[arg(long, default_value_t = 40, value_name = "FRAMES")]
    pub top: usize,
}

/// Runs `flamegraph diff`.
pub fn run(args: &DiffArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (comparison, title) = comparison(args, out)?;
    let fail = |e: tracepoints_profile::ProfileError| Error::other(format!("flamegraph diff: {e}"));
    let svg =
        global.output.as_deref().and_then(Path::extension).is_some_and(|e| e.eq_ignore_ascii_case("svg"));
    let text = if out.is_json() {
        String::new()
    } else if page::wanted(args.html, global.output.as_deref()) {
        let subtitle = "both sides at one scale".to_owned();
        html::diff(&Heading { title, subtitle, notes: Vec::new() }, &comparison).map_err(fail)?
    } else if svg {
        comparison.svg(&title, &FlameOptions::default()).map_err(fail)?
    } else {
        comparison.table(args.top)
    };
    if let Some(path) = &global.output {
        out.note(&format!("{}: {}", path.display(), comparison.totals()));
    }
    if out.is_json() { out.json(&as_json(&comparison)) } else { out.bytes(text.as_bytes()) }
}

fn comparison(args: &DiffArgs, out: &mut Output<'_>) -> Result<(Comparison, String)> {
    let after = match (&args.after, args.percentile.as_slice()) {
        (Some(after), [] | [_] | [_, _]) => after,
        (None, [_, _]) => &args.before,
        (None, _) => {
            return Err(Error::other(
                "give AFTER, or two bands of the one file: --percentile 45..55 --percentile 99..100",
            ));
        }
        (Some(_), _) => {
            return Err(Error::other("--percentile is given at most twice: for BEFORE and for AFTER"));
        }
    };
    let pick = |band: Option<&(f64, f64)>| Pick {
        kind: args.kind.clone(),
        request: None,
        percentile: band.copied(),
    };
    let (first, second) = (pick(args.percentile.first()), pick(args.percentile.last()));
    let (before, one) = side(&args.before, &first, out)?;
    let (after, two) = side(after, &second, out)?;
    if one != two {
        return Err(Error::other(
            "one side is CPU samples, the other is wall-clock time: only like can be compared with like",
        ));
    }
    let (before, after) = told_apart(before, after);
    let title = format!("{} and {}", before.label, after.label);
    let comparison = compare(before, after, one);
    comparison.map(|c| (c, title)).map_err(|e| Error::other(format!("flamegraph diff: {e}")))
}

/// Sides of one name are before and after.
fn told_apart(mut before: Side, mut after: Side) -> (Side, Side) {
    if before.label == after.label {
        before.label.push_str(" before");
        after.label.push_str(" after");
    }
    (before, after)
}

const TRACE_FILE: &[u8] = b"TPTRACE";

fn side(path: &Path, pick: &Pick, out: &mut Output<'_>) -> Result<(Side, Measure)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = std::fs::read(path).map_err(|e| Error::other(format!("{}: {e}", path.display())))?;
    if bytes.starts_with(TRACE_FILE) {
        let operations = recording::of_file(path, out)?.pick(pick)?;
        let options = WallOptions { waits: true, ..WallOptions::default() };
        let label = if *pick == Pick::default() { name } else { format!("{name} {}", pick.words()) };
        return Ok((Side::cohort(&label, cohort::stacks(&operations, options)), Measure::Nanoseconds));
    }
    if *pick != Pick::default() {
        return Err(Error::other(format!(
            "{}: --kind and --percentile pick requests of a trace file; this is a profile",
            path.display()
        )));
    }
    let folded = stacks(&bytes).map_err(|what| Error::other(format!("{}: {what}", path.display())))?;
    let measure = measure(&folded);
    Ok((Side::samples(&name, folded), measure))
}

fn stacks(bytes: &[u8]) -> std::result::Result<Folded, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with('<') => {
            let unreadable =
                |e| format!("expected a trace file, folded stacks or a profile in protobuf: {e}");
            Folded::parse(text).map_err(unreadable)
        }
        _ => pprof::fold(bytes),
    }
}

/// Stacks whose leaves say what ran or was waited for are ns of wall-clock time, as `flamegraph --wall --folded` writes them.
fn measure(folded: &Folded) -> Measure {
    let of_wall = |stack: &str| {
        stack.rsplit(';').next().is_some_and(|leaf| leaf.contains(": ") && wall::class_of(leaf).is_some())
    };
    let wall = !folded.is_empty() && folded.iter().all(|(stack, _)| of_wall(stack));
    if wall { Measure::Nanoseconds } else { Measure::Samples }
}

fn as_json(c: &Comparison) -> serde_json::Value {
    let side = |s: &Side| json!({ "label": s.label, "total": s.total(), "requests": s.requests.len() });
    let frames: Vec<_> = c
        .frames
        .iter()
        .map(|f| {
            json!({
                "stack": f.path.split(';').filter(|f| !f.is_empty()).collect::<Vec<_>>(),
                "before": f.before, "after": f.after, "delta": f.delta(), "change": f.change(),
                "p": f.p, "significant": f.significant(),
            })
        })
        .collect();
    json!({ "before": side(&c.before), "after": side(&c.after), "test": c.test(), "frames": frames })
}
