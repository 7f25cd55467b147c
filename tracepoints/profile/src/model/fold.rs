//! To folded stacks and back.
use std::collections::HashMap;

use ahash::RandomState;

use super::{Frame, LabelsId, Profile, Sample, StackId, keys};
use crate::Folded;

/// What of a profile goes into its folded stacks.
#[derive(Clone, Debug)]
pub struct FoldOptions {
    /// Which weight, by place.
    pub value: usize,
    /// Labels that stand as outermost frames, where a sample has them.
    pub roots: Vec<String>,
}

impl Default for FoldOptions {
    /// The first weight, below the thread.
    fn default() -> Self {
        Self { value: 0, roots: vec![keys::THREAD.to_owned()] }
    }
}

impl Profile {
    /// Folds one kind of weight. What is not above zero has no width and is left out.
    pub fn fold(&self, options: &FoldOptions) -> Folded {
        let mut sums: HashMap<(StackId, LabelsId), u64, RandomState> = HashMap::default();
        for sample in self.samples() {
            let Sample { stack, labels, values, .. } = sample;
            let weight = values.get(options.value).and_then(|v| u64::try_from(*v).ok()).unwrap_or(0);
            *sums.entry((stack, labels)).or_default() += weight;
        }
        let names: Vec<String> =
            (0..self.frames.len()).map(|i| self.frame_name(super::FrameId(i as u32))).collect();
        let mut folded = Folded::default();
        for ((stack, labels), weight) in sums {
            let roots = options.roots.iter().filter_map(|key| self.label(labels, key));
            let frames = self.frames_of(stack);
            let frames = frames.iter().map(|frame| names[frame.index()].as_str());
            let roots: Vec<String> = roots.collect();
            folded.add(roots.iter().map(String::as_str).chain(frames), weight);
        }
        folded
    }

    /// Folded stacks as a profile of one weight; which frames are threads is not known any more.
    pub fn from_folded(folded: &Folded, kind: &str, unit: &str) -> Self {
        let mut profile = Self::new(&[(kind, unit)]);
        for (stack, count) in folded.iter() {
            let mut at = StackId::ROOT;
            for frame in stack.split(';') {
                let function = profile.intern(frame);
                let frame = profile.add_frame(Frame { function, ..Frame::default() });
                at = profile.push(at, frame);
            }
            profile.add(at, LabelsId::default(), &[i64::try_from(count).unwrap_or(i64::MAX)]);
        }
        profile
    }
}
