//! Call stacks: the real frames of a step, TiKV's twins, and the logical stack over threads and stores.
use std::collections::HashMap;

use tracepoints::{symbolize::Frame, trace::Step};

use super::{
    sources::{Sources, crate_of},
    twin::{Twin, Twins},
    types::StackFrame,
};
use crate::{
    sites::{self, FileSites},
    state::{
        function_name,
        stack::{Joined, joined},
        timeline::Timeline,
    },
};

/// The frames that the client may ask about, until the next stop.
#[derive(Debug, Default)]
pub struct Frames {
    /// The step of each frame; the number of a frame is its position, from 1.
    steps: Vec<usize>,
    files: Files,
}

impl Frames {
    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.steps.clear();
    }

    /// The step of a frame.
    pub fn step(&self, frame: i64) -> Option<usize> {
        self.steps.get(usize::try_from(frame).ok()?.checked_sub(1)?).copied()
    }

    fn number(&mut self, step: usize, frame: StackFrame) -> StackFrame {
        self.steps.push(step);
        StackFrame { id: self.steps.len() as i64, ..frame }
    }

    /// The stack of a step, innermost frame first: real frames with their twins, then the logical stack.
    pub fn stack(
        &mut self,
        at: usize,
        timeline: &Timeline,
        sources: &mut Sources,
        twins: &mut Twins,
    ) -> Vec<StackFrame> {
        let Some(step) = timeline.steps().get(at) else { return Vec::new() };
        let mut out: Vec<StackFrame> = real(step, &mut self.files, sources, twins)
            .into_iter()
            .map(|frame| self.number(at, frame))
            .collect();
        let callers = joined(timeline, at);
        if !callers.is_empty() {
            let label = "logical stack, over threads and stores".to_owned();
            out.push(
                self.number(
                    at,
                    StackFrame { name: label, presentation_hint: "label", ..StackFrame::default() },
                ),
            );
        }
        for Joined { step: caller, label } in callers {
            let by = &timeline.steps()[caller];
            let frame = StackFrame {
                name: label,
                source: sources.source_of(&by.file),
                line: by.line,
                column: 1,
                presentation_hint: "normal",
                ..StackFrame::default()
            };
            out.push(self.number(caller, frame));
        }
        out
    }
}

/// A frame with the name of its function, which inlined frames and closures have lost.
struct Named<'a> {
    name: String,
    frame: &'a Frame,
}

/// The frames of a stack, those of a function and its closures as one.
fn folded<'a>(stack: &'a [Frame], files: &mut Files) -> Vec<Named<'a>> {
    let mut out: Vec<Named<'a>> = Vec::new();
    for frame in stack {
        let name = files.function(frame).unwrap_or_else(|| function_name::path(&frame.function));
        let again = out.last().is_some_and(|last| last.name == name && last.frame.file == frame.file);
        if !again && !name.is_empty() {
            out.push(Named { name, frame });
        }
    }
    out
}

/// The functions of the project's files that were named so far.
#[derive(Debug, Default)]
struct Files(HashMap<String, Option<FileSites>>);

impl Files {
    /// The function around a frame's line, with its type; None if the file is not of this project.
    fn function(&mut self, frame: &Frame) -> Option<String> {
        let parse = || sites::of_file(&frame.file).map(|(_, found)| found);
        let file = self.0.entry(frame.file.clone()).or_insert_with(parse).as_ref()?;
        file.function_at(frame.line).map(|function| function.name.clone())
    }
}

fn real(step: &Step, files: &mut Files, sources: &mut Sources, twins: &mut Twins) -> Vec<StackFrame> {
    let stamp =
        Frame { function: step.function.clone(), file: step.file.clone(), line: step.line, inlined: false };
    let stack = if step.stack.is_empty() { std::slice::from_ref(&stamp) } else { &step.stack };
    let mut out = Vec::new();
    let mut last_twin = None;
    for (i, named) in folded(stack, files).into_iter().enumerate() {
        out.push(own(&named, sources));
        let twin = if i == 0 { twins.of_stage(step) } else { twins.of_frame(&named.frame.file, &named.name) };
        if let Some(twin) = twin.filter(|twin| last_twin.as_ref() != Some(twin)) {
            last_twin = Some(twin.clone());
            out.push(of_twin(twin));
        }
    }
    out
}

fn own(named: &Named<'_>, sources: &mut Sources) -> StackFrame {
    let Named { name, frame } = named;
    let ours = Sources::is_ours(&frame.file);
    StackFrame {
        name: name.clone(),
        source: sources.source_of(&frame.file),
        line: frame.line,
        column: u32::from(frame.line > 0),
        presentation_hint: if ours { "normal" } else { "subtle" },
        module_id: ours.then(|| crate_of(&frame.file)),
        ..StackFrame::default()
    }
}

fn of_twin(twin: Twin) -> StackFrame {
    StackFrame {
        name: format!("TiKV {}", twin.name),
        source: Some(twin.source),
        line: twin.line,
        column: 1,
        presentation_hint: "normal",
        ..StackFrame::default()
    }
}
