//! Requests that look at the current step.
use serde_json::{Value, json};

use super::{Answer, NO_STEP, Session};
use crate::dap::{
    arguments::{self, Evaluate, InSource, Scopes, StackTrace, Variables},
    evaluate::{completions, evaluate},
    message::Request,
    sources,
    stepper::Stop,
    tree::Scope,
    types::StackFrame,
};

impl Session {
    pub(super) fn list_threads(&mut self) -> Answer {
        let operation = self.stepper.as_ref().map_or("", |s| s.timeline().operation());
        let all: Vec<Value> = self
            .threads
            .list(operation)
            .into_iter()
            .map(|(id, name)| json!({ "id": id, "name": name }))
            .collect();
        Ok(json!({ "threads": all }))
    }

    pub(super) fn stack_trace(&mut self, request: &Request) -> Answer {
        let given: StackTrace = arguments::parse(request)?;
        self.stepper()?;
        let Some(stepper) = &self.stepper else { return Err(NO_STEP.into()) };
        let timeline = stepper.timeline();
        let at = stepper
            .step()
            .and_then(|_| self.threads.step_of(given.thread_id, timeline.steps(), timeline.cursor()));
        let mut frames = match at {
            Some(at) => self.frames.stack(at, timeline, &mut self.sources, &mut self.twins),
            None => Vec::new(),
        };
        let total = frames.len();
        frames.drain(..given.start_frame.min(total));
        if given.levels > 0 {
            frames.truncate(given.levels);
        }
        frames.iter_mut().for_each(|f: &mut StackFrame| f.line = self.line_out(f.line));
        for why in std::mem::take(&mut self.twins.missing) {
            self.out.line("console", &why);
        }
        Ok(json!({ "stackFrames": frames, "totalFrames": total }))
    }

    pub(super) fn scopes(&mut self, request: &Request) -> Answer {
        let given: Scopes = arguments::parse(request)?;
        self.stepper()?;
        let step = self.frames.step(given.frame_id).ok_or_else(|| {
            format!("expected a frame since the last stop, found {}: ask the stack again", given.frame_id)
        })?;
        let Some(stepper) = &self.stepper else { return Err(NO_STEP.into()) };
        let scopes = self.variables.scopes(step, stepper.timeline());
        let shown: Vec<Value> = scopes
            .into_iter()
            .map(|(scope, number)| {
                let hint = if scope == Scope::Stage { "locals" } else { "registers" };
                json!({ "name": scope.name(), "presentationHint": hint, "variablesReference": number, "expensive": false })
            })
            .collect();
        Ok(json!({ "scopes": shown }))
    }

    pub(super) fn list_variables(&mut self, request: &Request) -> Answer {
        let given: Variables = arguments::parse(request)?;
        self.stepper()?;
        let Some(stepper) = &self.stepper else { return Err(NO_STEP.into()) };
        let mut all = self.variables.list(given.variables_reference, stepper.timeline())?;
        all.drain(..given.start.min(all.len()));
        if given.count > 0 {
            all.truncate(given.count);
        }
        Ok(json!({ "variables": all }))
    }

    pub(super) fn evaluate(&mut self, request: &Request) -> Answer {
        let given: Evaluate = arguments::parse(request)?;
        let at = given.frame_id.and_then(|frame| self.frames.step(frame));
        let stepper = self.stepper()?;
        let at = at.or_else(|| stepper.step().map(|_| stepper.timeline().cursor())).ok_or(NO_STEP)?;
        let node = evaluate(&given.expression, stepper.timeline(), at)?;
        let variable = self.variables.value(node);
        Ok(json!({
            "result": variable.value,
            "type": variable.kind,
            "variablesReference": variable.variables_reference,
            "namedVariables": variable.named_variables,
        }))
    }

    pub(super) fn completions(&mut self, request: &Request) -> Answer {
        let given: Evaluate = arguments::parse(request)?;
        let step = self.stepper.as_ref().and_then(|s| s.step());
        let found = completions(&given.text, step);
        let targets: Vec<Value> = found.into_iter().map(|label| json!({ "label": label })).collect();
        Ok(json!({ "targets": targets }))
    }

    pub(super) fn exception_info(&mut self) -> Answer {
        let (id, text) = match &self.stop {
            Some(Stop::Error(text)) => ("error of a request", text.clone()),
            Some(Stop::Failed(why)) => ("failure of the source", why.clone()),
            _ => {
                return Err(
                    "expected a stop at an error, found another one: there is no error to describe".into()
                );
            }
        };
        let details = json!({ "message": text, "typeName": id });
        Ok(json!({ "exceptionId": id, "description": text, "breakMode": "always", "details": details }))
    }

    pub(super) fn source(&mut self, request: &Request) -> Answer {
        let given: InSource = arguments::parse(request)?;
        sources::text(given.source_reference, &given.source)
    }

    pub(super) fn modules(&mut self, request: &Request) -> Answer {
        #[derive(Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Range {
            start_module: usize,
            module_count: usize,
        }
        let given: Range = arguments::parse(request)?;
        Ok(sources::modules(given.start_module, given.module_count))
    }
}
