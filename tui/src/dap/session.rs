//! One client's session: answers its requests, and reports what happens between them.
mod inspect;
mod lifecycle;
mod moving;
mod own;
mod reports;
mod setting;

use serde_json::{Value, json};

use super::{
    arguments::Initialize,
    breakpoints::Breakpoints,
    frames::Frames,
    launch::{Claim, Plan},
    message::{Outbox, Request},
    sources::Sources,
    stepper::{Stepper, Stop},
    threads::Threads,
    twin::Twins,
    variables::Variables,
};
use crate::state::timeline::Timeline;

/// The phase of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before `initialize`.
    New,
    /// Before `launch` or `attach`.
    Initialized,
    /// Before `configurationDone`.
    Configuring,
    /// A source steps.
    Stepping,
    /// The session has ended; the client disconnects.
    Terminated,
    /// The client has disconnected.
    Disconnected,
}

/// A session.
pub struct Session {
    out: Outbox,
    /// Events that follow the response to the current request.
    after: Vec<(String, Value)>,
    stage: Stage,
    client: Initialize,
    /// The plan, and the request that awaits its answer.
    plan: Option<(Plan, Request)>,
    stepper: Option<Stepper>,
    claim: Option<Claim>,
    breakpoints: Breakpoints,
    threads: Threads,
    frames: Frames,
    variables: Variables,
    sources: Sources,
    twins: Twins,
    /// The reason of the next stop at a wanted step.
    reason: &'static str,
    stop: Option<Stop>,
    /// Operations that run through before the first stop.
    skip: usize,
    /// The progress of the cluster's start is shown.
    progress: bool,
    /// The client continued after the end: the session ends once the source is over.
    closing: bool,
    failed: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            out: Outbox::default(),
            after: Vec::new(),
            stage: Stage::New,
            client: Initialize::default(),
            plan: None,
            stepper: None,
            claim: None,
            breakpoints: Breakpoints::default(),
            threads: Threads::default(),
            frames: Frames::default(),
            variables: Variables::default(),
            sources: Sources::default(),
            twins: Twins::default(),
            reason: "step",
            stop: None,
            skip: 0,
            progress: false,
            closing: false,
            failed: false,
        }
    }
}

type Answer = Result<Value, String>;

const NO_STEP: &str = "expected a step, found none yet: wait for the first stop";

impl Session {
    /// Answers the message in a body.
    pub fn handle(&mut self, body: &[u8]) {
        let request = match Request::parse(body) {
            Ok(request) => request,
            Err(why) => return self.out.line("stderr", &why),
        };
        let answer = self.answer(&request);
        match answer {
            // The answer to these comes once the source has started.
            Ok(_) if matches!(request.command.as_str(), "launch" | "attach") => {}
            answer => self.out.respond(&request, answer),
        }
        for (name, body) in std::mem::take(&mut self.after) {
            self.out.event(&name, body);
        }
    }

    /// Takes the messages for the client.
    pub fn take(&mut self) -> Vec<Value> {
        self.out.take()
    }

    /// Whether the client has disconnected.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Disconnected
    }

    /// Whether events of a source are awaited.
    pub fn is_running(&self) -> bool {
        self.stage == Stage::Stepping
    }

    fn later(&mut self, name: &str, body: Value) {
        self.after.push((name.to_owned(), body));
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let command = request.command.as_str();
        if self.stage == Stage::New && !matches!(command, "initialize" | "disconnect") {
            return Err(format!("expected `initialize` first, found `{command}`: initialize the session"));
        }
        match command {
            "initialize" => self.initialize(request),
            "launch" => self.launch(request, false),
            "attach" => self.launch(request, true),
            "configurationDone" => self.configuration_done(),
            "disconnect" => self.disconnect(),
            "terminate" => self.terminate(),
            "setBreakpoints" => self.set_breakpoints(request),
            "setFunctionBreakpoints" => self.set_function_breakpoints(request),
            "setDataBreakpoints" => self.set_data_breakpoints(request),
            "setExceptionBreakpoints" => self.set_exception_breakpoints(request),
            "dataBreakpointInfo" => self.data_breakpoint_info(request),
            "breakpointLocations" => self.breakpoint_locations(request),
            "next" | "stepIn" | "stepOut" | "continue" | "pause" | "stepBack" | "reverseContinue"
            | "goto" => self.go(request),
            "gotoTargets" => self.goto_targets(request),
            "threads" => self.list_threads(),
            "stackTrace" => self.stack_trace(request),
            "scopes" => self.scopes(request),
            "variables" => self.list_variables(request),
            "evaluate" => self.evaluate(request),
            "completions" => self.completions(request),
            "exceptionInfo" => self.exception_info(),
            "source" => self.source(request),
            "loadedSources" => Ok(super::sources::loaded(&mut self.sources)),
            "modules" => self.modules(request),
            "tikv/path" => self.path(),
            "tikv/goTo" => self.go_to(request),
            "tikv/sites" => Ok(self.sites()),
            "tikv/check" => self.check(request),
            _ => Err(format!(
                "expected a request of the Debug Adapter Protocol that this adapter announced, found `{command}`"
            )),
        }
    }

    /// The stepper of a running session.
    fn stepper(&mut self) -> Result<&mut Stepper, String> {
        let stage = self.stage;
        self.stepper.as_mut().ok_or_else(|| not_stepped(stage))
    }

    /// The operation of a running session.
    fn timeline(&self) -> Result<&Timeline, String> {
        self.stepper.as_ref().map(Stepper::timeline).ok_or_else(|| not_stepped(self.stage))
    }

    /// The line of the protocol in the client's counting.
    fn line_out(&self, line: u32) -> u32 {
        if self.client.lines_start_at1 { line } else { line.saturating_sub(1) }
    }

    /// The line of the client in this program's counting.
    fn line_in(&self, line: u32) -> u32 {
        if self.client.lines_start_at1 { line } else { line.saturating_add(1) }
    }
}

/// Says why there is no stepper.
fn not_stepped(stage: Stage) -> String {
    let text = match stage {
        Stage::Terminated | Stage::Disconnected => "the session has ended: start another one",
        Stage::Configuring => "expected `configurationDone` first: nothing is stepped yet",
        _ => "expected `launch` or `attach` first: nothing is stepped yet",
    };
    text.to_owned()
}

/// The capabilities that the answer to `initialize` announces.
fn capabilities() -> Value {
    let filters: Vec<Value> = super::breakpoints::FILTERS
        .iter()
        .map(|(filter, label, description)| json!({ "filter": filter, "label": label, "description": description, "default": false }))
        .collect();
    json!({
        "supportsConfigurationDoneRequest": true,
        "supportsFunctionBreakpoints": true,
        "supportsConditionalBreakpoints": true,
        "supportsHitConditionalBreakpoints": true,
        "supportsLogPoints": true,
        "supportsDataBreakpoints": true,
        "supportsBreakpointLocationsRequest": true,
        "supportsEvaluateForHovers": true,
        "supportsCompletionsRequest": true,
        "supportsStepBack": true,
        "supportsSteppingGranularity": true,
        "supportsSingleThreadExecutionRequests": true,
        "supportsGotoTargetsRequest": true,
        "supportsExceptionInfoRequest": true,
        "supportsLoadedSourcesRequest": true,
        "supportsModulesRequest": true,
        "supportsDelayedStackTraceLoading": true,
        "supportsTerminateRequest": true,
        "exceptionBreakpointFilters": filters,
    })
}
