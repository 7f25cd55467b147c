//! Reads a profile from a file of any tool and process.
use std::path::{Path, PathBuf};

use clap::Args;
use tracepoints_input::{Input, is_stdin};
use tracepoints_profile::{
    FoldOptions, Folded, Profile as Stacks,
    flame::Measure,
    format::{self, Format, ReadOptions},
    symbols::{self, SymbolOptions},
};

use super::profile::Profile;
use crate::{Error, Result, print::output::Output};

/// The profile file, and the options for reading it.
#[derive(Clone, Debug, Default, Args)]
pub struct InputArgs {
    /// A profile of any process: perf.data, pprof, output of perf script, Firefox, speedscope, folded; `-`: standard input
    #[arg(value_name = "PROFILE", conflicts_with_all = ["trace", "wall", "host", "status", "seconds", "frequency", "sampler",
          "threads", "runtime_frames", "kind", "request", "percentile", "cpu", "replicas", "stores", "frames", "no_waits"])]
    pub file: Option<PathBuf>,
    /// Profile file: the weight to draw, e.g. cpu; if absent, the one that the file names, or the first
    #[arg(long, value_name = "KIND", conflicts_with_all = ["trace", "wall"])]
    pub value: Option<String>,
    /// perf: the event to draw, e.g. cycles; the first if absent
    #[arg(long, value_name = "NAME", requires = "file", conflicts_with_all = ["trace", "wall", "host", "status"])]
    pub event: Option<String>,
    /// A program or library that ran, to resolve function names; may be given more than once
    #[arg(long, value_name = "FILE", requires = "file", conflicts_with_all = ["trace", "wall", "host", "status"])]
    pub binary: Vec<PathBuf>,
    /// Directory of split debug information (`.build-id/ab/cdef.debug`); may be given more than once
    #[arg(long, value_name = "DIR", requires = "file", conflicts_with_all = ["trace", "wall", "host", "status"])]
    pub debug_dir: Vec<PathBuf>,
    /// Do not write resolved symbols to the cache directory
    #[arg(long, requires = "file", conflicts_with_all = ["trace", "wall", "host", "status"])]
    pub no_symbol_cache: bool,
}

/// Reads the file and folds one of its weights.
pub(super) fn read(args: &InputArgs, out: &mut Output<'_>) -> Result<Profile> {
    let path = args.file.clone().unwrap_or_default();
    let symbols = symbol_options(args)?;
    let options = ReadOptions { event: args.event.clone(), times: true, symbols: symbols.clone() };
    let (form, stacks) = profile(&path, &options, out)?;
    let (stacks, notes) = symbols::resolve(&stacks, &symbols);
    for note in &notes {
        out.note(note);
    }
    let value = value(&stacks, args.value.as_deref())?;
    let folded = stacks.fold(&FoldOptions { value, ..FoldOptions::default() });
    let measure = measure(&stacks, value);
    let (kind, unit) = kind_and_unit(&stacks, value);
    let subtitle = format!("{form}: {kind}, {} in all", in_unit(&folded, unit));
    Ok(Profile {
        folded,
        measure,
        title: title(&path),
        subtitle,
        operations: Vec::new(),
        stacks: Some(stacks),
        in_time: None,
    })
}

/// Reads a profile of any form, and prints a note for each loss. `-` is standard input.
pub(super) fn profile(path: &Path, options: &ReadOptions, out: &mut Output<'_>) -> Result<(Format, Stacks)> {
    let fail = |e: &dyn std::fmt::Display| Error::other(format!("{}: {e}", title(path)));
    if path.is_dir() {
        let what = "expected a file, found a directory: for one of `perf record --threads`, give the output of \
                    `perf script`";
        return Err(Error::other(format!("{}: {what}", path.display())));
    }
    let bytes = Input::open(path).map_err(|e| Error::other(format!("{}: {e}", path.display())))?;
    let (form, stacks) = format::read(&bytes, options).map_err(|e| fail(&e))?;
    if options.event.is_some() && !matches!(form, Format::PerfData | Format::PerfScript) {
        return Err(Error::other(format!(
            "--event: only files of perf have events, found {form}: leave it out"
        )));
    }
    for comment in stacks.comments.iter().filter(|comment| comment.contains("left out")) {
        out.note(comment);
    }
    let negative =
        stacks.samples().filter(|s| s.values.get(stacks.default_value).is_some_and(|v| *v < 0)).count();
    if negative > 0 {
        out.note(&format!("{negative} samples have a negative value and so no width: they are not drawn"));
    } else if !stacks.is_empty() && stacks.total(stacks.default_value) == 0 {
        let n = stacks.samples().count();
        out.note(&format!("{n} samples have the value 0 and so no width: nothing is drawn"));
    }
    Ok((form, stacks))
}

/// Returns the name of the file, or "standard input".
pub(super) fn title(path: &Path) -> String {
    if is_stdin(path) {
        return "standard input".to_owned();
    }
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn kind_and_unit(stacks: &Stacks, value: usize) -> (&str, &str) {
    stacks.value_types().get(value).map_or(("", ""), |what| (stacks.text(what.kind), stacks.text(what.unit)))
}

/// Returns the measure of the widths: CPU time and wall-clock time have colours of their own.
pub(super) fn measure(stacks: &Stacks, value: usize) -> Measure {
    match kind_and_unit(stacks, value) {
        ("cpu", "nanoseconds") => Measure::CpuTime,
        (_, "nanoseconds") => Measure::Nanoseconds,
        (_, "bytes") => Measure::Bytes,
        _ => Measure::Samples,
    }
}

/// Formats the total with its unit: time in ms.
pub(super) fn in_unit(folded: &Folded, unit: &str) -> String {
    let total = folded.total() as f64 / 10f64.powi(folded.decimals() as i32);
    let unit = unit.split('/').next().unwrap_or(unit);
    match unit {
        "nanoseconds" => format!("{:.3} ms", total / 1e6),
        "count" => format!("{total} samples"),
        unit => format!("{total} {unit}"),
    }
}

fn symbol_options(args: &InputArgs) -> Result<SymbolOptions> {
    let given = args.binary.iter().chain(&args.debug_dir);
    if let Some(missing) = given.into_iter().find(|path| !path.exists()) {
        return Err(Error::other(format!(
            "{}: expected a file or directory, found nothing: check the path",
            missing.display()
        )));
    }
    Ok(SymbolOptions {
        binaries: args.binary.clone(),
        debug_dirs: args.debug_dir.clone(),
        cache: symbols::default_cache_dir().filter(|_| !args.no_symbol_cache),
    })
}

/// Returns the index of a weight by its name.
pub(super) fn value(stacks: &Stacks, kind: Option<&str>) -> Result<usize> {
    let Some(kind) = kind else { return Ok(stacks.default_value) };
    stacks.value_named(kind).ok_or_else(|| {
        let known: Vec<_> = stacks.value_types().iter().map(|v| stacks.text(v.kind)).collect();
        Error::other(format!("--value {kind}: expected one of the profile's weights: {}", known.join(", ")))
    })
}
