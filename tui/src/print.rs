//! Prints steps without a screen, as a table or as JSON lines.
use std::{
    collections::HashSet,
    io::{self, Write},
};

use anyhow::{Context as _, Result, bail};
use tracepoints::{
    critical::{self, CriticalPath},
    printable::{note, pad, pad_left, printable_json, printable_lines, unless_closed, width},
    trace::{
        Step, Summary,
        story::{self, is_inside},
    },
};

use crate::{
    state::{
        SourceEvent, StepSource,
        compare::{Loaded, Run},
        units,
    },
    terminal::signals::{self, Stopped},
};

/// A format to print steps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table with the summary and the critical path; with the steps inside of a stage, or without.
    Table {
        /// Print the steps inside of a stage, too.
        inside: bool,
    },
    /// One JSON object per line.
    Json,
}

/// Formats one JSON object per step and line, and at the end the summary with the critical path.
pub fn json_lines(steps: &[Step], summary: Option<&Summary>) -> Result<String> {
    let mut out = String::new();
    for step in steps {
        out.push_str(&serde_json::to_string(step).context("cannot write a step as JSON")?);
        out.push('\n');
    }
    if let Some(summary) = summary {
        let mut value = serde_json::to_value(summary).context("cannot write the summary as JSON")?;
        value["critical_path"] = serde_json::to_value(CriticalPath::find(steps))
            .context("cannot write the critical path as JSON")?;
        out.push_str(&serde_json::json!({ "summary": value }).to_string());
        out.push('\n');
    }
    Ok(out)
}

const HEAD: [&str; 7] = ["step", "at", "took", "store", "layer", "stage", "source"];

/// Formats the steps as a table, with the summary and the critical path below; with `inside`, also the steps inside
/// of a stage.
pub fn table(steps: &[Step], summary: &Summary, outcome: &str, inside: bool) -> String {
    let shown: Vec<&Step> = steps.iter().filter(|step| inside || !is_inside(step)).collect();
    let (stories, mut begun) = (story::stories(steps), HashSet::new());
    let firsts: HashSet<usize> =
        steps.iter().filter(|step| begun.insert(step.request)).map(|step| step.step).collect();
    let why = |step: &Step| {
        let story = stories.get(&step.request).filter(|_| firsts.contains(&step.step));
        story
            .and_then(|story| story.reason.as_ref())
            .map_or_else(String::new, |why| format!(" ({})", why.text))
    };
    let rows: Vec<[String; 7]> = shown.iter().copied().map(|step| row(step, &why(step))).collect();
    let widest = |i: usize| rows.iter().map(|r| width(&r[i])).chain([HEAD[i].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(widest).collect();
    let mut out = String::new();
    // The replicas' stages after the answer have a heading.
    let late = shown.iter().position(|s| s.late).map_or(usize::MAX, |first| first + 1);
    for (n, row) in std::iter::once(HEAD.map(String::from)).chain(rows).enumerate() {
        if n == late {
            out.push_str("after the answer:\n");
        }
        let cells = row.iter().enumerate().map(|(i, c)| match i {
            0..=3 => pad_left(c, widths[i]),
            _ => pad(c, widths[i]),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    if !outcome.is_empty() {
        out.push_str(&format!("result: {outcome}\n"));
    }
    let covered =
        format!("stages cover {} of {}", units::duration(summary.stage_ns), units::duration(summary.wall_ns));
    out.push_str(&format!(
        "{covered} ({:.1} %), {} stamps dropped\n",
        summary.accounted * 100.0,
        summary.dropped
    ));
    for line in critical::lines(&CriticalPath::find(steps), &units::duration) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// A step's stage, with the outcome at an answer, and why its request was sent.
fn stage(step: &Step, why: &str) -> String {
    let outcome = story::answer_of(step).map_or_else(String::new, |outcome| format!(" -> {outcome}"));
    format!("{}{outcome}{why}", step.stage)
}

fn row(step: &Step, why: &str) -> [String; 7] {
    let store = if step.store == 0 { "-".into() } else { step.store.to_string() };
    // The stages of replicas are indented, because they run in parallel with the main lane.
    let stage = stage(step, why);
    let stage = if step.lane == "main" && !is_inside(step) { stage } else { format!("  {stage}") };
    let (at, took) = (units::duration(step.at_ns), units::duration(step.dur_ns));
    let number = (step.step + 1).to_string();
    [number, at, took, store, step.layer.clone(), stage, format!("{}:{}", step.file, step.line)]
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

/// The steps of one operation so far.
#[derive(Default)]
struct Received {
    title: String,
    steps: Vec<Step>,
}

/// Runs a source to its end and prints every operation. Reports each hold and releases it at once.
///
/// # Errors
/// If the source or the output fails, a scenario's output is not the expected one, or a signal arrives.
pub fn run(source: &mut dyn StepSource, format: Format, out: &mut dyn Write) -> Result<()> {
    drive(source, &mut |received, summary, outcome| received.write(summary, outcome, format, out))
}

/// Called with each operation at its end: its steps, their sums, and its result.
type AtEnd<'a> = dyn FnMut(&Received, &Summary, &str) -> Result<()> + 'a;

fn drive(source: &mut dyn StepSource, at_end: &mut AtEnd<'_>) -> Result<()> {
    let mut received = Received::default();
    let mut mistakes: Vec<String> = Vec::new();
    let signals = signals::listen().context("cannot listen for signals")?;
    let mut ended = false;
    loop {
        if let Some(signal) = signals.end() {
            return Err(Stopped(signal).into());
        }
        // Asked before the poll, so that the poll returns all events that came before the end.
        let over = source.over();
        for event in source.poll() {
            match event {
                SourceEvent::Begin { title } => received = Received { title, ..Received::default() },
                SourceEvent::Step(step) => received.take(*step),
                SourceEvent::Held(hold) => {
                    let gate = match hold.reason.as_str() {
                        reason if reason.is_empty() || reason == hold.stage => String::new(),
                        reason => format!(" by the gate {reason}"),
                    };
                    note(format_args!("held at {} on store {}{gate}; continuing", hold.stage, hold.store));
                    source.to_gate()?;
                }
                SourceEvent::Finished { summary, outcome, more } => {
                    at_end(&received, &summary, &outcome)?;
                    ended = !more;
                    if more {
                        source.next_operation()?;
                    }
                }
                SourceEvent::Failed(why) => {
                    mistakes.push(why);
                    bail!(mistakes.join("\n"));
                }
                SourceEvent::Log(line) | SourceEvent::Refused(line) => note(line),
                SourceEvent::Mistake(text) => mistakes.push(text),
                SourceEvent::Request(_) | SourceEvent::Released(_) => {}
            }
        }
        if ended && over {
            return if mistakes.is_empty() { Ok(()) } else { bail!(mistakes.join("\n")) };
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Runs a source to its end and returns the operations that it stepped.
///
/// # Errors
/// If the source fails, a scenario's output is not the expected one, or a signal arrives.
pub fn collect(source: &mut dyn StepSource) -> Result<Vec<Loaded>> {
    let mut operations = Vec::new();
    let mut keep = |received: &Received, summary: &Summary, outcome: &str| {
        let run =
            Run { title: received.title.clone(), steps: received.steps.clone(), outcome: outcome.to_owned() };
        operations.push(Loaded { run, summary: summary.clone() });
        Ok(())
    };
    drive(source, &mut keep)?;
    Ok(operations)
}

impl Received {
    fn take(&mut self, step: Step) {
        match self.steps.get_mut(step.step) {
            Some(known) => *known = step,
            None => self.steps.push(step),
        }
    }

    fn write(&self, summary: &Summary, outcome: &str, format: Format, out: &mut dyn Write) -> Result<()> {
        let text = match format {
            Format::Json => json_lines(&self.steps, Some(summary))?,
            Format::Table { inside } if self.title.is_empty() => table(&self.steps, summary, outcome, inside),
            Format::Table { inside } => {
                format!("{}\n{}", self.title, table(&self.steps, summary, outcome, inside))
            }
        };
        let text = match format {
            Format::Json => printable_json(&text),
            Format::Table { .. } => printable_lines(&text),
        };
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        unless_closed(written).context("cannot write the steps to standard output")
    }
}
