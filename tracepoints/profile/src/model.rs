//! A profile of any origin: stacks of frames with values and labels. Every reader makes one, every writer
//! takes one.
//!
//! Texts, frames, stacks and label sets are interned; a stack is a node in a tree of callers, so a million
//! samples of deep stacks stay small and a flame graph can be drawn from the tree directly.
mod fold;
mod labels;
mod parts;
mod samples;
mod stacks;

use ahash::RandomState;
use indexmap::IndexSet;

pub use fold::FoldOptions;
pub use labels::{Label, LabelValue, keys};
pub use parts::{Frame, FrameId, LabelsId, Module, ModuleId, StackId, StrId, ValueType};
pub use samples::Sample;

type Set<T> = IndexSet<T, RandomState>;

/// Stacks with their values, and the types of the values.
#[derive(Clone, Debug)]
pub struct Profile {
    strings: Set<Box<str>>,
    frames: Set<Frame>,
    modules: Set<Module>,
    stacks: stacks::Stacks,
    labels: Set<Box<[Label]>>,
    samples: samples::Samples,
    value_types: Vec<ValueType>,
    /// Index of the value shown by default.
    pub default_value: usize,
    /// Value of one sample, e.g. 10 ms of CPU time at 100 Hz; 0 if unknown.
    pub period: i64,
    /// Type of `period`.
    pub period_type: Option<ValueType>,
    /// Start in ns since 1970; 0 if unknown. Sample times count from here.
    pub time_ns: i64,
    /// Duration of the profile in ns; 0 if unknown.
    pub duration_ns: i64,
    /// Human-readable notes on how it was taken and on losses.
    pub comments: Vec<String>,
}

impl Default for Profile {
    /// An empty profile of samples.
    fn default() -> Self {
        let mut profile = Self::empty();
        let samples = profile.value_type("samples", "count");
        profile.value_types.push(samples);
        profile
    }
}

impl Profile {
    /// Creates a profile with these values: kind and unit as in pprof, `("cpu", "nanoseconds")`. At least
    /// one.
    pub fn new(values: &[(&str, &str)]) -> Self {
        let mut profile = Self::empty();
        for (kind, unit) in values {
            let value_type = profile.value_type(kind, unit);
            profile.value_types.push(value_type);
        }
        if values.is_empty() { Self::default() } else { profile }
    }

    fn empty() -> Self {
        Self {
            strings: Set::from_iter([Box::from("")]),
            frames: Set::default(),
            modules: Set::default(),
            stacks: stacks::Stacks::default(),
            labels: Set::from_iter([Box::from([])]),
            samples: samples::Samples::default(),
            value_types: Vec::new(),
            default_value: 0,
            period: 0,
            period_type: None,
            time_ns: 0,
            duration_ns: 0,
            comments: Vec::new(),
        }
    }

    /// Interns a text.
    pub fn intern(&mut self, text: &str) -> StrId {
        match self.strings.get_index_of(text) {
            Some(at) => StrId(at as u32),
            None => StrId(self.strings.insert_full(text.into()).0 as u32),
        }
    }

    /// Returns the text of an id; empty for an id of another profile.
    pub fn text(&self, id: StrId) -> &str {
        self.strings.get_index(id.0 as usize).map_or("", |text| text)
    }

    /// All texts; the first is empty.
    pub fn strings(&self) -> impl ExactSizeIterator<Item = &str> {
        self.strings.iter().map(|text| &**text)
    }

    /// Makes a type of values.
    pub fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { kind: self.intern(kind), unit: self.intern(unit) }
    }

    /// Types of a sample's values, in order.
    pub fn value_types(&self) -> &[ValueType] {
        &self.value_types
    }

    /// Sets the type of a value, once that is known.
    pub fn set_value_type(&mut self, at: usize, value: ValueType) {
        if let Some(known) = self.value_types.get_mut(at) {
            *known = value;
        }
    }

    /// Adds a program or library; equal ones share an id.
    pub fn module(&mut self, module: Module) -> ModuleId {
        ModuleId(self.modules.insert_full(module).0 as u32)
    }

    /// Returns the programs and libraries, by their ids.
    pub fn modules(&self) -> impl ExactSizeIterator<Item = &Module> {
        self.modules.iter()
    }

    /// Returns a program or library by its id.
    pub fn module_of(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get_index(id.0 as usize)
    }

    /// Adds a frame; equal ones share an id.
    pub fn add_frame(&mut self, frame: Frame) -> FrameId {
        FrameId(self.frames.insert_full(frame).0 as u32)
    }

    /// Adds a frame with only a function.
    pub fn add_function(&mut self, function: &str) -> FrameId {
        let function = self.intern(function);
        self.add_frame(Frame { function, ..Frame::default() })
    }

    /// All frames; a [`FrameId`] is an index into them.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = &Frame> {
        self.frames.iter()
    }

    /// # Panics
    /// If the id belongs to another profile.
    pub fn frame(&self, id: FrameId) -> &Frame {
        &self.frames[id.0 as usize]
    }

    /// Returns the function of a frame; otherwise its module and address, or only the address.
    pub fn frame_name(&self, id: FrameId) -> String {
        let frame = self.frame(id);
        let function = self.text(frame.function);
        if !function.is_empty() {
            return function.to_owned();
        }
        match frame.module.and_then(|m| self.module_of(m)) {
            Some(module) => {
                let path = self.text(module.path);
                let name = path.rsplit('/').next().unwrap_or(path);
                match frame.address {
                    0 => format!("[{}]", name.trim_matches(['[', ']'])),
                    address => format!("{name}+{:#x}", module.file_offset(address)),
                }
            }
            None if frame.address != 0 => format!("{:#x}", frame.address),
            None => "(unknown)".to_owned(),
        }
    }

    /// Reserves memory for this many stacks.
    pub(crate) fn reserve(&mut self, stacks: usize) {
        self.stacks.reserve(stacks);
    }

    /// Returns the stack of `caller` calling `frame`.
    pub fn push(&mut self, caller: StackId, frame: FrameId) -> StackId {
        self.stacks.push(caller, frame)
    }

    /// Returns the stack of frames given from the outermost.
    pub fn stack(&mut self, frames: impl IntoIterator<Item = FrameId>) -> StackId {
        frames.into_iter().fold(StackId::ROOT, |caller, frame| self.push(caller, frame))
    }

    /// Returns caller and last frame of a stack; `None` for the root.
    pub fn node(&self, stack: StackId) -> Option<(StackId, FrameId)> {
        self.stacks.get(stack)
    }

    /// All stacks but the root, callers before callees; the first has the id 1.
    pub fn stacks(&self) -> impl ExactSizeIterator<Item = (StackId, FrameId)> {
        self.stacks.iter()
    }

    /// The frames of a stack, from the innermost.
    pub fn walk(&self, stack: StackId) -> impl Iterator<Item = FrameId> {
        let mut at = stack;
        std::iter::from_fn(move || {
            let (caller, frame) = self.node(at)?;
            at = caller;
            Some(frame)
        })
    }

    /// Copies the profile with other frames: `change` returns the replacements of a frame, the outermost
    /// first.
    pub fn map_frames(&self, mut change: impl FnMut(&mut Self, FrameId) -> Vec<FrameId>) -> Self {
        let mut out = self.clone();
        out.stacks = stacks::Stacks::default();
        out.samples = samples::Samples::default();
        let mut changed: Vec<Option<Vec<FrameId>>> = vec![None; self.frames.len()];
        let mut stacks = vec![StackId::ROOT];
        for (caller, frame) in self.stacks() {
            let frames = changed[frame.index()].get_or_insert_with(|| change(&mut out, frame));
            let caller = stacks[caller.index()];
            stacks.push(frames.iter().fold(caller, |caller, frame| out.push(caller, *frame)));
        }
        for sample in self.samples() {
            let stack = stacks[sample.stack.index()];
            match sample.time_ns {
                Some(time) => out.add_at(time, stack, sample.labels, sample.values),
                None => out.add(stack, sample.labels, sample.values),
            }
        }
        out
    }

    /// Returns the frames of a stack, from the outermost.
    pub fn frames_of(&self, stack: StackId) -> Vec<FrameId> {
        let mut frames: Vec<_> = self.walk(stack).collect();
        frames.reverse();
        frames
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::sample_profile;
