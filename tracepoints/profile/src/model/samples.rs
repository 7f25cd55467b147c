//! The samples of a profile: stack, labels, values, and the time if it is known.
use std::collections::HashMap;

use ahash::RandomState;

use super::{
    Profile,
    parts::{LabelsId, StackId},
};

/// One sample, or several with equal stack and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// The stack.
    pub stack: StackId,
    /// The set of labels.
    pub labels: LabelsId,
    /// One for each value type.
    pub values: &'a [i64],
    /// Time in ns since the profile's begin.
    pub time_ns: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    keys: Vec<(StackId, LabelsId)>,
    /// Values of all samples, one per value type each.
    values: Vec<i64>,
    /// Empty as long as no sample has a time.
    times: Vec<Option<u64>>,
    /// Indexes of the samples without a time.
    known: HashMap<(StackId, LabelsId), usize, RandomState>,
}

impl Profile {
    /// Adds to the sample of this stack and these labels; missing values count 0, surplus ones are left out.
    pub fn add(&mut self, stack: StackId, labels: LabelsId, values: &[i64]) {
        let next = self.samples.keys.len();
        let at = *self.samples.known.entry((stack, labels)).or_insert(next);
        if at == next {
            return self.append(stack, labels, values, None);
        }
        let width = self.value_types.len();
        let own = &mut self.samples.values[at * width..][..width];
        own.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.saturating_add(*value));
    }

    /// Adds a separate sample with its time.
    pub fn add_at(&mut self, time_ns: u64, stack: StackId, labels: LabelsId, values: &[i64]) {
        self.append(stack, labels, values, Some(time_ns));
    }

    fn append(&mut self, stack: StackId, labels: LabelsId, values: &[i64], time: Option<u64>) {
        let width = self.value_types.len();
        let samples = &mut self.samples;
        if time.is_some() || !samples.times.is_empty() {
            samples.times.resize(samples.keys.len(), None);
            samples.times.push(time);
        }
        samples.keys.push((stack, labels));
        samples.values.extend((0..width).map(|i| values.get(i).copied().unwrap_or(0)));
    }

    /// Returns the samples in the order of adding.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        let width = self.value_types.len();
        self.samples.keys.iter().enumerate().map(move |(i, (stack, labels))| Sample {
            stack: *stack,
            labels: *labels,
            values: &self.samples.values[i * width..][..width],
            time_ns: self.samples.times.get(i).copied().flatten(),
        })
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.keys.is_empty()
    }

    /// Whether any sample has a time.
    pub fn is_timed(&self) -> bool {
        !self.samples.times.is_empty()
    }

    /// Returns the sum of one kind of value over all samples; 0 for an unknown kind.
    pub fn total(&self, value: usize) -> i64 {
        let of = |s: Sample<'_>| s.values.get(value).copied().unwrap_or(0);
        self.samples().map(of).fold(0, i64::saturating_add)
    }

    /// Returns the index of a kind of value, by its name.
    pub fn value_named(&self, kind: &str) -> Option<usize> {
        self.value_types.iter().position(|value| self.text(value.kind) == kind)
    }
}
