//! The step screen: what is stepped, where the person stands in it, and what they look at.
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
    source::{Hold, SourceEvent, StepSource},
    units,
};

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

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Running,
    Held,
    Finished,
    Failed,
}

/// What the program around the screen must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    Quit,
    /// Stops the program's job, as Ctrl-Z does.
    Suspend,
    /// Opens $EDITOR at a line.
    Edit {
        path: PathBuf,
        line: u32,
    },
    Copy(String),
    /// Writes files: name and content.
    Save(Vec<(String, String)>),
}

/// Where a pane was drawn last, for the mouse and for scrolling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Inner area: x, y, width, height. All zero: not shown.
    pub area: (u16, u16, u16, u16),
    /// First line shown.
    pub offset: usize,
    /// Furthest a scroll may go.
    pub max_offset: usize,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub summary: Summary,
    pub outcome: String,
    /// The source has another operation to step.
    pub more: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A checkout of tikv/tikv.
    pub tikv_src: Option<PathBuf>,
    pub color: bool,
}

pub struct Screen {
    pub(super) source: Box<dyn StepSource>,
    pub options: Options,
    pub title: String,
    pub operation: String,
    pub steps: Vec<Step>,
    pub requests: Vec<RequestInfo>,
    pub cursor: usize,
    pub holds: Vec<Hold>,
    pub ending: Option<Ending>,
    pub failure: Option<String>,
    /// What a scenario expected otherwise.
    pub mistakes: Vec<String>,
    pub log: Vec<String>,
    pub gates: BTreeSet<String>,
    pub focus: Pane,
    /// The pane shown beside the path where there is room for one only.
    pub tab: Pane,
    pub zoom: bool,
    pub tikv: bool,
    /// The frame whose source is shown, if not the stage's own.
    pub frame: Option<usize>,
    pub scroll: [Option<usize>; 5],
    pub sideways: [usize; 5],
    pub query: String,
    pub overlay: Overlay,
    /// One line for the person, until the next key.
    pub message: Option<String>,
    pub prefix: Option<char>,
    pub drawn: [Drawn; 5],
    /// Tabs as drawn: pane, x, y, width.
    pub tabs: Vec<(Pane, u16, u16, u16)>,
    /// The cursor goes with the newest step.
    pub(super) follow: bool,
    /// So many steps forward the person has asked for and not seen yet.
    pub(super) wanted: usize,
    pub(super) document: RefCell<Option<(document::Key, Rc<Document>)>>,
    /// The operation before this one and what its frames took, to compare with.
    pub earlier: Option<(String, flame::Spent)>,
    /// The critical path, and of how many steps.
    critical: RefCell<Option<(usize, Rc<CriticalPath>)>>,
}

/// Lines of log that are kept.
const LOG_LINES: usize = 2_000;

impl Screen {
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
            wanted: 0,
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

    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.cursor)
    }

    /// The step before the cursor, for what changed.
    pub fn step_before(&self) -> Option<&Step> {
        self.cursor.checked_sub(1).and_then(|i| self.steps.get(i))
    }

    /// The step at which a hold stands: the newest of its stage and store.
    pub fn held_step(&self, hold: &Hold) -> Option<usize> {
        self.steps.iter().rposition(|s| s.stage == hold.stage && s.store == hold.store)
    }

    /// Whether a scenario says when the operation goes on.
    pub fn is_scripted(&self) -> bool {
        self.source.scripted()
    }

    /// Whether the client's time limits run on while its request is held.
    pub fn client_goes_on(&self) -> bool {
        self.source.client_goes_on()
    }

    /// Why the program shall end with an error, if it shall.
    pub fn error(&self) -> Option<String> {
        let all: Vec<&str> = self.mistakes.iter().chain(&self.failure).map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }

    /// Whether a request is held at this step now.
    pub fn is_held(&self, step: usize) -> bool {
        self.holds.iter().any(|h| self.held_step(h) == Some(step))
    }

    /// The operation's time: to its end, or so far.
    pub fn wall_ns(&self) -> u64 {
        let newest = self.steps.last().filter(|_| self.ending.is_none()).map_or(0, |s| s.at_ns);
        path::wall_ns(&self.steps).max(newest)
    }

    pub fn rows(&self) -> Vec<Row> {
        path::rows(&self.operation, &self.steps, &self.requests, self.ending.is_some())
    }

    /// What the operation's time hung on; known when it has ended.
    pub fn critical(&self) -> Option<Rc<CriticalPath>> {
        self.ending.as_ref()?;
        let mut cached = self.critical.borrow_mut();
        match &*cached {
            Some((steps, path)) if *steps == self.steps.len() => Some(path.clone()),
            _ => {
                let path = Rc::new(CriticalPath::of(&self.steps));
                *cached = Some((self.steps.len(), path.clone()));
                Some(path)
            }
        }
    }

    /// What the source pane shows.
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

    /// Hears the source. True if anything changed.
    pub fn poll(&mut self) -> bool {
        let new = self.steps.is_empty();
        let events = self.source.poll();
        let any = !events.is_empty();
        events.into_iter().for_each(|e| self.apply(e));
        // Whole at once: a saved trace, which is read from its beginning.
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
                self.finish(Ending { summary, outcome, more })
            }
            SourceEvent::Log(line) => self.note(line),
            SourceEvent::Mistake(text) => {
                self.mistakes.push(text.clone());
                self.warn(text);
            }
            SourceEvent::Failed(why) => {
                self.note(format!("error: {why}"));
                self.holds.clear();
                // The head line may have no room for it.
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
        (self.follow, self.wanted) = (true, 0);
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
            // That there is no step yet is not true any more.
            self.message = None;
        }
        self.steps.push(step);
        if self.follow {
            self.go_to(self.steps.len() - 1);
        } else if self.wanted > 0 {
            self.wanted -= 1;
            self.message = None;
            self.go_to(self.cursor + 1);
        }
    }

    fn take_hold(&mut self, hold: Hold) {
        let place = if hold.store == 0 { "client".into() } else { format!("store {}", hold.store) };
        self.note(format!("held at {} ({place})", hold.stage));
        if self.follow
            && let Some(at) = self.held_step(&hold)
        {
            self.go_to(at);
            self.follow = false;
        }
        self.holds.push(hold);
        if self.wanted > 0 && self.at_newest() && !self.source.scripted() {
            self.release_one();
        }
    }

    /// Lets the request that was held first go. It counts as gone at once: the next hold is another one.
    pub(super) fn release_one(&mut self) {
        self.holds.remove(0);
        if let Err(e) = self.source.step() {
            self.message = Some(format!("{e:#}"));
        }
    }

    fn finish(&mut self, ending: Ending) {
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
        // Whoever waits for a step must not go on to read so.
        if std::mem::take(&mut self.wanted) > 0 {
            self.message = None;
        }
        self.ending = Some(ending);
        if self.follow {
            self.go_to(self.end_step());
        }
    }

    /// Tells the person something that nobody asked for.
    pub fn warn(&mut self, text: String) {
        self.note(text.clone());
        self.message = Some(text.lines().next().unwrap_or_default().to_owned());
    }

    pub(super) fn note(&mut self, line: String) {
        if self.log.len() >= LOG_LINES {
            self.log.remove(0);
        }
        self.log.extend(line.lines().map(str::to_owned));
    }

    /// Moves the cursor; panes go back to what they show by themselves.
    pub(super) fn go_to(&mut self, step: usize) {
        self.cursor = step.min(self.steps.len().saturating_sub(1));
        self.frame = None;
        for pane in [Pane::Path, Pane::Source, Pane::Stack] {
            self.scroll[pane as usize] = None;
        }
    }

    /// The step at which the operation ends: what replicas do later is not waited for.
    pub(super) fn end_step(&self) -> usize {
        self.steps.iter().rposition(|s| !s.late).unwrap_or(0)
    }

    pub(super) fn at_newest(&self) -> bool {
        self.cursor + 1 >= self.steps.len()
    }
}
