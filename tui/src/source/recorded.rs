//! Steps a saved trace as if it were live.
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tracepoints::{
    Gate, Hold as HoldKind, find_stage,
    gates::{self, Timestamps},
    printable::note,
    request::RequestInfo,
    session::{GateState, Mode},
    trace::{Step, Summary, TraceRecord},
};

use crate::state::{HeldRequest, SourceEvent, Start, StepSource, gates::GateSet};

/// A recorded operation.
pub struct Recorded {
    title: String,
    steps: Vec<Step>,
    summary: Summary,
    outcome: String,
    gates: GateSet,
    timestamps: Timestamps,
    requests: Vec<RequestInfo>,
    /// The gate that holds once.
    run_to: Option<GateState>,
    mode: Mode,
    /// Number of steps emitted so far.
    emitted: usize,
    held: Option<u64>,
    ended: bool,
    queue: Vec<SourceEvent>,
}

impl Recorded {
    /// A trace that begins at its first step, held as `start` says.
    pub fn new(title: &str, steps: Vec<Step>, summary: Summary, start: &Start) -> Self {
        Self {
            title: title.into(),
            steps,
            summary,
            outcome: String::new(),
            gates: GateSet::new(start.gates.iter().cloned()),
            timestamps: Timestamps::default(),
            requests: Vec::new(),
            run_to: None,
            mode: start.mode(),
            emitted: 0,
            held: None,
            ended: false,
            queue: Vec::new(),
        }
    }

    /// Adds the operation's result and its requests.
    pub fn with(mut self, outcome: &str, requests: Vec<RequestInfo>) -> Self {
        self.outcome = outcome.into();
        self.queue.extend(requests.iter().cloned().map(SourceEvent::Request));
        self.requests = requests;
        self
    }

    /// Opens a file of JSON lines as `--json` prints them, to run up to the gates.
    pub fn open(path: &Path, gates: Vec<Gate>) -> Result<Self> {
        let record = Self::read(path)?;
        let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self::new(&title, record.steps, record.summary, &Start { gates, run: true, stacks: false }))
    }

    /// Reads a file of JSON lines as `--json` prints them.
    ///
    /// # Errors
    /// If the file cannot be read or is not one operation's steps and summary, with the line.
    pub fn read(path: &Path) -> Result<TraceRecord> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read the trace {shown}"))?;
        // An editor or a shell may have saved the text packed, or in another encoding.
        let plain = tracepoints_input::plain(&bytes).with_context(|| shown.to_string())?;
        plain.notes.iter().for_each(|n| note(format_args!("warning: {shown}: {n}")));
        let Ok(text) = std::str::from_utf8(&plain.bytes) else {
            bail!("expected a recording, or steps as `--json` prints them, found binary data in {shown}");
        };
        let (mut steps, mut summary) = (Vec::new(), None);
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let at = || format!("{shown}:{}: expected a step or a summary as `--json` prints them", i + 1);
            if summary.is_some() {
                bail!("{}, but the summary came before: write one operation per file", at());
            }
            let value: serde_json::Value = serde_json::from_str(line).with_context(at)?;
            match value.get("summary") {
                Some(s) => summary = Some(serde_json::from_value(s.clone()).with_context(at)?),
                None => steps.push(serde_json::from_value::<Step>(value).with_context(at)?),
            }
        }
        if steps.is_empty() {
            bail!("{shown} contains no step; `tikv-tui step NAME --json > FILE` writes a trace");
        }
        steps.iter_mut().enumerate().for_each(|(i, s)| s.step = i);
        let summary = summary.with_context(|| {
            format!("{shown} ends without its summary, so it was cut short: save it again")
        })?;
        Ok(TraceRecord { requests: Vec::new(), steps, summary })
    }

    /// Queues events up to the next hold or the end.
    fn advance(&mut self) {
        while self.held.is_none() && self.emitted < self.steps.len() {
            let i = self.emitted;
            self.emitted += 1;
            if let Some(before) = (0..i).rev().find(|b| same_lane(&self.steps[*b], &self.steps[i])) {
                self.queue.push(SourceEvent::Step(Box::new(self.steps[before].clone())));
            }
            let step = self.steps[i].clone();
            let hold = self.holds(&step).map(|reason| HeldRequest {
                id: i as u64 + 1,
                stage: step.stage.clone(),
                store: step.store,
                thread: step.thread.clone(),
                reason,
            });
            self.queue.push(SourceEvent::Step(Box::new(Step { dur_ns: 0, ..step })));
            self.held = hold.as_ref().map(|h| h.id);
            self.queue.extend(hold.map(SourceEvent::Held));
        }
        if self.held.is_none() && !self.ended {
            self.ended = true;
            // The duration of each lane's last step is known only at the end.
            self.queue.extend(self.steps.iter().map(|s| SourceEvent::Step(Box::new(s.clone()))));
            let (summary, outcome) = (self.summary.clone(), self.outcome.clone());
            self.queue.push(SourceEvent::Finished { summary, outcome, more: false });
        }
    }

    /// Counts the step at all gates; returns the reason if it is held.
    fn holds(&mut self, step: &Step) -> Option<String> {
        let stage = find_stage(&step.stage).filter(|s| s.hold != HoldKind::None)?;
        self.timestamps.learn(step);
        let key = self.requests.iter().find(|r| r.id == step.request).map(|r| r.key.as_slice());
        let at = gates::Recorded { step, key, timestamps: &self.timestamps };
        let accepts = |gate: &Gate| gate.accepts(stage.id, &step.file, step.line, &at);
        let mut reason = None;
        let on = self.gates.states_mut().iter_mut().filter(|state| state.on);
        for state in on.chain(&mut self.run_to).filter(|state| accepts(&state.gate)) {
            if state.count() {
                reason = reason.or_else(|| Some(state.gate.text().to_owned()));
            }
        }
        self.run_to.take_if(|state| state.hits >= state.gate.hit);
        match self.mode {
            Mode::Run => None,
            Mode::Step if tracepoints::trace::story::is_inside(step) => reason,
            Mode::Step | Mode::Into => Some(reason.unwrap_or_default()),
            Mode::ToGate => reason,
        }
    }

    fn go(&mut self, mode: Mode) -> Result<()> {
        self.mode = mode;
        self.queue.extend(self.held.take().map(SourceEvent::Released));
        Ok(())
    }
}

fn same_lane(a: &Step, b: &Step) -> bool {
    a.lane == b.lane && (a.lane == "main" || a.store == b.store)
}

impl StepSource for Recorded {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn poll(&mut self) -> Vec<SourceEvent> {
        self.advance();
        std::mem::take(&mut self.queue)
    }

    fn step(&mut self) -> Result<()> {
        self.go(Mode::Step)
    }

    fn step_into(&mut self) -> Result<()> {
        self.go(Mode::Into)
    }

    fn to_gate(&mut self) -> Result<()> {
        self.go(Mode::ToGate)
    }

    fn run(&mut self) -> Result<()> {
        self.go(Mode::Run)
    }

    fn release(&mut self, _: u64) -> Result<()> {
        self.go(Mode::Step)
    }

    fn release_into(&mut self, _: u64) -> Result<()> {
        self.go(Mode::Into)
    }

    fn gates(&self) -> Vec<GateState> {
        self.gates.states().to_vec()
    }

    fn set_gate(&mut self, gate: Gate) -> Result<()> {
        self.gates.set(gate);
        Ok(())
    }

    fn remove_gate(&mut self, text: &str) -> Result<()> {
        self.gates.remove(text);
        Ok(())
    }

    fn switch_gate(&mut self, text: &str, on: bool) -> Result<()> {
        self.gates.switch(text, on)
    }

    fn run_to(&mut self, gate: Gate) -> Result<()> {
        self.run_to = Some(GateState::new(gate));
        self.go(Mode::ToGate)
    }

    fn is_live(&self) -> bool {
        false
    }

    fn next_operation(&mut self) -> Result<()> {
        bail!("a trace contains only one operation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: impl AsRef<[u8]>) -> Result<Recorded> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Recorded::open(file.path(), Vec::new())
    }

    #[test]
    fn printed_json_is_read_back() {
        let steps = vec![Step { stage: "grpc_receive".into(), dur_ns: 5, ..Step::default() }];
        let summary = Summary { stage_ns: 5, wall_ns: 5, accounted: 1.0, dropped: 0 };
        let text = crate::print::json_lines(&steps, Some(&summary)).unwrap();
        let lines = text.replace('\n', "\r\n");
        let utf_16 = format!("\u{feff}{lines}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for saved in [text.clone().into_bytes(), format!("\u{feff}{lines}").into_bytes(), utf_16] {
            let read = open(saved).unwrap();
            assert_eq!((read.steps, read.summary), (steps.clone(), summary.clone()));
        }
    }

    #[test]
    fn a_damaged_trace_is_an_error_with_its_line() {
        let message = |text: &str| format!("{:#}", open(text).err().unwrap());
        assert!(message("").contains("contains no step"));
        assert!(message("{}\n").contains(":1: expected a step"));
        let good = serde_json::to_string(&Step::default()).unwrap();
        assert!(message(&good).contains("cut short"));
        assert!(message(&format!("{good}\nnot json\n")).contains(":2: expected"));
        assert!(Recorded::open(Path::new("/no/such"), Vec::new()).is_err());
    }
}
