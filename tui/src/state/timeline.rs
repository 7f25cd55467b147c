//! One operation: its steps so far, the user's position in them, and the held requests.
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use tracepoints::{
    critical::CriticalPath,
    request::RequestInfo,
    trace::{Step, Summary, story::is_inside},
};

use super::{
    flame::{self, Bar},
    path::{Row, Tree},
    source::HeldRequest,
    timestamps::Timestamps,
};

/// The phase of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No step has arrived yet.
    Starting,
    /// A request runs and is not held.
    Running,
    /// A request is held at a gate.
    Held,
    /// The operation has ended.
    Finished,
    /// The source has failed.
    Failed,
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationEnd {
    /// Times of the operation and dropped stamps.
    pub summary: Summary,
    /// The operation's result as text; may be empty.
    pub outcome: String,
    /// The source has another operation to step.
    pub more: bool,
}

/// Maximum number of steps forward that wait for their arrival.
const MAX_PENDING: usize = 64;

/// The steps of one operation, and the cursor.
#[derive(Debug, Default)]
pub struct Timeline {
    operation: String,
    steps: Vec<Step>,
    requests: Vec<RequestInfo>,
    cursor: usize,
    holds: Vec<HeldRequest>,
    /// The steps that other requests passed while one was held.
    beside: HashSet<usize>,
    /// The requests that have been held.
    stepped: HashSet<u64>,
    /// Real time at which each hold began, by its number.
    since: HashMap<u64, Instant>,
    /// Real time of the last tick; None before one.
    now: Option<Instant>,
    ending: Option<OperationEnd>,
    /// The cursor follows the newest step.
    follow: bool,
    /// The steps forward stop also inside of a stage.
    into: bool,
    /// Number of requested steps forward that have not arrived yet.
    pending: usize,
    /// The first step of each request.
    first: HashMap<u64, usize>,
    timestamps: Timestamps,
    /// The critical path after the end, as a cache.
    critical: RefCell<Option<Rc<Critical>>>,
    /// The tree of the path pane, as a cache.
    tree: RefCell<Option<Rc<Tree>>>,
}

/// The critical path, and its steps.
#[derive(Debug)]
pub struct Critical {
    /// The path.
    pub path: CriticalPath,
    /// Whether some steps are not on it: replicas or parallel requests.
    pub is_part: bool,
    steps: HashSet<usize>,
}

impl Critical {
    fn find(steps: &[Step]) -> Self {
        let path = CriticalPath::find(steps);
        let on: HashSet<usize> = path.segments.iter().map(|s| s.step).collect();
        let is_part = steps.iter().any(|s| s.dur_ns > 0 && !on.contains(&s.step));
        Self { path, is_part, steps: on }
    }

    /// Whether a step is on the path.
    pub fn has(&self, step: usize) -> bool {
        self.steps.contains(&step)
    }
}

/// The effect of a step's arrival.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// The user waited for it.
    pub awaited: bool,
    /// The step to which the cursor moves.
    pub target: Option<usize>,
    /// The stage at which another request is held, if this is the first step of its request in this hold.
    pub beside: Option<String>,
}

impl Timeline {
    /// An operation without steps, whose newest step the cursor follows.
    pub fn new(operation: String) -> Self {
        Self { operation, follow: true, ..Self::default() }
    }

    /// The operation's title.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// All steps in the order of their numbers.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The requests of the operation, in the order of their arrival.
    pub fn requests(&self) -> &[RequestInfo] {
        &self.requests
    }

    /// The names of the operation's timestamps.
    pub fn timestamps(&self) -> &Timestamps {
        &self.timestamps
    }

    /// The number of the current step, from 0.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// The requests that are held now, the longest first.
    pub fn holds(&self) -> &[HeldRequest] {
        &self.holds
    }

    /// The end of the operation; None before it.
    pub fn ending(&self) -> Option<&OperationEnd> {
        self.ending.as_ref()
    }

    /// Real time for which a request had been held at the last tick.
    pub fn held_for(&self, hold: &HeldRequest) -> Duration {
        let since = self.since.get(&hold.id).copied();
        since.zip(self.now).map_or(Duration::ZERO, |(since, now)| now.saturating_duration_since(since))
    }

    /// Notes the real time, which the head line shows.
    pub fn tick(&mut self) {
        self.now = Some(Instant::now());
    }

    /// The phase, unless the source has failed.
    pub fn phase(&self) -> Phase {
        if self.ending.is_some() {
            Phase::Finished
        } else if !self.holds.is_empty() {
            Phase::Held
        } else if self.steps.is_empty() {
            Phase::Starting
        } else {
            Phase::Running
        }
    }

    /// The step at the cursor.
    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.cursor)
    }

    /// The step before the cursor, to mark changes.
    pub fn step_before(&self) -> Option<&Step> {
        self.cursor.checked_sub(1).and_then(|i| self.steps.get(i))
    }

    /// The step of a hold: the newest one of its stage and store.
    pub fn held_step(&self, hold: &HeldRequest) -> Option<usize> {
        self.steps.iter().rposition(|s| s.stage == hold.stage && s.store == hold.store)
    }

    /// Whether a request is held at this step now.
    pub fn is_held(&self, step: usize) -> bool {
        self.holds.iter().any(|h| self.held_step(h) == Some(step))
    }

    /// Whether another request was held when this step arrived: it does not belong to what the user steps.
    pub fn came_while_held(&self, step: usize) -> bool {
        self.beside.contains(&step)
    }

    /// The stage at which another request is held while this step arrives.
    fn held_beside(&self, step: &Step) -> Option<&str> {
        if self.stepped.contains(&step.request) {
            return None;
        }
        let is_known = |hold: &&HeldRequest| self.held_step(hold).is_some();
        self.holds.iter().find(is_known).map(|hold| hold.stage.as_str())
    }

    /// Whether the cursor is at the newest step.
    pub fn at_newest(&self) -> bool {
        self.cursor + 1 >= self.steps.len()
    }

    /// The last step before the answer; later steps of replicas do not count.
    pub fn end_step(&self) -> usize {
        self.steps.iter().rposition(|s| !s.late).unwrap_or(0)
    }

    /// The operation's time so far, in ns.
    pub fn wall_ns(&self) -> u64 {
        self.tree().wall_ns()
    }

    /// The first step of a request.
    pub fn first_of(&self, request: u64) -> Option<usize> {
        self.first.get(&request).copied()
    }

    /// The tree of the path pane.
    pub fn tree(&self) -> Rc<Tree> {
        let mut cached = self.tree.borrow_mut();
        let build =
            || Rc::new(Tree::build(&self.operation, &self.steps, &self.requests, self.ending.is_some()));
        cached.get_or_insert_with(build).clone()
    }

    /// All rows of the path pane.
    pub fn rows(&self) -> Vec<Row> {
        self.rows_in(0..usize::MAX)
    }

    /// The rows of this range of the path pane.
    pub fn rows_in(&self, range: Range<usize>) -> Vec<Row> {
        self.tree().rows(&self.steps, self.cursor, range)
    }

    /// The bars of the flame; with `only`, those of stacks that contain this frame.
    pub fn bars(&self, only: Option<&str>) -> Vec<Bar> {
        flame::bars(&self.operation, &self.steps, &self.requests, only)
    }

    /// The critical path of the operation; None before its end.
    pub fn critical(&self) -> Option<Rc<Critical>> {
        self.ending.as_ref()?;
        let mut cached = self.critical.borrow_mut();
        Some(cached.get_or_insert_with(|| Rc::new(Critical::find(&self.steps))).clone())
    }

    /// Drops the caches; the next call that needs one builds it from the changed steps.
    fn drop_caches(&mut self) {
        self.tree.take();
        self.critical.take();
    }

    /// Moves the cursor to a step, or to the newest one if there is none of this number.
    pub(crate) fn move_to(&mut self, step: usize) {
        self.cursor = step.min(self.steps.len().saturating_sub(1));
    }

    /// Makes the cursor follow the newest step, or stay where it is.
    pub(crate) fn set_follow(&mut self, follow: bool) {
        self.follow = follow;
    }

    /// The next step after the cursor; `into`: also inside of a stage.
    pub fn next_step(&self, into: bool) -> Option<usize> {
        let later = self.steps.iter().enumerate().skip(self.cursor + 1);
        later.filter(|(_, step)| into || !is_inside(step)).map(|(i, _)| i).next()
    }

    /// The step before the cursor; from outside of the stages, the last one that is not inside of a stage.
    pub fn previous_step(&self) -> Option<usize> {
        let into = self.step().is_some_and(is_inside);
        self.steps.get(..self.cursor)?.iter().rposition(|step| into || !is_inside(step))
    }

    /// Requests one more step forward; `into`: also inside of a stage.
    pub(crate) fn await_step(&mut self, into: bool) {
        self.into = into;
        self.pending = (self.pending + 1).min(MAX_PENDING);
    }

    /// Whether the requested steps forward stop also inside of a stage.
    pub(super) fn is_into(&self) -> bool {
        self.into
    }

    /// Forgets the requested steps forward. Returns whether there were any.
    pub(crate) fn await_nothing(&mut self) -> bool {
        std::mem::take(&mut self.pending) > 0
    }

    /// Whether requested steps forward have not arrived yet.
    pub(crate) fn awaits(&self) -> bool {
        self.pending > 0
    }

    pub(crate) fn add_request(&mut self, request: RequestInfo) {
        self.drop_caches();
        self.requests.push(request);
    }

    /// Adds a step, or replaces the known one with its number.
    pub(crate) fn add_step(&mut self, mut step: Step) -> Arrival {
        self.drop_caches();
        self.timestamps.learn(&step);
        if let Some(known) = self.steps.get_mut(step.step) {
            *known = step;
            return Arrival::default();
        }
        let first = self.steps.is_empty();
        step.step = self.steps.len();
        let beside = self.note_beside(&step);
        self.first.entry(step.request).or_insert(step.step);
        self.steps.push(step);
        if self.follow {
            return Arrival { awaited: first, target: Some(self.steps.len() - 1), beside };
        }
        let skipped = !self.into && self.steps.last().is_some_and(is_inside);
        if self.pending == 0 || skipped {
            return Arrival { awaited: first, target: None, beside };
        }
        self.pending -= 1;
        Arrival { awaited: true, target: self.next_step(self.into), beside }
    }

    /// Notes a new step that arrives while another request is held; see [`Arrival::beside`].
    fn note_beside(&mut self, step: &Step) -> Option<String> {
        let stage = self.held_beside(step)?.to_owned();
        let before = self.steps.iter().rposition(|s| s.request == step.request);
        self.beside.insert(step.step);
        before.is_none_or(|at| !self.beside.contains(&at)).then_some(stage)
    }

    /// Adds a hold. Returns its step if the cursor followed; the cursor then stays there.
    pub(crate) fn add_hold(&mut self, hold: HeldRequest) -> Option<usize> {
        let target = if self.follow { self.held_step(&hold) } else { None };
        self.follow &= target.is_none();
        self.note_stepped(&hold);
        self.since.insert(hold.id, Instant::now());
        self.holds.push(hold);
        target
    }

    /// Notes that the user steps this request: none of its steps is that of another request.
    fn note_stepped(&mut self, hold: &HeldRequest) {
        let Some(request) = self.held_step(hold).map(|at| self.steps[at].request) else { return };
        self.stepped.insert(request);
        let steps = &self.steps;
        self.beside.retain(|at| steps[*at].request != request);
    }

    /// Removes the hold of a request.
    pub(crate) fn remove_hold(&mut self, id: u64) {
        self.holds.retain(|h| h.id != id);
    }

    /// Removes the first hold at once, because the next hold is another one.
    pub(crate) fn remove_first_hold(&mut self) {
        if !self.holds.is_empty() {
            self.holds.remove(0);
        }
    }

    pub(crate) fn remove_all_holds(&mut self) {
        self.holds.clear();
    }

    /// Ends the operation. Returns the step to which the cursor moves.
    pub(crate) fn finish(&mut self, ending: OperationEnd) -> Option<usize> {
        self.drop_caches();
        self.holds.clear();
        self.ending = Some(ending);
        self.follow.then(|| self.end_step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: usize, stage: &str) -> Step {
        Step { step: number, stage: stage.into(), store: 1, ..Step::default() }
    }

    /// A timeline with two steps, whose cursor stays at the first one.
    fn two_steps() -> Timeline {
        let mut timeline = Timeline::new("get k1".into());
        timeline.add_step(step(0, "grpc_receive"));
        timeline.add_step(step(1, "grpc_decode"));
        timeline.set_follow(false);
        timeline.move_to(0);
        timeline
    }

    #[test]
    fn a_known_step_is_replaced_and_moves_nothing() {
        let mut timeline = two_steps();
        timeline.set_follow(true);
        let arrival = timeline.add_step(Step { dur_ns: 7, ..step(0, "grpc_receive") });
        assert_eq!((arrival.awaited, arrival.target), (false, None));
        assert_eq!((timeline.steps().len(), timeline.steps()[0].dur_ns), (2, 7));
    }

    #[test]
    fn an_awaited_step_moves_the_cursor_by_one() {
        let mut timeline = two_steps();
        assert_eq!(timeline.add_step(step(2, "read_pool_queue")).target, None, "no step was awaited");
        timeline.await_step(true);
        let arrival = timeline.add_step(step(3, "read_pool_run"));
        assert_eq!((arrival.awaited, arrival.target, timeline.awaits()), (true, Some(1), false));
    }

    #[test]
    fn steps_of_other_requests_in_a_hold_are_noted() {
        let mut timeline = two_steps();
        timeline.add_hold(HeldRequest {
            id: 1,
            stage: "grpc_decode".into(),
            store: 1,
            ..HeldRequest::default()
        });
        let other = |number, stage| Step { request: 7, ..step(number, stage) };
        assert_eq!(timeline.add_step(other(2, "grpc_receive")).beside.as_deref(), Some("grpc_decode"));
        assert_eq!(timeline.add_step(other(3, "grpc_reply")).beside, None, "said once");
        timeline.add_step(step(4, "follower_append"));
        timeline.add_step(Step { request: 8, ..step(5, "latch_wait") });
        timeline.add_hold(HeldRequest {
            id: 2,
            stage: "latch_wait".into(),
            store: 1,
            ..HeldRequest::default()
        });
        timeline.remove_hold(1);
        timeline.remove_hold(2);
        timeline.add_step(other(6, "grpc_receive"));
        let noted: Vec<usize> = (0..7).filter(|at| timeline.came_while_held(*at)).collect();
        assert_eq!(noted, [2, 3], "neither those of held requests nor those after the hold");
    }

    #[test]
    fn a_hold_ends_the_following() {
        let mut timeline = two_steps();
        timeline.set_follow(true);
        let hold = HeldRequest { id: 1, stage: "grpc_decode".into(), store: 1, ..HeldRequest::default() };
        assert_eq!(timeline.add_hold(hold.clone()), Some(1));
        assert_eq!(timeline.add_hold(HeldRequest { id: 2, ..hold }), None);
        assert!(timeline.is_held(1) && !timeline.is_held(0) && timeline.phase() == Phase::Held);
        timeline.remove_hold(1);
        timeline.remove_first_hold();
        assert_eq!(timeline.phase(), Phase::Running);
    }
}
