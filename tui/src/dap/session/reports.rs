//! Events that no request asked for: stops, threads, lines for the console, progress.
use serde_json::{Value, json};

use super::{Session, Stage, lifecycle::PROGRESS};
use crate::dap::stepper::{Goal, Nothing, Polled, Stop, Watch};

impl Session {
    /// Reads the source, and reports what happened.
    pub fn poll(&mut self) {
        if self.stage != Stage::Stepping {
            return;
        }
        let Some(stepper) = &mut self.stepper else { return };
        let mut nothing = Nothing;
        let watch: &mut dyn Watch = if self.skip > 0 { &mut nothing } else { &mut self.breakpoints };
        let polled = stepper.poll(watch);
        if polled.began.is_some() {
            self.threads.begin();
        }
        let new = self.threads.read(stepper.timeline().steps());
        for thread in new {
            self.out.event("thread", json!({ "reason": "started", "threadId": thread }));
        }
        self.report(polled);
        for (name, body) in std::mem::take(&mut self.after) {
            self.out.event(&name, body);
        }
    }

    fn report(&mut self, polled: Polled) {
        for line in &polled.log {
            if self.progress && polled.began.is_none() {
                self.out.event("progressUpdate", json!({ "progressId": PROGRESS, "message": line }));
            }
            self.out.line("console", line);
        }
        if let Some(title) = &polled.began {
            self.out.line("console", &format!("operation: {title}"));
        }
        let failed = matches!(polled.stop, Some(Stop::Failed(_)));
        if self.progress && (polled.began.is_some() || failed) {
            self.progress = false;
            self.out.event("progressEnd", json!({ "progressId": PROGRESS }));
        }
        for mistake in &polled.mistakes {
            self.failed = true;
            self.out.line("stderr", mistake);
        }
        for line in std::mem::take(&mut self.breakpoints.logged) {
            self.out.line("console", &line);
        }
        if let Some(stop) = polled.stop {
            self.stopped(stop);
        }
        if self.closing && self.stepper.as_mut().is_none_or(|s| s.is_over()) {
            self.end(i32::from(self.failed));
        }
    }

    fn stopped(&mut self, stop: Stop) {
        if self.closing {
            return;
        }
        if let Stop::Failed(why) = &stop {
            self.failed = true;
            self.out.line("stderr", why);
            if self.stepper.as_ref().is_none_or(|s| s.timeline().steps().is_empty()) {
                return self.end(1);
            }
        }
        if self.skip > 0 && stop == Stop::End {
            return self.skip_operation();
        }
        self.report_stop(stop);
    }

    /// Continues with the next operation, because the client wants to stop at a later one.
    fn skip_operation(&mut self) {
        self.skip -= 1;
        let goal = if self.skip == 0 { Goal::Any } else { Goal::Breakpoint };
        if let Some(Err(e)) = self.stepper.as_mut().map(|s| s.go(goal)) {
            self.out.line("stderr", &format!("{e:#}"));
            self.end(1);
        }
    }

    /// Reports a stop at the current step.
    pub(super) fn report_stop(&mut self, stop: Stop) {
        self.frames.clear();
        self.variables.clear();
        let Some(stepper) = &mut self.stepper else { return };
        let time_runs = stepper.source().client_time_runs();
        let thread =
            stepper.step().map_or(crate::dap::threads::OPERATION, |step| self.threads.number_of(step));
        let place = stepper.step().map(|s| format!("{} on {}", s.stage, store(s.store))).unwrap_or_default();
        let ending = stepper.timeline().ending().map(|end| (end.outcome.clone(), end.more));
        let mut body = json!({ "threadId": thread, "allThreadsStopped": true });
        let mut set = |reason: &str, description: String| {
            body["reason"] = reason.into();
            body["description"] = description.as_str().into();
            body["text"] = description.into();
        };
        match &stop {
            Stop::Step => set(self.reason, place),
            Stop::Breakpoint(ids) => {
                set("breakpoint", place);
                body["hitBreakpointIds"] = json!(ids);
            }
            Stop::Data(ids, what) => {
                set("data breakpoint", what.clone());
                body["hitBreakpointIds"] = json!(ids);
            }
            Stop::Error(what) => set("exception", what.clone()),
            Stop::Failed(why) => set("exception", why.lines().next().unwrap_or_default().to_owned()),
            Stop::End => {
                let (outcome, more) = ending.unwrap_or_default();
                let then =
                    if more { "continue steps the next operation" } else { "continue ends the session" };
                let result = if outcome.is_empty() { String::new() } else { format!(": {outcome}") };
                set("step", format!("the operation has ended{result}; step back to read it again, {then}"));
            }
        }
        if time_runs && self.stop.is_none() && self.reason == "entry" {
            self.out.line(
                "important",
                "the client's own timeouts continue while its request is held, often 2 s to 20 s",
            );
        }
        self.stop = Some(stop);
        // The extension reads the path after it, and the last event of a stop is the protocol's own.
        self.after.push(("tikv/moved".into(), Value::Null));
        self.after.push(("stopped".into(), body));
    }
}

fn store(store: u64) -> String {
    if store == 0 { "the client or PD".into() } else { format!("store {store}") }
}
