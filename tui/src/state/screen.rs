//! The step screen: the stepped operation, its panes, and the open overlay.
mod compare_keys;
mod flame_keys;
mod follow;
mod gate_keys;
mod keymap_actions;
mod mouse;
mod pane_text;
mod text_input;

use std::{cell::RefCell, path::PathBuf, rc::Rc};

use tracepoints::{
    Gate,
    gates::Place,
    session::GateState,
    trace::{Step, story},
};

use super::{
    code,
    compare::{Pair, Run, align},
    cursor::Jump,
    document::{self, Document},
    engine, flame,
    index::index_of,
    overlay::Overlay,
    panes::{Panes, Positions},
    source::{HeldRequest, SourceEvent, StepSource},
    stack::{self, Pick},
    timeline::{OperationEnd, Phase, Timeline},
    timestamps::Timestamps,
    units,
};

/// An effect that the program must perform for the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing to do.
    None,
    /// Ends the program.
    Quit,
    /// Suspends the program's job, as Ctrl-Z does.
    Suspend,
    /// Opens $EDITOR at a line.
    Edit {
        /// The file on this disk.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
    },
    /// Copies the text to the clipboard.
    Copy(String),
    /// Writes the steps into a file.
    SaveTrace,
    /// Writes the steps into a file and ends the program.
    SaveAndQuit,
    /// Writes the flame into files.
    SaveFlame,
}

/// Options of the command line for the screen.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A checkout of tikv/tikv.
    pub tikv_src: Option<PathBuf>,
    /// Use the terminal's colours.
    pub color: bool,
}

/// The state of the step screen.
pub struct Screen {
    source: Box<dyn StepSource>,
    options: Options,
    title: String,
    timeline: Timeline,
    panes: Panes,
    failure: Option<String>,
    /// Outputs that the scenario did not expect.
    mistakes: Vec<String>,
    log: Vec<String>,
    gates: Vec<GateState>,
    query: String,
    overlay: Overlay,
    /// A message of one line, until the next key.
    message: Option<String>,
    prefix: Option<char>,
    /// Places to go back to, the newest last.
    jumps: Vec<Jump>,
    /// Number of steps of this operation that a file has.
    saved: usize,
    /// The previous operation and the times of its frames, for comparison.
    earlier: Option<(String, flame::Spent)>,
    /// The run to compare with: that of the command line, otherwise the operation before.
    other: Option<Run>,
    /// The documents of the source pane, as a cache, the newest first.
    documents: RefCell<Vec<(document::Key, Rc<Document>)>>,
}

/// Number of cached documents: ours and TiKV's.
const MAX_DOCUMENTS: usize = 2;
/// Maximum number of log lines; older ones are dropped.
const MAX_LOG_LINES: usize = 2_000;

impl Screen {
    /// A screen without steps; [`Screen::poll`] reads them from the source.
    pub fn new(source: Box<dyn StepSource>, options: Options) -> Self {
        let title = source.title();
        Self {
            gates: source.gates(),
            source,
            options,
            timeline: Timeline::new(title.clone()),
            title,
            panes: Panes::new(),
            failure: None,
            mistakes: Vec::new(),
            log: Vec::new(),
            query: String::new(),
            overlay: Overlay::None,
            message: None,
            prefix: None,
            jumps: Vec::new(),
            saved: 0,
            earlier: None,
            other: None,
            documents: RefCell::new(Vec::new()),
        }
    }

    /// The options of the command line.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The source's title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The stepped operation.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The panes.
    pub fn panes(&self) -> &Panes {
        &self.panes
    }

    /// The source's failure.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Outputs that the scenario did not expect.
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }

    /// The lines of the log, oldest first.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// The gates in the order in which they were set.
    pub fn gates(&self) -> &[GateState] {
        &self.gates
    }

    /// Whether a gate that is switched on may hold a request at this stage.
    pub fn is_gated(&self, stage: &str) -> bool {
        let is_at = |gate: &Gate| match &gate.place {
            Place::Stages(stages) => stages.iter().any(|s| s.name() == stage),
            _ => gate.stage().is_some_and(|s| s.name() == stage),
        };
        self.gates.iter().any(|state| state.on && is_at(&state.gate))
    }

    /// The searched text; empty without a search.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The open overlay.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// A message of one line, until the next key.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The first key of a pair, while the second one is awaited.
    pub fn prefix(&self) -> Option<char> {
        self.prefix
    }

    /// The previous operation and the times of its frames.
    pub fn earlier(&self) -> Option<&(String, flame::Spent)> {
        self.earlier.as_ref()
    }

    /// The run to compare with.
    pub fn other(&self) -> Option<&Run> {
        self.other.as_ref()
    }

    /// The names of the operation's timestamps.
    pub fn timestamps(&self) -> &Timestamps {
        self.timeline.timestamps()
    }

    /// The tables of the state pane, with named timestamps.
    pub fn sections(&self) -> Vec<engine::Section> {
        let Some(step) = self.step() else { return Vec::new() };
        self.timestamps().name_all(engine::sections(step, self.timeline.step_before()))
    }

    /// Compares with a run, in the flame as well.
    pub fn compare_with_run(&mut self, run: Run) {
        let bars = flame::bars(&run.title, &run.steps, &[], None);
        self.compare_with(run.title.clone(), flame::spent(&bars));
        self.other = Some(run);
    }

    /// The stepped operation as a run.
    fn this_run(&self) -> Run {
        let outcome = self.timeline.ending().map_or_else(String::new, |e| e.outcome.clone());
        let title = self.timeline.operation().to_owned();
        Run { title, steps: self.timeline.steps().to_vec(), outcome }
    }

    /// The aligned steps of the run to compare with and of the stepped operation.
    pub fn pairs(&self) -> Vec<Pair> {
        self.other.as_ref().map(|o| align(&o.steps, self.timeline.steps())).unwrap_or_default()
    }

    /// The phase of the operation.
    pub fn phase(&self) -> Phase {
        if self.failure.is_some() { Phase::Failed } else { self.timeline.phase() }
    }

    /// The step at the cursor.
    pub fn step(&self) -> Option<&Step> {
        self.timeline.step()
    }

    /// Whether a scenario decides when the operation continues.
    pub fn is_scripted(&self) -> bool {
        self.source.scripted()
    }

    /// Whether the client's timeouts keep running while its request is held.
    pub fn client_time_runs(&self) -> bool {
        self.source.client_time_runs()
    }

    /// The error of the program's end: the source's failure and the scenario's mistakes, if any.
    pub fn error(&self) -> Option<String> {
        let all: Vec<&str> = self.mistakes.iter().chain(&self.failure).map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }

    /// The document of the source pane.
    pub fn document(&self) -> Rc<Document> {
        self.load(self.document_key())
    }

    /// Our code, to show beside TiKV's.
    pub fn own_document(&self) -> Rc<Document> {
        self.load(self.own_document_key())
    }

    fn load(&self, key: document::Key) -> Rc<Document> {
        let mut cached = self.documents.borrow_mut();
        if let Some((_, document)) = cached.iter().find(|(k, _)| *k == key) {
            return document.clone();
        }
        let document = Rc::new(document::load(&key, self.step()));
        cached.truncate(MAX_DOCUMENTS - 1);
        cached.insert(0, (key, document.clone()));
        document
    }

    fn document_key(&self) -> document::Key {
        match self.step() {
            Some(step) if self.panes.shows_tikv() => {
                let tikv = Some((step.stage.clone(), self.options.tikv_src.clone()));
                document::Key { file: step.file.clone(), line: step.line, tikv, ..Default::default() }
            }
            _ => self.own_document_key(),
        }
    }

    fn own_document_key(&self) -> document::Key {
        let Some(step) = self.step() else { return document::Key::default() };
        if let Some(spot) = self.panes.visit() {
            return document::Key { file: spot.file.clone(), line: spot.line, ..Default::default() };
        }
        match self.panes.pick() {
            Some(Pick::Frame(i)) => match step.stack.get(i) {
                Some(f) => document::Key { file: f.file.clone(), line: f.line, ..Default::default() },
                None => own_key(step),
            },
            Some(Pick::Step(i)) => own_key(self.timeline.steps().get(i).unwrap_or(step)),
            None => own_key(step),
        }
    }

    /// The rows of the stack pane.
    pub fn stack_rows(&self) -> Vec<stack::Row> {
        stack::rows(&self.timeline, self.panes.is_unfolded())
    }

    /// Takes the positions of panes and tabs that drawing returned.
    pub fn set_drawn(&mut self, drawn: Positions) {
        self.panes.set_drawn(drawn);
    }

    /// Compares the flame with an operation of this title and these times.
    pub fn compare_with(&mut self, title: String, times: flame::Spent) {
        self.earlier = Some((title, times));
    }

    /// Takes the source's events. Returns whether there were any.
    pub fn poll(&mut self) -> bool {
        let new = self.timeline.steps().is_empty();
        let events = self.source.poll();
        let any = !events.is_empty();
        events.into_iter().for_each(|e| self.apply(e));
        // A saved trace arrives in one poll; the user reads it from the beginning.
        if new && self.timeline.ending().is_some() {
            self.go_to(0);
        }
        any
    }

    /// Takes one event of the source.
    pub fn apply(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Begin { title } => self.begin(title),
            SourceEvent::Request(info) => {
                let region =
                    if info.region == 0 { String::new() } else { format!(", region {}", info.region) };
                self.note(format!("request {} {}{region}", info.id, info.kind.name()));
                self.timeline.add_request(info);
            }
            SourceEvent::Step(step) => self.take_step(*step),
            SourceEvent::Held(hold) => self.take_hold(hold),
            SourceEvent::Released(id) => self.timeline.remove_hold(id),
            SourceEvent::Finished { summary, outcome, more } => {
                self.finish(OperationEnd { summary, outcome, more })
            }
            SourceEvent::Log(line) => self.note(line),
            SourceEvent::Mistake(text) => {
                self.mistakes.push(text.clone());
                self.warn(text);
            }
            SourceEvent::Refused(why) => self.warn(why),
            SourceEvent::Failed(why) => {
                self.note(format!("error: {why}"));
                self.timeline.remove_all_holds();
                // The head line may be too short for the error.
                self.message = why.lines().next().map(str::to_owned);
                self.failure = Some(why);
            }
        }
    }

    fn begin(&mut self, title: String) {
        self.note(format!("operation: {title}"));
        if self.timeline.ending().is_some() {
            let times = flame::spent(&self.timeline.bars(None));
            self.compare_with(self.timeline.operation().to_owned(), times);
            self.other = Some(self.this_run());
        }
        self.timeline = Timeline::new(title);
        self.saved = 0;
        self.jumps.clear();
        self.panes.begin();
        self.documents.borrow_mut().clear();
    }

    fn take_step(&mut self, step: Step) {
        let answered = story::answer_of(&step).filter(|_| {
            self.timeline.steps().get(step.step).is_none_or(|known| story::answer_of(known).is_none())
        });
        if let Some(outcome) = answered {
            self.note(format!("{}: → {outcome}", step.kind));
        }
        let kind = step.kind.clone();
        let arrival = self.timeline.add_step(step);
        if let Some(stage) = &arrival.beside {
            self.note(format!("while held at {stage}: {kind} runs"));
        }
        if arrival.awaited {
            // Removes the message that there is no step yet.
            self.message = None;
        }
        if let Some(step) = arrival.target {
            self.go_to(step);
        }
    }

    fn take_hold(&mut self, hold: HeldRequest) {
        let place = units::place(hold.store);
        let why = if hold.reason.is_empty() { String::new() } else { format!(" by {}", hold.reason) };
        self.note(format!("held at {} ({place}){why}", hold.stage));
        if !hold.reason.is_empty() && hold.reason != hold.stage {
            self.message = Some(format!("held by the gate {}", hold.reason));
        }
        self.gates = self.source.gates();
        if let Some(step) = self.timeline.add_hold(hold) {
            self.go_to(step);
        }
        if self.timeline.awaits() && self.timeline.at_newest() && !self.source.scripted() {
            self.release_one(self.timeline.is_into());
        }
    }

    /// Releases the request that has been held the longest.
    fn release_one(&mut self, into: bool) {
        self.timeline.remove_first_hold();
        let released = if into { self.source.step_into() } else { self.source.step() };
        if let Err(e) = released {
            self.message = Some(format!("{e:#}"));
        }
    }

    /// Whether the screen changes while nothing arrives: it shows how long a request has been held.
    pub fn ticks(&self) -> bool {
        self.phase() == Phase::Held
    }

    /// Notes the real time. Must be called every second while the screen ticks.
    pub fn tick(&mut self) {
        self.timeline.tick();
    }

    fn finish(&mut self, ending: OperationEnd) {
        let s = &ending.summary;
        let wall = units::duration(s.wall_ns);
        let text = format!(
            "{}; {wall}, {:.1} % in stages, {} stamps dropped",
            ending.outcome,
            s.accounted * 100.0,
            s.dropped
        );
        self.note(format!("ended: {text}"));
        // Removes the message that a step is awaited.
        if self.timeline.await_nothing() {
            self.message = None;
        }
        if let Some(step) = self.timeline.finish(ending) {
            self.go_to(step);
        }
    }

    /// Whether the program's end would lose steps of a live session.
    pub fn has_unsaved(&self) -> bool {
        self.source.is_live() && self.timeline.steps().len() > self.saved
    }

    /// Notes that a file has the steps so far.
    pub fn note_saved(&mut self) {
        self.saved = self.timeline.steps().len();
    }

    /// Shows a message until the next key.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some(text.into());
    }

    /// Shows and logs a warning.
    pub fn warn(&mut self, text: String) {
        self.note(text.clone());
        self.message = Some(text.lines().next().unwrap_or_default().to_owned());
    }

    fn note(&mut self, line: String) {
        self.log.extend(line.lines().map(str::to_owned));
        let excess = self.log.len().saturating_sub(MAX_LOG_LINES);
        self.log.drain(..excess);
    }

    /// Moves the cursor, and the panes that follow it.
    fn go_to(&mut self, step: usize) {
        self.timeline.move_to(step);
        self.panes.follow_cursor();
    }
}

/// The document of a step: its stamp's statement, or the call of a function that only stamps.
fn own_key(step: &Step) -> document::Key {
    let own = document::Key { file: step.file.clone(), line: step.line, stamp: true, ..Default::default() };
    let Some((path, _)) = code::packed(&step.file) else { return own };
    if index_of(path).stamp_at(path, step.line).is_none_or(|s| s.statement.is_some()) {
        return own;
    }
    let Some(stamping) = index_of(path).enclosing(path, step.line) else { return own };
    let calls = |f: &&tracepoints::symbolize::Frame| {
        index_of(&f.file).enclosing(&f.file, f.line).is_some_and(|d| d != stamping)
    };
    match step.stack.iter().find(calls) {
        Some(frame) => document::Key {
            file: frame.file.clone(),
            line: frame.line,
            called: Some(stamping.title()),
            ..Default::default()
        },
        None => own,
    }
}
