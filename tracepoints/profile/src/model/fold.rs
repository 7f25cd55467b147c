//! Converts profiles to folded stacks and back.
use std::{collections::HashMap, ops::Range};

use ahash::RandomState;
use indexmap::IndexSet;

use super::{
    Profile,
    labels::keys,
    parts::{FrameId, LabelsId, StackId},
    samples::Sample,
};
use crate::{
    Folded,
    folded::{self, hide},
};

/// Selects the part of a profile to fold.
#[derive(Clone, Debug)]
pub struct FoldOptions {
    /// Index of the value.
    pub value: usize,
    /// Labels that become outermost frames, if a sample has them.
    pub roots: Vec<String>,
}

impl Default for FoldOptions {
    /// The first value, below the thread.
    fn default() -> Self {
        Self { value: 0, roots: vec![keys::THREAD.to_owned()] }
    }
}

impl Profile {
    /// Folds one kind of value. Values that are not positive have no width and are left out. The sum of all
    /// counts is at most `i64::MAX`, so that no sum of stacks overflows.
    pub fn fold(&self, options: &FoldOptions) -> Folded {
        let mut sums: HashMap<(StackId, LabelsId), u64, RandomState> = HashMap::default();
        let mut room = i64::MAX as u64;
        for sample in self.samples() {
            let Sample { stack, labels, values, .. } = sample;
            let weight =
                values.get(options.value).and_then(|v| u64::try_from(*v).ok()).unwrap_or(0).min(room);
            room -= weight;
            *sums.entry((stack, labels)).or_default() += weight;
        }
        let mut names = Names::new(self, &options.roots);
        let mut stacks = Vec::with_capacity(sums.len());
        for ((stack, labels), weight) in sums {
            let start = names.parts.len();
            names.push_stack(stack, labels);
            stacks.push((start..names.parts.len(), weight));
        }
        names.in_order(&mut stacks);
        let stacks = stacks.into_iter().map(|(parts, weight)| (names.text(parts), weight)).collect();
        Folded::from_hidden(stacks, self.decimals(options.value))
    }

    /// Returns the number of decimal digits of a value: a unit `count/100` means that one is a hundredth.
    pub(crate) fn decimals(&self, value: usize) -> u32 {
        let unit = self.value_types.get(value).map_or("", |v| self.text(v.unit));
        let parts = unit.rsplit_once('/').and_then(|(_, parts)| parts.parse::<u64>().ok());
        let digits = parts.and_then(u64::checked_ilog10).unwrap_or(0);
        if parts.is_some() && 10u64.checked_pow(digits) == parts { digits } else { 0 }
    }

    /// Converts folded stacks to a profile with one value; it no longer distinguishes threads from frames.
    pub fn from_folded(folded: &Folded, kind: &str, unit: &str) -> Self {
        let unit = match folded.decimals() {
            0 => unit.to_owned(),
            n => format!("{unit}/{}", 10u64.pow(n)),
        };
        let mut profile = Self::new(&[(kind, &unit)]);
        for (stack, count) in folded.iter() {
            let stack = profile.named_stack(stack.split(';'));
            profile.add(stack, LabelsId::default(), &[i64::try_from(count).unwrap_or(i64::MAX)]);
        }
        profile
    }

    /// Converts the lines of a folded text, with all their columns.
    pub(crate) fn from_lines(lines: &folded::Lines<'_>) -> Self {
        let types = lines.value_types();
        let types: Vec<_> = types.iter().map(|(kind, unit)| (kind.as_str(), unit.as_str())).collect();
        let mut profile = Self::new(&types);
        profile.default_value = lines.default_column();
        for (stack, values) in &lines.stacks {
            let stack = profile.named_stack(lines.frames(stack));
            profile.add(stack, LabelsId::default(), values);
        }
        profile
    }

    fn named_stack<S: AsRef<str>>(&mut self, frames: impl Iterator<Item = S>) -> StackId {
        frames.fold(StackId::ROOT, |caller, frame| {
            let frame = self.add_function(&folded::show(frame.as_ref()));
            self.push(caller, frame)
        })
    }
}

/// The stacks of a fold as numbers of their frames' names, which are compared and joined without the texts.
struct Names<'a> {
    profile: &'a Profile,
    roots: &'a [String],
    names: IndexSet<String, RandomState>,
    /// By frame.
    of_frame: Vec<u32>,
    /// The roots made of a set of labels.
    of_labels: HashMap<LabelsId, Vec<u32>, RandomState>,
    /// All stacks, concatenated, each from its outermost frame.
    parts: Vec<u32>,
}

impl<'a> Names<'a> {
    fn new(profile: &'a Profile, roots: &'a [String]) -> Self {
        let mut names = IndexSet::default();
        let frames = (0..profile.frames.len()).map(|i| profile.frame_name(FrameId(i as u32)));
        let of_frame = frames.map(|name| names.insert_full(hide(&name).into_owned()).0 as u32).collect();
        Self { profile, roots, names, of_frame, of_labels: HashMap::default(), parts: Vec::new() }
    }

    fn push_stack(&mut self, stack: StackId, labels: LabelsId) {
        let Self { profile, roots, names, of_frame, of_labels, parts } = self;
        let roots = of_labels.entry(labels).or_insert_with(|| {
            let texts = roots.iter().filter_map(|key| profile.label(labels, key));
            texts.map(|text| names.insert_full(hide(&text).into_owned()).0 as u32).collect()
        });
        parts.extend_from_slice(roots);
        let start = parts.len();
        parts.extend(profile.walk(stack).map(|frame| of_frame[frame.index()]));
        parts[start..].reverse();
    }

    /// Sorts stacks almost like their texts: names that are prefixes of others may be out of order.
    fn in_order(&self, stacks: &mut [(Range<usize>, u64)]) {
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by(|a, b| self.names[*a].cmp(&self.names[*b]));
        let mut rank = vec![0u32; order.len()];
        order.iter().enumerate().for_each(|(at, name)| rank[*name] = at as u32);
        let ranks: Vec<u32> = self.parts.iter().map(|name| rank[*name as usize]).collect();
        stacks.sort_by(|(a, _), (b, _)| ranks[a.clone()].cmp(&ranks[b.clone()]));
    }

    /// Joins the names of a stack; a sample without any frame is one of an unknown function.
    fn text(&self, stack: Range<usize>) -> String {
        if stack.is_empty() {
            return folded::UNKNOWN.to_owned();
        }
        let names = || self.parts[stack.clone()].iter().map(|name| self.names[*name as usize].as_str());
        let mut out = String::with_capacity(names().map(|name| name.len() + 1).sum());
        for (i, name) in names().enumerate() {
            out.push_str(if i == 0 { "" } else { ";" });
            out.push_str(name);
        }
        out
    }
}
