//! Steps a source for a client that asks for one thing at a time: the next step, the next breakpoint, the end.
use tracepoints::trace::{Step, story::is_inside};

use crate::state::{
    HeldRequest, Phase, SourceEvent, StepSource,
    timeline::{OperationEnd, Timeline},
};

/// The aim of the client's last request to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Nothing: the client looks at a step.
    Look,
    /// Any next step.
    Any,
    /// The next step of the main lane; the steps of replicas and those inside of a stage are passed.
    Main,
    /// The next step of the main lane, or of the replica on this store.
    Peer(u64),
    /// The next step of the main lane that belongs to another request.
    Out(u64),
    /// The next breakpoint.
    Breakpoint,
}

/// The reason of a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The wanted step.
    Step,
    /// Breakpoints of these numbers.
    Breakpoint(Vec<i64>),
    /// A watched value changed, in this sentence.
    Data(Vec<i64>, String),
    /// A request was answered with an error.
    Error(String),
    /// The operation has ended.
    End,
    /// The source has failed.
    Failed(String),
}

/// Decides at each step that the cursor passes whether to stop there.
pub trait Watch {
    /// Returns the reason to stop at the step of this number. Called for each step that the cursor passes forward.
    fn reached(&mut self, timeline: &Timeline, at: usize) -> Option<Stop>;
    /// Returns the reason to stop because of this hold, at whose step [`Watch::reached`] gave none: the engine knows
    /// more than the step shows, such as a change or the key of the request. Called once for each hold.
    fn held(&mut self, hold: &HeldRequest, step: Option<&Step>) -> Option<Stop>;
    /// Returns the reason to stop at the newest step before its request is released: its owner has published its
    /// state by then.
    fn settled(&mut self, step: &Step) -> Option<Stop>;
    /// The cursor moved to this step without passing those between.
    fn moved(&mut self, step: &Step);
    /// An operation begins.
    fn begin(&mut self);
    /// Whether the engine must hold at every stage, because a change can come at any of them.
    fn every_stage(&self) -> bool;
}

/// The result of a poll, without the steps.
#[derive(Debug, Default)]
pub struct Polled {
    /// An operation began.
    pub began: Option<String>,
    /// Lines for the console.
    pub log: Vec<String>,
    /// Outputs that a scenario did not expect.
    pub mistakes: Vec<String>,
    /// The stop that the client must see.
    pub stop: Option<Stop>,
}

/// One of several held requests, which the client chose to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The number of its hold.
    hold: u64,
    /// The stage at which it is held.
    pub stage: String,
    /// The store, if it is held in the lane of a replica.
    pub replica: Option<u64>,
    /// The holds that stay until the client's next request to move.
    kept: Vec<u64>,
}

impl Choice {
    /// Number of the holds that stay.
    pub fn stay(&self) -> usize {
        self.kept.len()
    }
}

/// A source, its operation so far, and the client's goal.
pub struct Stepper {
    source: Box<dyn StepSource>,
    timeline: Timeline,
    goal: Goal,
    /// The steps before this one have been compared with the goal.
    next: usize,
    failure: Option<String>,
    /// The held request that continues; None: all of them.
    choice: Option<Choice>,
    /// The number of the newest hold that the watch was asked about.
    asked: u64,
    /// The step of the last stop.
    stopped: Option<usize>,
    /// The source was asked for its next operation, which has not begun yet.
    awaits_begin: bool,
}

impl Stepper {
    /// Begins with the goal of the client.
    pub fn new(source: Box<dyn StepSource>, goal: Goal) -> Self {
        let timeline = Timeline::new(source.title());
        Self {
            source,
            timeline,
            goal,
            next: 0,
            failure: None,
            choice: None,
            asked: 0,
            stopped: None,
            awaits_begin: false,
        }
    }

    /// The operation so far.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The source.
    pub fn source(&mut self) -> &mut dyn StepSource {
        self.source.as_mut()
    }

    /// The current step, unless the operation runs before its first one.
    pub fn step(&self) -> Option<&Step> {
        self.timeline.step().filter(|_| self.next > 0)
    }

    /// Whether the client's next request to move releases what is held: no known step is ahead.
    pub fn at_newest(&self) -> bool {
        self.next >= self.timeline.steps().len()
    }

    /// Whether the source has failed, or no event follows the end of its last operation.
    pub fn is_over(&mut self) -> bool {
        let last = self.timeline.ending().is_some_and(|end| !end.more);
        self.failure.is_some() || last && self.source.over()
    }

    /// Sets the goal. Steps that are known are passed first; then the source continues.
    ///
    /// # Errors
    /// If the source cannot continue.
    pub fn go(&mut self, goal: Goal) -> anyhow::Result<()> {
        (self.goal, self.choice) = (goal, None);
        let at_end = self.at_newest();
        if self.timeline.ending().is_some_and(|end| end.more) && at_end && !self.awaits_begin {
            self.source.next_operation()?;
            self.awaits_begin = true;
        }
        Ok(())
    }

    /// The held request whose step is wanted; None if nothing else is held. Of the others, only replicas continue, on
    /// whose acknowledgements a main lane may wait.
    pub fn choice(&self, wanted: impl Fn(&Step) -> bool) -> Option<Choice> {
        let holds = self.timeline.holds();
        let step_of = |hold: &HeldRequest| {
            let at = self.timeline.held_step(hold)?;
            self.timeline.steps().get(at)
        };
        let chosen = holds.iter().find(|hold| step_of(hold).is_some_and(&wanted))?;
        let step = step_of(chosen).filter(|_| holds.len() > 1)?;
        let main = step.lane == "main";
        let continues = |hold: &HeldRequest| {
            hold.id == chosen.id || main && step_of(hold).is_some_and(|other| other.lane != "main")
        };
        Some(Choice {
            hold: chosen.id,
            stage: chosen.stage.clone(),
            replica: (!main).then_some(step.store),
            kept: holds.iter().filter(|hold| !continues(hold)).map(|hold| hold.id).collect(),
        })
    }

    /// Continues only the chosen request, up to the goal that was set last.
    pub fn choose(&mut self, choice: Choice) {
        self.choice = Some(choice);
    }

    /// Holds the request at its next stage.
    ///
    /// # Errors
    /// If the source cannot continue.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        (self.goal, self.choice) = (Goal::Any, None);
        self.next = self.timeline.steps().len();
        self.source.step()
    }

    /// Moves the cursor to a known step.
    pub fn look_at(&mut self, step: usize) {
        self.goal = Goal::Look;
        self.timeline.move_to(step);
        self.next = self.timeline.cursor() + 1;
    }

    /// Lets the source's requests run to their end.
    ///
    /// # Errors
    /// If the source cannot continue.
    pub fn run_out(&mut self) -> anyhow::Result<()> {
        self.goal = Goal::Look;
        self.timeline.remove_all_holds();
        self.source.run()
    }

    /// Takes the source's events and moves towards the goal.
    pub fn poll(&mut self, watch: &mut dyn Watch) -> Polled {
        let mut polled = Polled::default();
        for event in self.source.poll() {
            if matches!(event, SourceEvent::Begin { .. }) {
                watch.begin();
            }
            self.take(event, &mut polled);
        }
        polled.stop = self.seek(watch);
        polled
    }

    fn take(&mut self, event: SourceEvent, polled: &mut Polled) {
        match event {
            SourceEvent::Begin { title } => {
                self.timeline = Timeline::new(title.clone());
                self.timeline.set_follow(false);
                (self.next, self.asked, self.stopped, self.awaits_begin) = (0, 0, None, false);
                self.choice = None;
                polled.began = Some(title);
            }
            SourceEvent::Request(info) => self.timeline.add_request(info),
            SourceEvent::Step(step) => drop(self.timeline.add_step(*step)),
            SourceEvent::Held(hold) => self.hold(hold),
            SourceEvent::Released(id) => self.timeline.remove_hold(id),
            SourceEvent::Finished { summary, outcome, more } => {
                self.timeline.finish(OperationEnd { summary, outcome, more });
            }
            SourceEvent::Log(line) | SourceEvent::Refused(line) => polled.log.push(line),
            SourceEvent::Mistake(text) => polled.mistakes.push(text),
            SourceEvent::Failed(why) => {
                self.timeline.remove_all_holds();
                self.failure = Some(why);
            }
        }
    }

    fn hold(&mut self, hold: HeldRequest) {
        self.timeline.set_follow(false);
        self.timeline.add_hold(hold);
    }

    /// Passes known steps up to the goal; at the newest step, releases the request that is held there.
    fn seek(&mut self, watch: &mut dyn Watch) -> Option<Stop> {
        if self.goal == Goal::Look {
            return None;
        }
        while self.next < self.timeline.steps().len() {
            let at = self.next;
            self.next += 1;
            // Asked at every step, so that hits are counted and lines are logged while the client steps.
            let stop = watch.reached(&self.timeline, at);
            if let Some(stop) = stop.or_else(|| reached(self.goal, &self.timeline.steps()[at])) {
                self.look_at(at);
                self.stopped = Some(at);
                return Some(stop);
            }
        }
        if let Some(why) = self.failure.clone() {
            return Some(self.end(Stop::Failed(why)));
        }
        if self.timeline.ending().is_some() {
            return (!self.awaits_begin).then(|| self.end(Stop::End));
        }
        if self.timeline.phase() == Phase::Held {
            let new = self.timeline.holds().iter().find(|hold| hold.id > self.asked).cloned();
            if let Some(hold) = new {
                self.asked = hold.id;
                let at = self.timeline.held_step(&hold);
                let step = at.and_then(|at| self.timeline.steps().get(at));
                let stop = if at.is_some() && at == self.stopped { None } else { watch.held(&hold, step) };
                if let Some(stop) = stop {
                    let at = at.unwrap_or(self.timeline.steps().len().saturating_sub(1));
                    self.look_at(at);
                    (self.next, self.stopped) = (self.timeline.steps().len(), Some(at));
                    return Some(stop);
                }
            }
            if let Some(stop) = self.timeline.steps().last().and_then(|step| watch.settled(step)) {
                self.look_at(self.timeline.steps().len() - 1);
                return Some(stop);
            }
            self.release(watch.every_stage());
        }
        None
    }

    fn end(&mut self, stop: Stop) -> Stop {
        let last = self.timeline.steps().len().saturating_sub(1);
        self.look_at(if stop == Stop::End { self.timeline.end_step() } else { last });
        self.next = self.timeline.steps().len();
        stop
    }

    fn release(&mut self, every_stage: bool) {
        if self.choice.is_some() {
            return self.release_chosen();
        }
        let gates_only = self.goal == Goal::Breakpoint && !every_stage;
        let released = match self.goal {
            _ if gates_only => self.source.to_gate(),
            Goal::Any => self.source.step_into(),
            _ => self.source.step(),
        };
        match released {
            Ok(()) if gates_only => self.timeline.remove_all_holds(),
            Ok(()) => self.timeline.remove_first_hold(),
            Err(e) => self.failure = Some(format!("{e:#}")),
        }
    }

    /// Releases the chosen request, then what arrived after it; the other holds stay.
    fn release_chosen(&mut self) {
        let Some(choice) = &self.choice else { return };
        let free = self.timeline.holds().iter().map(|hold| hold.id).filter(|id| !choice.kept.contains(id));
        let free: Vec<u64> = free.collect();
        let Some(hold) = free.iter().find(|id| **id == choice.hold).or(free.first()).copied() else { return };
        let released = match self.goal {
            Goal::Any => self.source.release_into(hold),
            _ => self.source.release(hold),
        };
        match released {
            Ok(()) => self.timeline.remove_hold(hold),
            Err(e) => self.failure = Some(format!("{e:#}")),
        }
    }
}

fn reached(goal: Goal, step: &Step) -> Option<Stop> {
    let main = step.lane == "main";
    let reached = match goal {
        Goal::Any => true,
        Goal::Main => main && !is_inside(step),
        Goal::Peer(store) => (main || step.store == store) && !is_inside(step),
        Goal::Out(request) => main && !is_inside(step) && step.request != request,
        Goal::Breakpoint | Goal::Look => false,
    };
    reached.then_some(Stop::Step)
}

/// A watch that stops nowhere.
pub struct Nothing;

impl Watch for Nothing {
    fn reached(&mut self, _: &Timeline, _: usize) -> Option<Stop> {
        None
    }

    fn held(&mut self, _: &HeldRequest, _: Option<&Step>) -> Option<Stop> {
        None
    }

    fn settled(&mut self, _: &Step) -> Option<Stop> {
        None
    }

    fn moved(&mut self, _: &Step) {}

    fn begin(&mut self) {}

    fn every_stage(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracepoints::{Gate, session::GateState};

    use super::*;

    /// Sends its events once, and notes each release: a hold's number, or the kind of a release of all.
    struct Source {
        events: Vec<SourceEvent>,
        released: Arc<Mutex<Vec<String>>>,
    }

    impl Source {
        fn note(&self, release: String) -> anyhow::Result<()> {
            self.released.lock().unwrap().push(release);
            Ok(())
        }
    }

    impl StepSource for Source {
        fn title(&self) -> String {
            "put k1".into()
        }
        fn poll(&mut self) -> Vec<SourceEvent> {
            std::mem::take(&mut self.events)
        }
        fn step(&mut self) -> anyhow::Result<()> {
            self.note("step".into())
        }
        fn release(&mut self, hold: u64) -> anyhow::Result<()> {
            self.note(hold.to_string())
        }
        fn release_into(&mut self, hold: u64) -> anyhow::Result<()> {
            self.note(format!("into {hold}"))
        }
        fn to_gate(&mut self) -> anyhow::Result<()> {
            self.note("to gate".into())
        }
        fn run(&mut self) -> anyhow::Result<()> {
            self.note("run".into())
        }
        fn gates(&self) -> Vec<GateState> {
            Vec::new()
        }
        fn set_gate(&mut self, _: Gate) -> anyhow::Result<()> {
            Ok(())
        }
        fn remove_gate(&mut self, _: &str) -> anyhow::Result<()> {
            Ok(())
        }
        fn switch_gate(&mut self, _: &str, _: bool) -> anyhow::Result<()> {
            Ok(())
        }
        fn run_to(&mut self, _: Gate) -> anyhow::Result<()> {
            Ok(())
        }
        fn next_operation(&mut self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    fn step(step: usize, stage: &str, lane: &str, store: u64) -> SourceEvent {
        let (stage, lane) = (stage.into(), lane.into());
        SourceEvent::Step(Box::new(Step { step, stage, lane, store, request: 2, ..Step::default() }))
    }

    fn held(id: u64, stage: &str, store: u64) -> SourceEvent {
        SourceEvent::Held(HeldRequest { id, stage: stage.into(), store, ..HeldRequest::default() })
    }

    /// A stepper past its known steps: the leader, two followers and another request are held.
    fn held_by_four() -> (Stepper, Arc<Mutex<Vec<String>>>) {
        let released = Arc::<Mutex<Vec<String>>>::default();
        let events = vec![
            step(0, "raft_send", "main", 1),
            step(1, "follower_append", "replica", 2),
            step(2, "follower_receive", "replica", 3),
            step(3, "latch_wait", "main", 1),
            held(1, "raft_send", 1),
            held(2, "follower_append", 2),
            held(3, "follower_receive", 3),
            held(4, "latch_wait", 1),
        ];
        let source = Source { events, released: released.clone() };
        let mut stepper = Stepper::new(Box::new(source), Goal::Look);
        stepper.poll(&mut Nothing);
        stepper.look_at(3);
        (stepper, released)
    }

    #[test]
    fn of_several_held_peers_the_chosen_one_continues() {
        let (mut stepper, released) = held_by_four();
        let choice = stepper.choice(|step| step.store == 3).unwrap();
        assert_eq!((choice.replica, choice.stay()), (Some(3), 3));
        stepper.go(Goal::Peer(3)).unwrap();
        stepper.choose(choice);
        for _ in 0..3 {
            assert_eq!(stepper.poll(&mut Nothing).stop, None);
        }
        assert_eq!(*released.lock().unwrap(), ["3"], "the others stay held");
        let next = [step(4, "follower_append", "replica", 2), step(5, "follower_append", "replica", 3)];
        next.into_iter().for_each(|event| stepper.take(event, &mut Polled::default()));
        assert_eq!(stepper.poll(&mut Nothing).stop, Some(Stop::Step));
        assert_eq!(stepper.timeline().cursor(), 5, "the next step of the chosen peer");
    }

    #[test]
    fn replicas_continue_with_a_chosen_request_and_others_stay() {
        let (mut stepper, released) = held_by_four();
        let choice = stepper.choice(|step| step.stage == "raft_send").unwrap();
        assert_eq!((choice.replica, choice.stay()), (None, 1));
        stepper.go(Goal::Any).unwrap();
        stepper.choose(choice);
        for _ in 0..5 {
            stepper.poll(&mut Nothing);
        }
        assert_eq!(*released.lock().unwrap(), ["into 1", "into 2", "into 3"]);
        stepper.go(Goal::Main).unwrap();
        stepper.poll(&mut Nothing);
        assert_eq!(released.lock().unwrap().last().map(String::as_str), Some("step"), "without a choice");
        assert_eq!(stepper.choice(|_| true), None, "nothing is held");
    }
}
