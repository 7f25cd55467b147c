//! Requests that set breakpoints.
use serde_json::{Value, json};

use super::{Answer, NO_STEP, Session};
use crate::dap::{
    arguments::{self, InSource, SetBreakpoints, SetExceptions, SetOthers, Variables},
    breakpoints::watched,
    message::Request,
    types::Breakpoint,
};
use crate::sites;

impl Session {
    pub(super) fn set_breakpoints(&mut self, request: &Request) -> Answer {
        let mut given: SetBreakpoints = arguments::parse(request)?;
        given.breakpoints.iter_mut().for_each(|b| b.line = self.line_in(b.line));
        let mut set = self.breakpoints.set_lines(&given.source, &given.breakpoints);
        set.iter_mut().for_each(|b| b.line = b.line.map(|line| self.line_out(line)));
        self.answer_set(set)
    }

    pub(super) fn set_function_breakpoints(&mut self, request: &Request) -> Answer {
        let given: SetOthers = arguments::parse(request)?;
        let set = self.breakpoints.set_functions(&given.breakpoints);
        self.answer_set(set)
    }

    pub(super) fn set_data_breakpoints(&mut self, request: &Request) -> Answer {
        let given: SetOthers = arguments::parse(request)?;
        let set = self.breakpoints.set_values(&given.breakpoints);
        if let Some(step) = self.stepper.as_ref().and_then(|s| s.step()) {
            crate::dap::stepper::Watch::moved(&mut self.breakpoints, step);
        }
        self.answer_set(set)
    }

    pub(super) fn set_exception_breakpoints(&mut self, request: &Request) -> Answer {
        let given: SetExceptions = arguments::parse(request)?;
        let set = self.breakpoints.set_errors(&given.filters);
        self.answer_set(set)
    }

    fn answer_set(&mut self, set: Vec<Breakpoint>) -> Answer {
        self.update_gates()?;
        Ok(json!({ "breakpoints": set }))
    }

    /// Sets the gates of the source to those of the breakpoints and the configuration.
    fn update_gates(&mut self) -> Result<(), String> {
        let wanted = self.breakpoints.gates();
        let Some(stepper) = &mut self.stepper else { return Ok(()) };
        let set: Vec<String> =
            stepper.source().gates().iter().map(|state| state.gate.text().to_owned()).collect();
        let fails = |e: anyhow::Error| format!("{e:#}");
        for text in set.iter().filter(|text| !wanted.iter().any(|gate| gate.text() == *text)) {
            stepper.source().remove_gate(text).map_err(fails)?;
        }
        for gate in wanted.into_iter().filter(|gate| !set.iter().any(|text| text == gate.text())) {
            stepper.source().set_gate(gate).map_err(fails)?;
        }
        Ok(())
    }

    pub(super) fn data_breakpoint_info(&mut self, request: &Request) -> Answer {
        let given: Variables = arguments::parse(request)?;
        let timeline = match &self.stepper {
            Some(stepper) => stepper.timeline(),
            None => return Err(NO_STEP.into()),
        };
        let found = match given.variables_reference {
            0 => Ok(given.name.clone()),
            number => self.variables.watch(number, &given.name, timeline),
        };
        match found.and_then(|data| Ok((watched(&data)?, data))) {
            Ok((description, data)) => Ok(json!({
                "dataId": data,
                "description": format!("stop when {description} changes"),
                "accessTypes": ["write"],
                "canPersist": true,
            })),
            Err(why) => Ok(json!({ "dataId": null, "description": why })),
        }
    }

    /// The lines of a range that are stages.
    pub(super) fn breakpoint_locations(&mut self, request: &Request) -> Answer {
        let given: InSource = arguments::parse(request)?;
        let path = given.source.path.or(given.source.name).unwrap_or_default();
        let first = self.line_in(given.line);
        let last = given.end_line.map_or(first, |line| self.line_in(line));
        let found = sites::of_file(&path).map(|(_, file)| file.sites).unwrap_or_default();
        let inside = found.iter().filter(|site| (first..=last).contains(&site.line));
        let lines: Vec<Value> = inside.map(|site| json!({ "line": self.line_out(site.line) })).collect();
        Ok(json!({ "breakpoints": lines }))
    }
}
