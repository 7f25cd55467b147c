//! A profile from a file, of any tool and process.
use std::path::{Path, PathBuf};

use clap::Args;
use memmap2::Mmap;
use tracepoints_profile::{
    FoldOptions, Profile as Stacks,
    flame::Measure,
    format::{self, ReadOptions},
    symbols::{self, SymbolOptions},
};

use super::Profile;
use crate::{Error, Result, output::Output};

/// Which file, and what of it.
#[derive(Clone, Debug, Default, Args)]
pub struct InputArgs {
    /// A profile of any process: perf.data, pprof, output of perf script, Firefox, speedscope, folded
    #[arg(value_name = "PROFILE", conflicts_with_all = ["trace", "wall", "host"])]
    pub file: Option<PathBuf>,
    /// Profile file: which of its weights, e.g. cpu; the first if absent
    #[arg(long, value_name = "KIND")]
    pub value: Option<String>,
    /// perf: which event, e.g. cycles; the first if absent
    #[arg(long, value_name = "NAME")]
    pub event: Option<String>,
    /// A program or library that ran, for the names of its functions; may be given more than once
    #[arg(long, value_name = "FILE", requires = "file")]
    pub binary: Vec<PathBuf>,
    /// Where split debug information is (`.build-id/ab/cdef.debug`); may be given more than once
    #[arg(long, value_name = "DIR", requires = "file")]
    pub debug_dir: Vec<PathBuf>,
    /// Do not keep what was resolved in the cache directory
    #[arg(long, requires = "file")]
    pub no_symbol_cache: bool,
}

/// Reads the file and folds one of its weights.
pub(super) fn read(args: &InputArgs, out: &mut Output<'_>) -> Result<Profile> {
    let path = args.file.clone().unwrap_or_default();
    let fail = |e: &dyn std::fmt::Display| Error::other(format!("{}: {e}", path.display()));
    let bytes = open(&path).map_err(|e| fail(&e))?;
    let bytes = bytes.as_deref().unwrap_or_default();
    let options = ReadOptions { event: args.event.clone(), times: true };
    let (form, stacks) = format::read(bytes, &options).map_err(|e| fail(&e))?;
    for comment in stacks.comments.iter().filter(|comment| comment.contains("left out")) {
        out.note(comment);
    }
    let stacks = named(args, stacks, out)?;
    let value = value(&stacks, args.value.as_deref())?;
    let folded = stacks.fold(&FoldOptions { value, ..FoldOptions::default() });
    let what = &stacks.value_types()[value];
    let (kind, unit) = (stacks.text(what.kind), stacks.text(what.unit));
    let measure = match unit {
        "nanoseconds" => Measure::Nanoseconds,
        "bytes" => Measure::Bytes,
        _ => Measure::Samples,
    };
    let subtitle = format!("{form}: {kind} in {unit}, {} in all", folded.total());
    let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Profile { folded, measure, title, subtitle, operations: Vec::new(), stacks: Some(stacks) })
}

/// Names what has addresses only, and tells what stays without a name.
fn named(args: &InputArgs, stacks: Stacks, out: &mut Output<'_>) -> Result<Stacks> {
    let given = args.binary.iter().chain(&args.debug_dir);
    if let Some(missing) = given.into_iter().find(|path| !path.exists()) {
        return Err(Error::other(format!("{}: there is no such file or directory", missing.display())));
    }
    let options = SymbolOptions {
        binaries: args.binary.clone(),
        debug_dirs: args.debug_dir.clone(),
        cache: symbols::default_cache_dir().filter(|_| !args.no_symbol_cache),
    };
    let (stacks, notes) = symbols::resolve(&stacks, &options);
    for note in &notes {
        out.note(note);
    }
    Ok(stacks)
}

/// None for an empty file, which cannot be mapped.
fn open(path: &Path) -> std::io::Result<Option<Mmap>> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    // SAFETY: the map is only read; a profile that is written meanwhile may be misread, but is read as any bytes are.
    unsafe { Mmap::map(&file) }.map(Some)
}

/// The place of a weight by its name.
pub(super) fn value(stacks: &Stacks, kind: Option<&str>) -> Result<usize> {
    let Some(kind) = kind else { return Ok(0) };
    stacks.value_named(kind).ok_or_else(|| {
        let known: Vec<_> = stacks.value_types().iter().map(|v| stacks.text(v.kind)).collect();
        Error::other(format!("--value {kind}: the profile has {}", known.join(", ")))
    })
}
