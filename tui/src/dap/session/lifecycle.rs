//! The start and the end of a session.
use serde_json::{Value, json};

use super::{Answer, Session, Stage, capabilities};
use crate::dap::{
    arguments,
    launch::{Plan, Started},
    message::Request,
    stepper::{Goal, Stepper},
    twin::Twins,
};

/// The number of the progress of the cluster's start.
pub(super) const PROGRESS: &str = "cluster";

impl Session {
    pub(super) fn initialize(&mut self, request: &Request) -> Answer {
        if self.stage != Stage::New {
            return Err("expected `initialize` once, found it again: start another session".into());
        }
        self.client = arguments::parse(request)?;
        self.stage = Stage::Initialized;
        Ok(capabilities())
    }

    pub(super) fn launch(&mut self, request: &Request, attach: bool) -> Answer {
        if self.stage != Stage::Initialized {
            return Err(format!(
                "expected `{}` once, found it again: start another session",
                request.command
            ));
        }
        let plan = Plan::parse(&request.arguments, attach).map_err(|e| format!("{e:#}"))?;
        if let Some(checkout) = &plan.config.tikv_src {
            self.twins = Twins::new(checkout)?;
        }
        self.claim = plan.claim().map_err(|e| format!("{e:#}"))?;
        self.breakpoints.set_gates(&plan.gates);
        self.plan = Some((plan, request.clone()));
        self.stage = Stage::Configuring;
        self.later("initialized", Value::Null);
        Ok(Value::Null)
    }

    pub(super) fn configuration_done(&mut self) -> Answer {
        let Some((plan, launch)) = self.plan.take().filter(|_| self.stage == Stage::Configuring) else {
            return Err(
                "expected `launch` or `attach` before `configurationDone`, found none: launch first".into()
            );
        };
        match plan.start(self.breakpoints.gates()) {
            Ok(Started { source, skip }) => {
                let entry = plan.config.stop_on_entry;
                let goal = if entry && skip == 0 { Goal::Any } else { Goal::Breakpoint };
                (self.reason, self.skip) = (if entry { "entry" } else { "step" }, skip);
                self.stepper = Some(Stepper::new(source, goal));
                self.stage = Stage::Stepping;
                self.out.respond(&launch, Ok(Value::Null));
                if plan.starts_a_cluster() && self.client.supports_progress_reporting {
                    self.progress = true;
                    let title = "Start the cluster";
                    self.later(
                        "progressStart",
                        json!({ "progressId": PROGRESS, "title": title, "cancellable": false }),
                    );
                }
            }
            Err(e) => {
                self.out.respond(&launch, Err(format!("{e:#}")));
                self.end(1);
            }
        }
        Ok(Value::Null)
    }

    /// Lets every held request run to its end, and ends the session.
    pub(super) fn terminate(&mut self) -> Answer {
        if let Some(stepper) = &mut self.stepper {
            // An operation that has ended has nothing to run.
            let _ = stepper.run_out();
        }
        self.end(0);
        Ok(Value::Null)
    }

    pub(super) fn disconnect(&mut self) -> Answer {
        self.release();
        self.stage = Stage::Disconnected;
        Ok(Value::Null)
    }

    /// Drops the source: it releases what it holds.
    pub(super) fn release(&mut self) {
        self.stepper = None;
        self.claim = None;
    }

    /// Ends the session: the client is notified after the response to its request.
    pub(super) fn end(&mut self, code: i32) {
        if matches!(self.stage, Stage::Terminated | Stage::Disconnected) {
            return;
        }
        self.release();
        self.stage = Stage::Terminated;
        // A client shows a progress until its end.
        if std::mem::take(&mut self.progress) {
            self.later("progressEnd", json!({ "progressId": PROGRESS }));
        }
        self.later("terminated", Value::Null);
        self.later("exited", json!({ "exitCode": code }));
    }
}
