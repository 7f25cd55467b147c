//! The step screen: the stepped operation, the user's position in it, and the state of the panes.
use std::{cell::RefCell, collections::BTreeSet, path::PathBuf, rc::Rc};

use tracepoints::{
    critical::CriticalPath,
    request::RequestInfo,
    trace::{Step, Summary},
};

use super::{
    document::{self, Document},
    flame,
    overlay::Overlay,
    path::{self, Row},
    source::{HeldRequest, SourceEvent, StepSource},
    units,
};

/// A pane of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    #[default]
    Path,
    Source,
    Stack,
    State,
    Log,
}

impl Pane {
    pub const ALL: [Pane; 5] = [Pane::Path, Pane::Source, Pane::Stack, Pane::State, Pane::Log];

    pub fn name(self) -> &'static str {
        match self {
            Pane::Path => "Path",
            Pane::Source => "Source",
            Pane::Stack => "Stack",
            Pane::State => "State",
            Pane::Log => "Log",
        }
    }
}

/// The phase of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Running,
    Held,
    Finished,
    Failed,
}

/// An effect that the program must perform for the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    Quit,
    /// Suspends the program's job, as Ctrl-Z does.
    Suspend,
    /// Opens $EDITOR at a line.
    Edit {
        path: PathBuf,
        line: u32,
    },
    Copy(String),
    /// Writes files, given by name and contents.
    Save(Vec<(String, String)>),
}

/// The last drawn position of a pane, for the mouse and for scrolling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Inner area: x, y, width, height. All zero: not drawn.
    pub area: (u16, u16, u16, u16),
    /// First drawn line.
    pub offset: usize,
    /// Maximum offset.
    pub max_offset: usize,
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationEnd {
    pub summary: Summary,
    pub outcome: String,
    /// The source has another operation to step.
    pub more: bool,
}

/// Options of the command line for the screen.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A checkout of tikv/tikv.
    pub tikv_src: Option<PathBuf>,
    pub color: bool,
}

/// The state of the step screen.
pub struct Screen {
    pub(super) source: Box<dyn StepSource>,
    pub options: Options,
    pub title: String,
    pub operation: String,
    pub steps: Vec<Step>,
    pub requests: Vec<RequestInfo>,
    pub cursor: usize,
    pub holds: Vec<HeldRequest>,
    pub ending: Option<OperationEnd>,
    pub failure: Option<String>,
    /// Outputs that the scenario did not expect.
    pub mistakes: Vec<String>,
    pub log: Vec<String>,
    pub gates: BTreeSet<String>,
    pub focus: Pane,
    /// The pane next to the path if there is room for only one.
    pub tab: Pane,
    pub zoom: bool,
    pub tikv: bool,
    /// The frame whose source is shown, if not the stage's own.
    pub frame: Option<usize>,
    pub scroll: [Option<usize>; 5],
    pub sideways: [usize; 5],
    pub query: String,
    pub overlay: Overlay,
    /// A message of one line, until the next key.
    pub message: Option<String>,
    pub prefix: Option<char>,
    pub drawn: [Drawn; 5],
    /// The drawn tabs: pane, x, y, width.
    pub tabs: Vec<(Pane, u16, u16, u16)>,
    /// The cursor follows the newest step.
    pub(super) follow: bool,
    /// Number of requested steps forward that have not arrived yet.
    pub(super) pending: usize,
    pub(super) document: RefCell<Option<(document::Key, Rc<Document>)>>,
    /// The previous operation and the times of its frames, for comparison.
    pub earlier: Option<(String, flame::Spent)>,
    /// The critical path and the number of its operation's steps, as a cache.
    critical: RefCell<Option<(usize, Rc<CriticalPath>)>>,
}

/// Maximum number of log lines; older ones are dropped.
const MAX_LOG_LINES: usize = 2_000;

impl Screen {
    /// A screen without steps; [`Screen::poll`] reads them from the source.
    pub fn new(source: Box<dyn StepSource>, options: Options) -> Self {
        let title = source.title();
        Self {
            gates: source.gates().into_iter().collect(),
            source,
            options,
            operation: title.clone(),
            title,
            steps: Vec::new(),
            requests: Vec::new(),
            cursor: 0,
            holds: Vec::new(),
            ending: None,
            failure: None,
            mistakes: Vec::new(),
            log: Vec::new(),
            focus: Pane::Path,
            tab: Pane::Source,
            zoom: false,
            tikv: false,
            frame: None,
            scroll: [None; 5],
            sideways: [0; 5],
            query: String::new(),
            overlay: Overlay::None,
            message: None,
            prefix: None,
            drawn: [Drawn::default(); 5],
            tabs: Vec::new(),
            follow: true,
            pending: 0,
            document: RefCell::new(None),
            earlier: None,
            critical: RefCell::new(None),
        }
    }

    pub fn phase(&self) -> Phase {
        if self.failure.is_some() {
            Phase::Failed
        } else if self.ending.is_some() {
            Phase::Finished
        } else if !self.holds.is_empty() {
            Phase::Held
        } else if self.steps.is_empty() {
            Phase::Starting
        } else {
            Phase::Running
        }
    }

    /// The step at the cursor.
    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.cursor)
    }

    /// The step before the cursor, to mark changes.
    pub fn step_before(&self) -> Option<&Step> {
        self.cursor.checked_sub(1).and_then(|i| self.steps.get(i))
    }

    /// The step of a hold: the newest one of its stage and store.
    pub fn held_step(&self, hold: &HeldRequest) -> Option<usize> {
        self.steps.iter().rposition(|s| s.stage == hold.stage && s.store == hold.store)
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

    /// Whether a request is held at this step now.
    pub fn is_held(&self, step: usize) -> bool {
        self.holds.iter().any(|h| self.held_step(h) == Some(step))
    }

    /// The operation's time so far, in ns.
    pub fn wall_ns(&self) -> u64 {
        let newest = self.steps.last().filter(|_| self.ending.is_none()).map_or(0, |s| s.at_ns);
        path::wall_ns(&self.steps).max(newest)
    }

    pub fn rows(&self) -> Vec<Row> {
        path::rows(&self.operation, &self.steps, &self.requests, self.ending.is_some())
    }

    /// The critical path of the operation; None before its end.
    pub fn critical(&self) -> Option<Rc<CriticalPath>> {
        self.ending.as_ref()?;
        let mut cached = self.critical.borrow_mut();
        match &*cached {
            Some((steps, path)) if *steps == self.steps.len() => Some(path.clone()),
            _ => {
                let path = Rc::new(CriticalPath::find(&self.steps));
                *cached = Some((self.steps.len(), path.clone()));
                Some(path)
            }
        }
    }

    /// The document of the source pane.
    pub fn document(&self) -> Rc<Document> {
        let key = document::key(self);
        let mut cached = self.document.borrow_mut();
        if let Some((k, document)) = &*cached
            && *k == key
        {
            return document.clone();
        }
        let document = Rc::new(document::load(&key, self.step()));
        *cached = Some((key, document.clone()));
        document
    }

    /// Takes the source's events. Returns whether there were any.
    pub fn poll(&mut self) -> bool {
        let new = self.steps.is_empty();
        let events = self.source.poll();
        let any = !events.is_empty();
        events.into_iter().for_each(|e| self.apply(e));
        // A saved trace arrives in one poll; the user reads it from the beginning.
        if new && self.ending.is_some() {
            self.go_to(0);
        }
        any
    }

    fn apply(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Begin { title } => self.begin(title),
            SourceEvent::Request(info) => {
                let region =
                    if info.region == 0 { String::new() } else { format!(", region {}", info.region) };
                self.note(format!("request {} {}{region}", info.id, info.kind.name()));
                self.requests.push(info);
            }
            SourceEvent::Step(step) => self.take_step(*step),
            SourceEvent::Held(hold) => self.take_hold(hold),
            SourceEvent::Released(id) => self.holds.retain(|h| h.id != id),
            SourceEvent::Finished { summary, outcome, more } => {
                self.finish(OperationEnd { summary, outcome, more })
            }
            SourceEvent::Log(line) => self.note(line),
            SourceEvent::Mistake(text) => {
                self.mistakes.push(text.clone());
                self.warn(text);
            }
            SourceEvent::Failed(why) => {
                self.note(format!("error: {why}"));
                self.holds.clear();
                // The head line may be too short for the error.
                self.message = why.lines().next().map(str::to_owned);
                self.failure = Some(why);
            }
        }
    }

    fn begin(&mut self, title: String) {
        self.note(format!("operation: {title}"));
        if self.ending.is_some() {
            let bars = flame::bars(&self.operation, &self.steps, &self.requests, None);
            self.earlier = Some((self.operation.clone(), flame::spent(&bars)));
        }
        self.operation = title;
        (self.steps, self.requests, self.holds) = Default::default();
        (self.cursor, self.ending, self.frame) = (0, None, None);
        (self.follow, self.pending) = (true, 0);
        self.scroll = [None; 5];
        *self.document.borrow_mut() = None;
        *self.critical.borrow_mut() = None;
    }

    fn take_step(&mut self, mut step: Step) {
        if let Some(known) = self.steps.get_mut(step.step) {
            *known = step;
            return;
        }
        step.step = self.steps.len();
        if self.steps.is_empty() {
            // Removes the message that there is no step yet.
            self.message = None;
        }
        self.steps.push(step);
        if self.follow {
            self.go_to(self.steps.len() - 1);
        } else if self.pending > 0 {
            self.pending -= 1;
            self.message = None;
            self.go_to(self.cursor + 1);
        }
    }

    fn take_hold(&mut self, hold: HeldRequest) {
        let place = if hold.store == 0 { "client".into() } else { format!("store {}", hold.store) };
        self.note(format!("held at {} ({place})", hold.stage));
        if self.follow
            && let Some(at) = self.held_step(&hold)
        {
            self.go_to(at);
            self.follow = false;
        }
        self.holds.push(hold);
        if self.pending > 0 && self.at_newest() && !self.source.scripted() {
            self.release_one();
        }
    }

    /// Releases the first held request, and removes its hold at once, because the next hold is another one.
    pub(super) fn release_one(&mut self) {
        self.holds.remove(0);
        if let Err(e) = self.source.step() {
            self.message = Some(format!("{e:#}"));
        }
    }

    fn finish(&mut self, ending: OperationEnd) {
        let s = &ending.summary;
        let wall = units::duration(s.wall_ns);
        let text = format!(
            "{}; {wall}, {:.1} % accounted for, {} dropped",
            ending.outcome,
            s.accounted * 100.0,
            s.dropped
        );
        self.note(format!("ended: {text}"));
        self.holds.clear();
        // Removes the message that a step is awaited.
        if std::mem::take(&mut self.pending) > 0 {
            self.message = None;
        }
        self.ending = Some(ending);
        if self.follow {
            self.go_to(self.end_step());
        }
    }

    /// Shows and logs a warning.
    pub fn warn(&mut self, text: String) {
        self.note(text.clone());
        self.message = Some(text.lines().next().unwrap_or_default().to_owned());
    }

    pub(super) fn note(&mut self, line: String) {
        if self.log.len() >= MAX_LOG_LINES {
            self.log.remove(0);
        }
        self.log.extend(line.lines().map(str::to_owned));
    }

    /// Moves the cursor, and resets the scroll positions of the panes that follow it.
    pub(super) fn go_to(&mut self, step: usize) {
        self.cursor = step.min(self.steps.len().saturating_sub(1));
        self.frame = None;
        for pane in [Pane::Path, Pane::Source, Pane::Stack] {
            self.scroll[pane as usize] = None;
        }
    }

    /// The last step before the answer; later steps of replicas do not count.
    pub(super) fn end_step(&self) -> usize {
        self.steps.iter().rposition(|s| !s.late).unwrap_or(0)
    }

    pub(super) fn at_newest(&self) -> bool {
        self.cursor + 1 >= self.steps.len()
    }
}
