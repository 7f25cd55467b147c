//! Converts events of entering and leaving frames to the time in between.
use crate::model::{FrameId, Profile, StackId};

/// One event of a thread with a known frame.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub at: f64,
    pub enter: bool,
    pub frame: FrameId,
}

/// Counts of inconsistent events.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Odd {
    /// Ends of frames that are not the innermost one.
    pub crossed: u64,
    pub without_begin: u64,
    pub without_end: u64,
}

/// Passes on each stack with the time during which it was the current one. Frames without an end last until
/// `end`.
pub(super) fn replay(
    profile: &mut Profile,
    edges: &[Edge],
    end: f64,
    mut put: impl FnMut(&mut Profile, StackId, f64),
) -> Odd {
    let (mut odd, mut line) = (Odd::default(), Line::default());
    let mut last = edges.first().map_or(end, |edge| edge.at);
    for edge in edges {
        if edge.at > last && !line.open.is_empty() {
            put(profile, line.stack(), edge.at - last);
        }
        last = edge.at;
        if edge.enter {
            line.enter(profile, edge.frame);
        } else {
            match line.leave(profile, edge.frame) {
                Some(true) => {}
                Some(false) => odd.crossed += 1,
                None => odd.without_begin += 1,
            }
        }
    }
    odd.without_end = line.open.len() as u64;
    if end > last && !line.open.is_empty() {
        put(profile, line.stack(), end - last);
    }
    odd
}

/// Open frames, the outermost first, each with its stack.
#[derive(Default)]
struct Line {
    open: Vec<(FrameId, StackId)>,
}

impl Line {
    fn stack(&self) -> StackId {
        self.open.last().map_or(StackId::ROOT, |(_, stack)| *stack)
    }

    fn enter(&mut self, profile: &mut Profile, frame: FrameId) {
        let stack = profile.push(self.stack(), frame);
        self.open.push((frame, stack));
    }

    /// Closes a frame; returns whether it was the innermost one, `None` if it is not open.
    fn leave(&mut self, profile: &mut Profile, frame: FrameId) -> Option<bool> {
        let at = self.open.iter().rposition(|(open, _)| *open == frame)?;
        let inner = self.open.split_off(at + 1);
        self.open.pop();
        let innermost = inner.is_empty();
        inner.into_iter().for_each(|(frame, _)| self.enter(profile, frame));
        Some(innermost)
    }
}
