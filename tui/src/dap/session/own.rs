//! Requests of the extension for VS Code: the path, the lines of stages, the check of a scenario.
use serde_json::{Value, json};

use super::{Answer, Session};
use crate::{
    dap::{
        arguments::{self, Own},
        message::Request,
    },
    sites,
    state::units,
};

impl Session {
    /// The steps of the operation so far.
    pub(super) fn path(&mut self) -> Answer {
        let Some(stepper) = &self.stepper else { return Ok(json!({ "operation": "", "steps": [] })) };
        let timeline = stepper.timeline();
        let steps: Vec<Value> = timeline
            .steps()
            .iter()
            .map(|step| {
                json!({
                    "step": step.step,
                    "stage": step.stage,
                    "kind": step.kind,
                    "request": step.request,
                    "store": step.store,
                    "thread": step.thread,
                    "replica": step.lane != "main",
                    "at": units::duration(step.at_ns),
                    "took": if step.dur_ns == 0 { String::new() } else { units::duration(step.dur_ns) },
                    "held": timeline.is_held(step.step),
                    "meaning": tracepoints::trace::meaning(step),
                })
            })
            .collect();
        let cursor = stepper.step().map(|_| timeline.cursor());
        let outcome = timeline.ending().map(|end| end.outcome.clone());
        Ok(json!({ "operation": timeline.operation(), "steps": steps, "cursor": cursor, "outcome": outcome }))
    }

    /// Moves to a step of the path.
    pub(super) fn go_to(&mut self, request: &Request) -> Answer {
        let given: Own = arguments::parse(request)?;
        let steps = self.stepper()?.timeline().steps().len();
        if given.step >= steps {
            return Err(format!("expected a step below {steps}, found {}: read the path again", given.step));
        }
        self.look_at(given.step, "goto")
    }

    /// All lines that are stages.
    pub(super) fn sites(&self) -> Value {
        let all: Vec<Value> = sites::sites()
            .map(|site| {
                let stage = tracepoints::catalogue::find(site.stage);
                json!({
                    "file": site.file,
                    "line": self.line_out(site.line),
                    "stage": site.stage,
                    "function": site.function,
                    "meaning": stage.map_or("", |s| s.meaning),
                    "tikv": stage.map_or("", |s| s.tikv),
                })
            })
            .collect();
        json!({ "sites": all })
    }

    /// The mistakes of a scenario's text, and the lines of its steps, by the recipes' own parser.
    #[cfg(feature = "embedded")]
    pub(super) fn check(&self, request: &Request) -> Answer {
        let given: Own = arguments::parse(request)?;
        let path = std::path::Path::new(&given.path);
        let parsed = recipes::Scenario::parse(path, &given.text);
        let checked = parsed.and_then(|scenario| recipes::directive::check(&scenario).map(|()| scenario));
        Ok(match checked {
            Ok(scenario) => {
                let stepped = scenario.blocks.iter().filter(|b| recipes::directive::is_stepped(b));
                let steps: Vec<Value> = stepped.map(|b| json!({ "line": b.line, "text": b.text })).collect();
                json!({ "mistakes": [], "steps": steps })
            }
            Err(e) => json!({ "mistakes": [{ "line": e.line, "message": e.problem }], "steps": [] }),
        })
    }

    #[cfg(not(feature = "embedded"))]
    pub(super) fn check(&self, _: &Request) -> Answer {
        Err("this program was built without the recipes: build it with the feature `embedded`".into())
    }
}
