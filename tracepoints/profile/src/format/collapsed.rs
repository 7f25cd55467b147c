//! Reads the stacks that inferno collapses: the outputs of macOS's `sample`, of dtrace and of VTune.
use std::borrow::Cow;

use inferno::collapse::{Collapse, dtrace, sample, vtune};

use super::{fail::fail, kind::Format};
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
    if let Some(other) = text.lines().find_map(delimiter).filter(|d| *d != ',') {
        let what = format!("expected commas between the columns, found {other:?}: use -csv-delimiter comma");
        return Err(fail(format, "the head", what));
    }
    let (text, notes) = match format {
        Format::Sample => whole_graph(&text),
        Format::Dtrace => whole_stacks(&text),
        _ => whole_report(&text),
    };
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
    profile.comments.extend(notes);
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
    let mut lost = 0;
    for line in folded.lines() {
        let parsed = line.rsplit_once(' ').and_then(|(stack, count)| Some((stack, count.parse().ok()?)));
        let Some((stack, count)) = parsed else {
            lost += 1;
            continue;
        };
        let frames: Vec<_> = stack.split(';').map(|frame| profile.add_function(frame)).collect();
        let stack = profile.stack(frames);
        profile.add(stack, LabelsId::default(), &[count]);
    }
    if lost > 0 {
        profile.comments.push(format!("{lost} stacks without a count that fits 64 bits are left out"));
    }
    profile
}

/// Changes the call graph to what inferno expects: an end also in a truncated file, no line that is malformed,
/// and threads without the kind of their queue, `(serial)`.
fn whole_graph(text: &str) -> (Cow<'_, str>, Vec<String>) {
    let from = text.lines().take_while(|line| !line.starts_with(GRAPH)).count() + 1;
    let is_whole = text.lines().any(|line| line.starts_with(GRAPH_END));
    let mut notes = Vec::new();
    let whole = if is_whole {
        text
    } else {
        notes.push("the file ends within its call graph: the rest is left out".to_owned());
        text.rfind('\n').map_or("", |end| &text[..=end])
    };
    let graph = whole.lines().skip(from).take_while(|line| !line.starts_with(GRAPH_END));
    let (lines, lost) = nested(graph, sample_depth);
    notes.extend(lost);
    let mut out = format!("{GRAPH}\n");
    for line in lines {
        let kind = if thread_samples(line).is_some() { line.find("  (") } else { None };
        out.push_str(&line[..kind.unwrap_or(line.len())]);
        out.push('\n');
    }
    out.push_str(GRAPH_END);
    (out.into(), notes)
}

/// Leaves out the lines of VTune's report that inferno refuses.
fn whole_report(text: &str) -> (Cow<'_, str>, Vec<String>) {
    let from = text.lines().take_while(|line| delimiter(line).is_none()).count();
    let Some(head) = text.lines().nth(from) else { return (text.into(), Vec::new()) };
    let (lines, lost) = nested(text.lines().skip(from + 1), vtune_depth);
    (format!("{head}\n{}\n", lines.join("\n")).into(), lost.into_iter().collect())
}

/// Returns the lines at most one level deeper than the line before them, and a note on the others. `depth` is
/// the level of a line, from 1; `None` if the line is malformed.
fn nested<'a>(
    lines: impl Iterator<Item = &'a str>,
    depth: impl Fn(&str) -> Option<usize>,
) -> (Vec<&'a str>, Option<String>) {
    let (mut kept, mut lost, mut level) = (Vec::new(), 0, 0);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        match depth(line.trim_end()) {
            Some(depth) if depth <= level + 1 => {
                level = depth;
                kept.push(line);
            }
            _ => lost += 1,
        }
    }
    (kept, (lost > 0).then(|| format!("{lost} malformed lines are left out")))
}

/// Returns the level of a line of the call graph: two characters for each.
fn sample_depth(line: &str) -> Option<usize> {
    let graph = line.strip_prefix("    ")?;
    let indent = graph.find(|c| !" +|:!".contains(c))?;
    let (samples, _) = graph[indent..].split_once(' ')?;
    samples.parse::<u64>().ok()?;
    indent.is_multiple_of(2).then_some(indent / 2 + 1)
}

/// Returns the level of a line of VTune's report: one space for each.
fn vtune_depth(line: &str) -> Option<usize> {
    let indent = line.find(|c| c != ' ')?;
    let name = &line[indent..];
    let quoted = name.strip_prefix('"').map(|name| name.split_once("\","));
    let (_, rest) = quoted.unwrap_or_else(|| name.split_once(','))?;
    let (time, _) = rest.split_once(',')?;
    time.parse::<f64>().ok()?;
    Some(indent + 1)
}

/// Returns the number of samples if the line begins a thread.
fn thread_samples(line: &str) -> Option<i64> {
    line.strip_prefix("    ")?.split(' ').next()?.parse().ok()
}

/// Leaves out what inferno takes for frames: the lines of probes, and a last stack without a count.
fn whole_stacks(text: &str) -> (Cow<'_, str>, Vec<String>) {
    let lines: Vec<&str> = text.lines().filter(|line| !is_probe(line)).collect();
    let from = lines.iter().position(|line| is_frame(line)).unwrap_or(lines.len());
    let to = lines.iter().rposition(|line| is_count(line)).map_or(from, |last| (last + 1).max(from));
    let cut = lines[to..].iter().filter(|line| is_frame(line)).count();
    let mut notes = Vec::new();
    if cut > 0 {
        notes.push(match cut {
            1 => "the last stack has no count: its only frame is left out".into(),
            _ => format!("the last stack has no count: its {cut} frames are left out"),
        });
    }
    let (kept, lost) = with_frames(&lines[from..to]);
    if lost > 0 {
        notes.push(match lost {
            1 => "1 count without a stack is left out".into(),
            _ => format!("{lost} counts without a stack are left out"),
        });
    }
    // inferno skips all lines up to the first empty one.
    (format!("\n{}\n", kept.join("\n")).into(), notes)
}

/// Removes the counts that follow no frame, at which inferno panics. Returns the other lines, and the number of these
/// counts.
fn with_frames<'a>(lines: &[&'a str]) -> (Vec<&'a str>, usize) {
    let (mut kept, mut lost, mut in_stack) = (Vec::new(), 0, false);
    for line in lines.iter().copied().filter(|line| !line.trim().is_empty()) {
        let ends = line.trim().parse::<u64>().is_ok();
        if ends && !in_stack {
            lost += 1;
        } else {
            kept.push(line);
        }
        in_stack = !ends;
    }
    (kept, lost)
}

/// Describes the samples that inferno leaves out, since their innermost function waits.
fn waiting(text: &str, profile: &Profile) -> Option<String> {
    let graph = text.lines().skip_while(|line| !line.starts_with(GRAPH));
    let graph = graph.take_while(|line| !line.starts_with(GRAPH_END));
    let sampled = graph.filter_map(thread_samples).fold(0, i64::saturating_add);
    let waiting = sampled.saturating_sub(profile.total(0));
    (waiting > 0).then(|| format!("{waiting} samples of waiting threads are left out"))
}

#[cfg(test)]
mod tests;
