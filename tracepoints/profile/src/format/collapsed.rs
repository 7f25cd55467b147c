//! Reads the stacks that inferno collapses: the outputs of macOS's `sample`, of dtrace and of VTune.
use std::borrow::Cow;

use inferno::collapse::{Collapse, dtrace, sample, vtune};

use super::{Format, fail};
use crate::{
    ProfileError,
    model::{LabelsId, Profile},
};

/// Begins the stacks of `sample`.
const GRAPH: &str = "Call graph:";
/// Follows the stacks of `sample`.
const GRAPH_END: &str = "Total number in stack";
/// The columns of VTune's report.
const COLUMNS: [&str; 3] = ["Function Stack", "CPU Time:Self", "Module"];

/// Returns the format of a text if it is one of these.
pub(super) fn detect(head: &[u8]) -> Option<Format> {
    let head = String::from_utf8_lossy(head);
    if head.lines().any(|line| line.starts_with(GRAPH)) {
        Some(Format::Sample)
    } else if head.lines().any(|line| delimiter(line).is_some()) {
        Some(Format::Vtune)
    } else {
        has_stack(&head).then_some(Format::Dtrace)
    }
}

/// Returns the character between VTune's columns if the line is their header.
fn delimiter(line: &str) -> Option<char> {
    let rest = line.strip_prefix(COLUMNS[0])?;
    let delimiter = rest.chars().next()?;
    rest.starts_with(&format!("{delimiter}{}{delimiter}{}", COLUMNS[1], COLUMNS[2])).then_some(delimiter)
}

/// Whether dtrace has written a stack: frames, then a line with nothing but a count.
fn has_stack(text: &str) -> bool {
    let mut frames = false;
    text.lines().any(|line| {
        let ends = frames && is_count(line);
        frames = is_frame(line) || (frames && !line.trim().is_empty());
        ends
    })
}

/// Whether a line is one of dtrace's frames: indented, with a module or an address.
fn is_frame(line: &str) -> bool {
    let name = line.trim_start();
    name.len() < line.len() && (name.contains('`') || name.starts_with("0x"))
}

fn is_count(line: &str) -> bool {
    line.starts_with([' ', '\t']) && line.trim().parse::<u64>().is_ok()
}

/// Whether a line is the head of dtrace's output, or names a probe that fired: `  0  64091  :tick-60s`.
fn is_probe(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut number = || words.next().is_some_and(|word| word.parse::<u64>().is_ok());
    line.starts_with("CPU ") || (number() && number())
}

/// Reads one of these formats.
///
/// # Errors
/// [`ProfileError::Format`] if the text is not in that form, or has no stack.
pub(super) fn read(format: Format, bytes: &[u8]) -> Result<Profile, ProfileError> {
    let text = String::from_utf8_lossy(bytes);
    let (text, note) = match format {
        Format::Sample => whole_graph(&text),
        Format::Dtrace => whole_stacks(&text),
        _ => (text, None),
    };
    if let Some(other) = text.lines().find_map(delimiter).filter(|d| *d != ',') {
        let what = format!("expected commas between the columns, found {other:?}: use -csv-delimiter comma");
        return Err(fail(format, "the head", what));
    }
    // A `;` within a name would end a frame.
    let input = text.replace(';', ":");
    let mut folded = Vec::new();
    let collapsed = match format {
        Format::Sample => sample::Folder::default().collapse(input.as_bytes(), &mut folded),
        Format::Dtrace => dtrace::Folder::default().collapse(input.as_bytes(), &mut folded),
        _ => vtune::Folder::default().collapse(input.as_bytes(), &mut folded),
    };
    collapsed.map_err(|e| fail(format, "the text", e.to_string().trim_end().replace('\n', " ")))?;
    let mut profile = from_lines(&String::from_utf8_lossy(&folded), format);
    profile.comments.extend(note);
    if format == Format::Sample {
        profile.comments.extend(waiting(&text, &profile));
    }
    if profile.is_empty() {
        let why = profile.comments.pop().unwrap_or_else(|| "there is no stack".to_owned());
        return Err(fail(format, "the text", why));
    }
    Ok(profile)
}

fn from_lines(folded: &str, format: Format) -> Profile {
    let value = if format == Format::Vtune { ("cpu", "milliseconds") } else { ("samples", "count") };
    let mut profile = Profile::new(&[value]);
    for line in folded.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else { continue };
        let frames: Vec<_> = stack.split(';').map(|frame| profile.add_function(frame)).collect();
        let stack = profile.stack(frames);
        profile.add(stack, LabelsId::default(), &[count.parse().unwrap_or(0)]);
    }
    profile
}

/// Changes the call graph to what inferno expects: an end also in a truncated file, and threads without the
/// kind of their queue, `(serial)`.
fn whole_graph(text: &str) -> (Cow<'_, str>, Option<String>) {
    let is_whole = text.lines().any(|line| line.starts_with(GRAPH_END));
    let (whole, note) = match text.rfind('\n') {
        _ if is_whole => (text, None),
        end => {
            let note = "the file ends within its call graph: the rest is left out";
            (end.map_or("", |end| &text[..=end]), Some(note.to_owned()))
        }
    };
    let mut out = String::with_capacity(text.len());
    for line in whole.lines() {
        let kind = if thread_samples(line).is_some() { line.find("  (") } else { None };
        out.push_str(&line[..kind.unwrap_or(line.len())]);
        out.push('\n');
    }
    out.push_str(if is_whole { "" } else { GRAPH_END });
    (out.into(), note)
}

/// Returns the number of samples if the line begins a thread.
fn thread_samples(line: &str) -> Option<i64> {
    line.strip_prefix("    ")?.split(' ').next()?.parse().ok()
}

/// Leaves out what inferno takes for frames: the lines of probes, and a last stack without a count.
fn whole_stacks(text: &str) -> (Cow<'_, str>, Option<String>) {
    let lines: Vec<&str> = text.lines().filter(|line| !is_probe(line)).collect();
    let from = lines.iter().position(|line| is_frame(line)).unwrap_or(lines.len());
    let to = lines.iter().rposition(|line| is_count(line)).map_or(from, |last| (last + 1).max(from));
    let cut = lines[to..].iter().filter(|line| is_frame(line)).count();
    let note = (cut > 0).then(|| format!("the last stack has no count: its {cut} frames are left out"));
    // inferno skips all lines up to the first empty one.
    (format!("\n{}\n", lines[from..to].join("\n")).into(), note)
}

/// Describes the samples that inferno leaves out, since their innermost function waits.
fn waiting(text: &str, profile: &Profile) -> Option<String> {
    let graph = text.lines().skip_while(|line| !line.starts_with(GRAPH));
    let graph = graph.take_while(|line| !line.starts_with(GRAPH_END));
    let waiting = graph.filter_map(thread_samples).fold(0, i64::saturating_add) - profile.total(0);
    (waiting > 0).then(|| format!("{waiting} samples of waiting threads are left out"))
}

#[cfg(test)]
mod tests;
