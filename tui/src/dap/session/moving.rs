//! Requests that move: forward by running the engine, back by reading the trace.
use serde_json::{Value, json};
use tracepoints::trace::{Step, story::is_inside};

use super::{Answer, NO_STEP, Session};
use crate::dap::{
    arguments::{self, InSource, Stepping},
    breakpoints::of_line,
    message::Request,
    stepper::{Choice, Goal, Stepper, Stop, Watch},
};

impl Session {
    pub(super) fn go(&mut self, request: &Request) -> Answer {
        let given: Stepping = arguments::parse(request)?;
        self.stepper()?;
        let single = given.granularity.as_deref() == Some("instruction");
        match request.command.as_str() {
            "next" if single => self.forward(Goal::Any, self.chosen(&given)),
            "next" => self.forward(Goal::Main, self.chosen(&given)),
            "stepIn" => self.forward(Goal::Any, self.chosen(&given)),
            "stepOut" => {
                let request = self.stepper()?.step().map_or(0, |step| step.request);
                self.forward(Goal::Out(request), None)
            }
            "continue" => {
                let choice = self.chosen(&given).filter(|_| given.single_thread || !self.is_here(&given));
                let all = choice.is_none();
                self.forward(Goal::Breakpoint, choice)?;
                Ok(json!({ "allThreadsContinued": all }))
            }
            "pause" => {
                self.reason = "pause";
                let stepper = self.stepper()?;
                stepper.pause().map(|()| Value::Null).map_err(|e| format!("{e:#}"))
            }
            "stepBack" => self.back(single),
            "reverseContinue" => self.reverse(),
            _ => self.goto(given.target_id),
        }
    }

    /// The held request on the thread of the button, if others are held as well.
    fn chosen(&self, given: &Stepping) -> Option<Choice> {
        let stepper = self.stepper.as_ref()?;
        stepper.choice(|step| self.threads.number_of(step) == given.thread_id)
    }

    /// Whether the button is that of the current step's thread: the client did not choose another one.
    fn is_here(&self, given: &Stepping) -> bool {
        let step = self.stepper.as_ref().and_then(Stepper::step);
        step.is_some_and(|step| self.threads.number_of(step) == given.thread_id)
    }

    /// Moves to the goal; with a choice, only the chosen request continues.
    fn forward(&mut self, goal: Goal, choice: Option<Choice>) -> Answer {
        self.reason = "step";
        if matches!(self.stop, Some(Stop::End | Stop::Failed(_))) && self.at_the_end()? {
            self.closing = true;
            return Ok(Value::Null);
        }
        self.stop = None;
        let Some(choice) = choice else {
            return self.stepper()?.go(goal).map(|()| Value::Null).map_err(|e| format!("{e:#}"));
        };
        let goal = match (goal, choice.replica) {
            (Goal::Main, Some(store)) => Goal::Peer(store),
            (goal, _) => goal,
        };
        let stepper = self.stepper()?;
        stepper.go(goal).map_err(|e| format!("{e:#}"))?;
        let (stage, others) = (choice.stage.clone(), choice.stay());
        let says = stepper.at_newest() && others > 0;
        stepper.choose(choice);
        if says {
            let line =
                format!("released at {stage}; also held: {others}; `pause` releases the first of these");
            self.out.line("console", &line);
        }
        Ok(Value::Null)
    }

    /// Whether the client looks at the last step of the last operation.
    fn at_the_end(&mut self) -> Result<bool, String> {
        let stepper = self.stepper()?;
        let last = stepper.timeline().ending().is_none_or(|end| !end.more);
        Ok(last && stepper.timeline().cursor() >= stepper.timeline().end_step())
    }

    fn back(&mut self, single: bool) -> Answer {
        let stepper = self.stepper()?;
        let (steps, cursor) = (stepper.timeline().steps(), stepper.timeline().cursor());
        let inside = single || steps.get(cursor).is_some_and(is_inside);
        let shown = |s: &Step| single || s.lane == "main" && (inside || !is_inside(s));
        let before = steps.iter().take(cursor).rposition(shown);
        match before {
            Some(step) => self.look_at(step, "step"),
            None => Err("this is the first step: there is none before it".into()),
        }
    }

    /// Moves back to the step before at which a breakpoint stops, or to the first step.
    fn reverse(&mut self) -> Answer {
        let timeline = self.timeline()?;
        if timeline.steps().is_empty() {
            return Err(NO_STEP.into());
        }
        let before = 0..timeline.cursor().min(timeline.steps().len());
        let hit = before.rev().find(|at| self.breakpoints.stops_at(timeline, *at));
        match hit {
            Some(step) => self.look_at(step, "breakpoint"),
            None => self.look_at(0, "entry"),
        }
    }

    fn goto(&mut self, target: i64) -> Answer {
        let steps = self.stepper()?.timeline().steps().len();
        match usize::try_from(target).ok().and_then(|t| t.checked_sub(1)).filter(|t| *t < steps) {
            Some(step) => self.look_at(step, "goto"),
            None => {
                Err(format!("expected a target of `gotoTargets`, found {target}: ask for the targets again"))
            }
        }
    }

    /// Moves the cursor to a step that is known.
    pub(super) fn look_at(&mut self, step: usize, reason: &'static str) -> Answer {
        let stepper = self.stepper()?;
        stepper.look_at(step);
        if let Some(step) = stepper.step().cloned() {
            self.breakpoints.moved(&step);
        }
        self.reason = reason;
        self.report_stop(Stop::Step);
        Ok(Value::Null)
    }

    /// The steps that passed the stage of a line.
    pub(super) fn goto_targets(&mut self, request: &Request) -> Answer {
        let given: InSource = arguments::parse(request)?;
        let (path, line) =
            (given.source.path.or(given.source.name).unwrap_or_default(), self.line_in(given.line));
        let place = of_line(&path, line)?;
        let steps = self.timeline()?.steps().iter().enumerate();
        let passed = steps.filter(|(_, step)| place.is_passed_by(step));
        let targets: Vec<Value> = passed
            .map(|(at, step)| {
                let label = format!("step {}: {} on store {}", at + 1, step.stage, step.store);
                json!({ "id": at + 1, "label": label, "line": self.line_out(step.line) })
            })
            .collect();
        match targets.is_empty() {
            false => Ok(json!({ "targets": targets })),
            true => Err("no step has passed this line yet: set a breakpoint here and continue".into()),
        }
    }
}
