//! `flamegraph diff`: compares two profiles, two recordings, or the slow and the fast requests of one
//! recording.
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use tracepoints_input::OnDisk;
use tracepoints_profile::{
    Comparison, FlameOptions, FoldOptions, Folded, Pick, cohort, compare,
    compare::Side,
    flame::Measure,
    folded::show,
    format::{Format, ReadOptions},
    html::{self, Heading},
    wall::{self, WallOptions},
};

use super::{input, page, wall as recording};
use crate::{Error, Result, cli::Global, print::output::Output};

/// The two sides of the comparison, and the output.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Slow against fast: tikv-ctl flamegraph diff FILE --kind kv_get --percentile 45..55 --percentile 99..100\n\
                        Two recordings:    tikv-ctl flamegraph diff before.trace after.trace --kind kv_prewrite -o diff.html\n\
                        Two CPU profiles:  tikv-ctl flamegraph diff before.folded after.pb -o diff.svg"
)]
pub struct DiffArgs {
    /// A trace file, or a profile of any form that `flamegraph` reads; `-`: standard input
    pub before: PathBuf,
    /// The second file, to compare with the first; if absent, two bands of the first file are compared
    pub after: Option<PathBuf>,
    /// Only requests of this kind
    #[arg(long, visible_alias = "type", value_name = "KIND")]
    pub kind: Option<String>,
    /// Only requests in this percentile band of their kind; given twice, the first is for BEFORE, the second
    /// for AFTER
    #[arg(long, value_name = "BAND", value_parser = Pick::band)]
    pub percentile: Vec<(f64, f64)>,
    /// Write one page with both flame graphs and the table (default if --output ends in .html; .svg: a
    /// picture)
    #[arg(long)]
    pub html: bool,
    /// Number of frames in the table
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
        let subtitle = "both graphs have the same scale".to_owned();
        html::diff(&Heading { title, subtitle, notes: Vec::new() }, &comparison).map_err(fail)?
    } else if svg {
        comparison.svg(&title, &FlameOptions::default()).map_err(fail)?
    } else {
        comparison.table(args.top)
    };
    if let Some(path) = global.output_file() {
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
            return Err(Error::other(
                "expected --percentile at most twice, for BEFORE and for AFTER, found it more often: leave the \
                 others out",
            ));
        }
    };
    let pick = |band: Option<&(f64, f64)>| Pick {
        kind: args.kind.clone(),
        request: None,
        percentile: band.copied(),
    };
    let (first, second) = (pick(args.percentile.first()), pick(args.percentile.last()));
    let open = |path: &Path| OnDisk::open(path).map_err(|e| Error::other(format!("{}: {e}", path.display())));
    let first_file = open(&args.before)?;
    let other = args.after.as_deref().map(open).transpose()?;
    let names = (input::title(&args.before), input::title(after));
    let (before, one) = side(&names.0, first_file.path(), &first, out)?;
    let (after, two) =
        side(&names.1, other.as_ref().map_or_else(|| first_file.path(), OnDisk::path), &second, out)?;
    if one != two {
        return Err(Error::other(
            "expected two files of the same measure, found CPU samples and wall-clock time: compare CPU with CPU, or wall \
             clock with wall clock",
        ));
    }
    let (before, after) = distinguish_labels(before, after);
    let title = format!("{} and {}", before.label, after.label);
    let comparison = compare(before, after, one);
    comparison.map(|c| (c, title)).map_err(|e| Error::other(format!("flamegraph diff: {e}")))
}

/// Renames sides of the same label to before and after.
fn distinguish_labels(mut before: Side, mut after: Side) -> (Side, Side) {
    if before.label == after.label {
        before.label.push_str(" before");
        after.label.push_str(" after");
    }
    (before, after)
}

const TRACE_FILE: &[u8] = b"TPTRACE";

/// Reads one side from `path`, which may be a copy of the file called `name`.
fn side(name: &str, path: &Path, pick: &Pick, out: &mut Output<'_>) -> Result<(Side, Measure)> {
    let mut magic = Vec::new();
    let head = File::open(path).and_then(|file| file.take(TRACE_FILE.len() as u64).read_to_end(&mut magic));
    head.map_err(|e| Error::other(format!("{name}: {e}")))?;
    if magic == TRACE_FILE {
        let operations = recording::read_file(path, out)?.pick(pick)?;
        let options = WallOptions { waits: true, ..WallOptions::default() };
        let label =
            if *pick == Pick::default() { name.to_owned() } else { format!("{name} {}", pick.words()) };
        return Ok((Side::cohort(&label, cohort::stacks(&operations, options)), Measure::Nanoseconds));
    }
    if *pick != Pick::default() {
        return Err(Error::other(format!(
            "{name}: --kind and --percentile need a trace file, found a profile"
        )));
    }
    let (form, stacks) = input::profile(path, &ReadOptions::default(), out)?;
    // The test compares numbers of samples.
    let value = stacks.value_named("samples").unwrap_or(stacks.default_value);
    let folded = stacks.fold(&FoldOptions { value, ..FoldOptions::default() });
    let measure = if form == Format::Folded { measure(&folded) } else { input::measure(&stacks, value) };
    Ok((Side::samples(name, folded), measure))
}

/// Returns wall-clock nanoseconds if leaves name running or waiting, as `flamegraph --wall --folded` writes
/// them.
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
                "stack": f.path.split(';').filter(|f| !f.is_empty()).map(show).collect::<Vec<_>>(),
                "before": f.before, "after": f.after, "delta": f.delta(), "change": f.change(),
                "p": f.p, "significant": f.significant(),
            })
        })
        .collect();
    json!({ "before": side(&c.before), "after": side(&c.after), "test": c.test(), "frames": frames })
}
