//! `tikv-tui compare`: one run beside another, with the steps aligned and the differences marked.
use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tracepoints::trace::Step;

use crate::{
    recording::{self, open::is_recording, table},
    source::recorded::Recorded,
    state::{
        compare::{Loaded, Pair, Run, align},
        units,
    },
};

/// Reads or makes the run that an argument names: saved steps, `RECORDING#ID`, or a recipe or scenario file, with
/// `:N` for its operation N.
///
/// # Errors
/// If it names none of these, or the run fails.
pub fn load(name: &str, stacks: bool) -> Result<Loaded> {
    if let Some((file, id)) = name.rsplit_once('#')
        && Path::new(file).is_file()
    {
        let id = id.parse().with_context(|| {
            format!("expected RECORDING#ID, found {name}: give the number of a request as ID")
        })?;
        let file = recording::open(Path::new(file))?;
        let request = recording::open::request(&file, id)?;
        let trace = request.trace();
        let run = Run { title: name.to_owned(), steps: trace.steps.clone(), outcome: String::new() };
        return Ok(Loaded { run, summary: trace.summary() });
    }
    let path = PathBuf::from(name);
    if !path.is_file() || path.extension().is_some_and(|e| e == "txt") {
        return stepped(name, stacks);
    }
    if is_recording(&path) {
        bail!(
            "{name} is a recording of many requests: name one as {name}#ID; `tikv-tui trace grep {name}` lists them"
        );
    }
    let record = Recorded::read(&path)?;
    let run = Run { title: name.to_owned(), steps: record.steps, outcome: String::new() };
    Ok(Loaded { run, summary: record.summary })
}

/// Runs a recipe or scenario file on an embedded cluster, and takes one of its operations.
#[cfg(feature = "embedded")]
fn stepped(name: &str, stacks: bool) -> Result<Loaded> {
    let (recipe, number) = match name.rsplit_once(':').map(|(recipe, n)| (recipe, n.parse::<usize>())) {
        Some((recipe, Ok(number))) => (recipe, number),
        _ => (name, 1),
    };
    let start = crate::state::Start { run: true, stacks, ..Default::default() };
    let mut source = crate::source::embedded::Embedded::start(recipe, None, start)?;
    let mut operations = crate::print::collect(&mut source)?;
    let count = operations.len();
    if number == 0 || number > count {
        bail!("expected an operation of {recipe} from 1 to {count}, found {number}");
    }
    if count > 1 && recipe == name {
        tracepoints::printable::note(format_args!(
            "{recipe} steps {count} operations: comparing the first; {recipe}:2 is the second"
        ));
    }
    let mut loaded = operations.swap_remove(number - 1);
    loaded.run.title = match loaded.run.title.is_empty() {
        true => recipe.to_owned(),
        false => format!("{recipe}: {}", loaded.run.title),
    };
    Ok(loaded)
}

#[cfg(not(feature = "embedded"))]
fn stepped(name: &str, _: bool) -> Result<Loaded> {
    bail!("expected a file with steps, found {name}: recipes need a program with the feature `embedded`")
}

const COLUMNS: &[table::Column] = &[
    table::Column("", false),
    table::Column("request", false),
    table::Column("stage", false),
    table::Column("before", true),
    table::Column("after", true),
    table::Column("delta", true),
    table::Column("difference", false),
];

/// Prints the comparison as a table, or as one JSON object per step and line.
///
/// # Errors
/// If the output cannot be written.
pub fn print(before: &Run, after: &Run, json: bool, out: &mut dyn Write) -> Result<()> {
    let pairs = align(&before.steps, &after.steps);
    if json {
        return pairs.iter().try_for_each(|p| Ok(writeln!(out, "{}", object(p, before, after))?));
    }
    for (word, run) in [("before:", before), ("after: ", after)] {
        let outcome = if run.outcome.is_empty() { String::new() } else { format!(" = {}", run.outcome) };
        let wall = units::duration(crate::state::path::wall_ns(&run.steps));
        writeln!(out, "{word} {}{outcome}, {wall}, {} steps", run.title, run.steps.len())?;
    }
    let rows: Vec<Vec<String>> = pairs.iter().map(|p| row(p, &before.steps, &after.steps)).collect();
    out.write_all(table::lines(COLUMNS, &rows).as_bytes())?;
    Ok(writeln!(out, "{}", summary(&pairs))?)
}

/// Counts the steps in both runs, those that differ, and those of only one run.
pub fn summary(pairs: &[Pair]) -> String {
    let count = |sign: &str| pairs.iter().filter(|p| p.sign() == sign).count();
    let both = pairs.iter().filter(|p| p.before.is_some() && p.after.is_some()).count();
    let (slower, faster, fields) = (count("▲"), count("▼"), count("≠"));
    let (before, after) = (count("-"), count("+"));
    format!(
        "{both} steps in both (≠ {fields} with other fields, ▲ {slower} slower, ▼ {faster} faster), - {before} only before, + {after} only after"
    )
}

/// The cells of a row: sign, request, stage, times, their difference, and the fields that differ.
pub fn row(pair: &Pair, before: &[Step], after: &[Step]) -> Vec<String> {
    let (old, new) = (pair.before.map(|i| &before[i]), pair.after.map(|i| &after[i]));
    let Some(step) = new.or(old) else { return Vec::new() };
    let took = |step: Option<&Step>| step.map_or_else(|| "-".to_owned(), |s| units::duration(s.dur_ns));
    let delta = match (old, new) {
        (Some(old), Some(new)) if new.dur_ns >= old.dur_ns => {
            format!("+{}", units::duration(new.dur_ns - old.dur_ns))
        }
        (Some(old), Some(new)) => format!("-{}", units::duration(old.dur_ns - new.dur_ns)),
        _ => String::new(),
    };
    let note = match (old, new) {
        (None, _) => "only after".to_owned(),
        (_, None) => "only before".to_owned(),
        _ => pair.difference.fields.join(", "),
    };
    let stage = if step.lane == "main" { step.stage.clone() } else { format!("  {}", step.stage) };
    let place =
        if step.store == 0 { step.kind.clone() } else { format!("{} store {}", step.kind, step.store) };
    vec![pair.sign().to_owned(), place, stage, took(old), took(new), delta, note]
}

fn object(pair: &Pair, before: &Run, after: &Run) -> serde_json::Value {
    let (old, new) = (pair.before.map(|i| &before.steps[i]), pair.after.map(|i| &after.steps[i]));
    let step = new.or(old);
    let side = |step: Option<&Step>| {
        step.map(|s| json!({ "step": s.step, "store": s.store, "dur_ns": s.dur_ns, "fields": s.fields }))
    };
    json!({
        "kind": step.map(|s| &s.kind), "lane": step.map(|s| &s.lane), "stage": step.map(|s| &s.stage),
        "before": side(old), "after": side(new), "fields": pair.difference.fields,
        "sign": pair.sign().trim(),
    })
}
