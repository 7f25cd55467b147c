//! What keys, the mouse and the palette do to the screen.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::{
    code, engine, flame,
    overlay::{self, Choice, Overlay},
    screen::{Drawn, Effect, Pane, Phase, Screen},
    search, units,
};
use crate::input::action::{Action, Pressed, press};

impl Screen {
    pub fn on_key(&mut self, key: KeyEvent) -> Effect {
        self.message = None;
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Effect::Quit;
        }
        match self.overlay {
            Overlay::Palette { .. } => return self.palette_key(key),
            Overlay::Search { .. } => return self.search_key(key),
            _ => {}
        }
        if self.flame_key(key) {
            return Effect::None;
        }
        match press(self.prefix.take(), key) {
            Pressed::Action(action) => self.act(action),
            Pressed::Prefix(c) => {
                self.prefix = Some(c);
                Effect::None
            }
            Pressed::Nothing => Effect::None,
        }
    }

    pub fn act(&mut self, action: Action) -> Effect {
        if let Overlay::Help { scroll } = self.overlay
            && let Some(scroll) = scrolled(action, scroll)
        {
            self.overlay = Overlay::Help { scroll };
            return Effect::None;
        }
        match action {
            Action::Next => self.next(),
            Action::Back => self.back(),
            Action::ToGate => self.to_gate(),
            Action::Run => self.run(),
            Action::Gate => self.gate_here(),
            Action::First => self.jump(0),
            Action::Last => self.jump(self.steps.len()),
            Action::Held => self.to_held(),
            Action::NextOperation => self.next_operation(),
            Action::Tikv => self.toggle_tikv(),
            Action::Editor => return self.edit(),
            Action::Copy => return self.copy(),
            Action::Flame => self.toggle_flame(),
            Action::SaveFlame => return self.save_flame(),
            Action::SaveTrace => return self.save_trace(),
            Action::NextPane => self.focus_by(1),
            Action::PreviousPane => self.focus_by(4),
            Action::Pane(i) => self.focus_on(Pane::ALL[i.min(4)]),
            Action::Zoom => self.zoom = !self.zoom,
            Action::Down => self.move_in_pane(1),
            Action::Up => self.move_in_pane(-1),
            Action::PageDown => self.move_in_pane(self.half_page()),
            Action::PageUp => self.move_in_pane(-self.half_page()),
            Action::Left => self.sideways(-8),
            Action::Right => self.sideways(8),
            Action::Search => self.overlay = Overlay::Search { input: String::new() },
            Action::NextMatch => self.to_match(true),
            Action::PreviousMatch => self.to_match(false),
            Action::Palette => self.overlay = Overlay::Palette { query: String::new(), selected: 0 },
            Action::Help => self.toggle_help(),
            Action::Cancel => {
                self.cancel();
            }
            Action::Quit => {
                if !self.cancel() {
                    return Effect::Quit;
                }
            }
        }
        Effect::None
    }

    /// Closes the innermost thing that is open. False if nothing was.
    fn cancel(&mut self) -> bool {
        if self.overlay != Overlay::None {
            self.overlay = Overlay::None;
        } else if self.zoom {
            self.zoom = false;
        } else if !self.query.is_empty() {
            self.query.clear();
        } else if self.frame.is_some() {
            self.frame = None;
        } else {
            return false;
        }
        true
    }

    fn say(&mut self, text: impl Into<String>) {
        self.message = Some(text.into());
    }

    /// Tells the person if the source refused.
    fn tell<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        result.map_err(|e| self.say(format!("{e:#}"))).ok()
    }

    fn next(&mut self) {
        if !self.at_newest() {
            return self.go_to(self.cursor + 1);
        }
        match self.phase() {
            Phase::Held => {
                self.wanted += 1;
                self.release_one();
            }
            Phase::Starting => self.say("starting: no step yet"),
            Phase::Running => {
                self.wanted = (self.wanted + 1).min(64);
                self.say("running: waiting for the next step");
            }
            Phase::Failed => self.say("no further step: see the log"),
            Phase::Finished if self.ending.as_ref().is_some_and(|e| e.more) => {
                self.say("the operation has ended; N starts the scenario's next one");
            }
            Phase::Finished => self.say("the operation has ended; p steps back, q quits"),
        }
    }

    fn back(&mut self) {
        (self.follow, self.wanted) = (false, 0);
        match self.cursor.checked_sub(1) {
            Some(before) => self.go_to(before),
            None => self.say("this is the first step"),
        }
    }

    fn jump(&mut self, step: usize) {
        self.wanted = 0;
        self.follow = step >= self.steps.len() && self.phase() == Phase::Running;
        self.go_to(step);
    }

    /// Forward over recorded steps to the next one with a gate; at the newest, lets the request go.
    fn to_gate(&mut self) {
        let ahead = (self.cursor + 1..self.steps.len()).find(|i| self.gates.contains(&self.steps[*i].stage));
        if let Some(step) = ahead {
            return self.go_to(step);
        }
        if matches!(self.phase(), Phase::Held | Phase::Running) {
            self.follow = true;
            let result = self.source.to_gate();
            self.tell(result);
            if self.gates.is_empty() {
                self.say("no gate is set: running to the end (b sets one, : finds any stage)");
            }
        }
        self.go_to(self.steps.len());
    }

    fn run(&mut self) {
        self.follow = true;
        if matches!(self.phase(), Phase::Held | Phase::Running) {
            let result = self.source.run();
            self.tell(result);
        }
        self.go_to(self.steps.len());
    }

    fn gate_here(&mut self) {
        match self.step().map(|s| s.stage.clone()) {
            Some(stage) => self.toggle_gate(&stage),
            None => self.say("no step yet, so no stage to gate"),
        }
    }

    fn toggle_gate(&mut self, stage: &str) {
        let known = tracepoints::find_stage(stage);
        if known.is_some_and(|s| s.hold == tracepoints::Hold::None) {
            return self.say(format!("{stage} is only observed: a request cannot be held there"));
        }
        let result = self.source.toggle_gate(stage);
        if let Some(set) = self.tell(result) {
            let text = format!("gate {} {stage}", if set { "set at" } else { "removed from" });
            self.note(text.clone());
            self.say(text);
        }
        self.gates = self.source.gates().into_iter().collect();
    }

    fn to_held(&mut self) {
        match self.holds.first().and_then(|h| self.held_step(h)) {
            Some(step) => self.go_to(step),
            None => self.say("nothing is held now"),
        }
    }

    fn next_operation(&mut self) {
        match &self.ending {
            Some(e) if !e.more => self.say("the scenario has no further operation"),
            _ => {
                let result = self.source.next_operation();
                self.tell(result);
            }
        }
    }

    fn toggle_tikv(&mut self) {
        self.tikv = !self.tikv;
        self.scroll[Pane::Source as usize] = None;
        self.tab = Pane::Source;
        if self.focus != Pane::Path {
            self.focus = Pane::Source;
        }
    }

    fn edit(&mut self) -> Effect {
        let Some((file, line)) = self.document().place.clone() else {
            self.say("no source file here");
            return Effect::None;
        };
        match code::on_disk(&file) {
            Some(path) => Effect::Edit { path, line },
            None => {
                self.say(format!("{file} is not on this disk: it is shown from the copy in this program"));
                Effect::None
            }
        }
    }

    fn copy(&mut self) -> Effect {
        let text = match self.focus {
            Pane::Source => self.document().place.as_ref().map(|(f, l)| format!("{f}:{l}")),
            Pane::State | Pane::Log => Some(self.lines(self.focus).join("\n")),
            Pane::Path => self.step().map(|s| format!("{} {} {}:{}", s.stage, s.function, s.file, s.line)),
            Pane::Stack => self.lines(Pane::Stack).get(self.frame.unwrap_or(0)).cloned(),
        };
        match text.filter(|t| !t.is_empty()) {
            Some(text) => {
                self.say(format!("copied {}", text.lines().next().unwrap_or_default()));
                Effect::Copy(text)
            }
            None => {
                self.say("nothing to copy here");
                Effect::None
            }
        }
    }

    fn save_trace(&mut self) -> Effect {
        let summary = self.ending.as_ref().map(|e| e.summary.clone());
        match crate::plain::json_lines(&self.steps, summary.as_ref()) {
            Ok(text) => Effect::Save(vec![(format!("{}.jsonl", self.file_stem()), text)]),
            Err(e) => {
                self.say(format!("{e:#}"));
                Effect::None
            }
        }
    }

    fn save_flame(&mut self) -> Effect {
        let folds = flame::folded(&self.operation, &self.steps, &self.requests);
        let folded: String = folds.iter().map(|(names, ns)| format!("{} {ns}\n", names.join(";"))).collect();
        if folded.is_empty() {
            self.say("no steps yet, so no flame");
            return Effect::None;
        }
        let mut files = vec![(format!("{}.folded", self.file_stem()), folded.clone())];
        match crate::svg::flame(&self.operation, &folded) {
            Ok(svg) => files.push((format!("{}.svg", self.file_stem()), svg)),
            Err(why) => self.say(format!("no SVG: {why}")),
        }
        Effect::Save(files)
    }

    fn file_stem(&self) -> String {
        let clean = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        self.title.chars().map(clean).collect()
    }

    pub(super) fn focus_on(&mut self, pane: Pane) {
        self.focus = pane;
        if pane != Pane::Path {
            self.tab = pane;
        }
    }

    fn focus_by(&mut self, by: usize) {
        self.focus_on(Pane::ALL[(self.focus as usize + by) % 5]);
    }

    fn half_page(&self) -> isize {
        (self.drawn[self.focus as usize].area.3 as isize / 2).max(1)
    }

    fn move_in_pane(&mut self, by: isize) {
        match self.focus {
            Pane::Path => self.move_rows(by),
            Pane::Stack => self.select_frame(by),
            pane => self.scroll_pane(pane, by),
        }
    }

    /// Moves over the tree's rows, from stage to stage.
    fn move_rows(&mut self, by: isize) {
        let steps: Vec<usize> = self.rows().iter().filter_map(|r| r.step).collect();
        let Some(at) = steps.iter().position(|s| *s == self.cursor) else { return };
        (self.follow, self.wanted) = (false, 0);
        self.go_to(steps[at.saturating_add_signed(by).min(steps.len() - 1)]);
    }

    fn select_frame(&mut self, by: isize) {
        let frames = self.step().map_or(0, |s| s.stack.len());
        if frames > 0 {
            let at = self.frame.unwrap_or(0);
            self.frame = Some(at.saturating_add_signed(by).min(frames - 1));
            self.scroll[Pane::Source as usize] = None;
            self.tikv = false;
        }
    }

    fn scroll_pane(&mut self, pane: Pane, by: isize) {
        let Drawn { offset, max_offset, .. } = self.drawn[pane as usize];
        self.scroll[pane as usize] = Some(offset.saturating_add_signed(by).min(max_offset));
    }

    fn sideways(&mut self, by: isize) {
        let at = &mut self.sideways[self.focus as usize];
        *at = at.saturating_add_signed(by).min(400);
    }

    fn toggle_help(&mut self) {
        self.overlay = match self.overlay {
            Overlay::Help { .. } => Overlay::None,
            _ => Overlay::Help { scroll: 0 },
        };
    }

    fn toggle_flame(&mut self) {
        self.overlay = match self.overlay {
            Overlay::Flame { .. } => Overlay::None,
            _ => {
                let bars = flame::bars(&self.operation, &self.steps, &self.requests);
                Overlay::Flame {
                    selected: bars.iter().position(|b| b.step == Some(self.cursor)).unwrap_or(0),
                }
            }
        };
    }

    /// The text of a pane's lines, for search and copy.
    pub fn lines(&self, pane: Pane) -> Vec<String> {
        match pane {
            Pane::Path => {
                self.rows().iter().map(|r| format!("{} {}", r.label, units::duration(r.dur_ns))).collect()
            }
            Pane::Source => {
                self.document().lines.iter().map(|l| l.iter().map(|(_, t)| t.as_str()).collect()).collect()
            }
            Pane::Stack => {
                let frames = self.step().map(|s| s.stack.as_slice()).unwrap_or_default();
                frames.iter().map(|f| format!("{} {}:{}", f.function, f.file, f.line)).collect()
            }
            Pane::State => self.state_lines(),
            Pane::Log => self.log.clone(),
        }
    }

    fn state_lines(&self) -> Vec<String> {
        let Some(step) = self.step() else { return Vec::new() };
        let mut out = Vec::new();
        for section in engine::sections(step, self.step_before()) {
            out.push(section.title);
            for row in section.rows {
                out.push(row.cells.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join(" "));
            }
            out.push(String::new());
        }
        out
    }

    fn to_match(&mut self, forward: bool) {
        if self.query.is_empty() {
            return self.say("nothing searched for yet; / searches in this pane");
        }
        let lines = self.lines(self.focus);
        let from = self.search_from();
        let Some(found) = search::next(&lines, &self.query, from, forward) else {
            return self.say(format!(
                "no match for `{}` in {}",
                self.query,
                self.focus.name().to_lowercase()
            ));
        };
        match self.focus {
            Pane::Path => {
                let step = self.rows().get(found).map(|r| r.step.unwrap_or(r.span.0));
                self.go_to(step.unwrap_or(self.cursor));
            }
            Pane::Stack => {
                self.frame = Some(found);
                self.scroll[Pane::Source as usize] = None;
            }
            pane => self.scroll[pane as usize] = Some(found),
        }
    }

    fn search_from(&self) -> usize {
        match self.focus {
            Pane::Path => self.rows().iter().position(|r| r.step == Some(self.cursor)).unwrap_or(0),
            Pane::Stack => self.frame.unwrap_or(0),
            pane => self.scroll[pane as usize].unwrap_or(self.drawn[pane as usize].offset),
        }
    }

    fn search_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Search { input } = &mut self.overlay else { return Effect::None };
        match typed(input, key) {
            Typed::Open => {}
            Typed::Closed => self.overlay = Overlay::None,
            Typed::Done => {
                self.query = std::mem::take(input);
                self.overlay = Overlay::None;
                if !self.query.is_empty() {
                    self.to_match(true);
                }
            }
        }
        Effect::None
    }

    pub fn palette_entries(&self, query: &str) -> Vec<overlay::Entry> {
        let stages: Vec<&str> = self.steps.iter().map(|s| s.stage.as_str()).collect();
        let gates: Vec<&str> = self.gates.iter().map(String::as_str).collect();
        overlay::entries(query, &stages, &gates)
    }

    fn palette_key(&mut self, key: KeyEvent) -> Effect {
        let Overlay::Palette { query, selected } = &mut self.overlay else { return Effect::None };
        match key.code {
            KeyCode::Down => *selected += 1,
            KeyCode::Up => *selected = selected.saturating_sub(1),
            _ => match typed(query, key) {
                Typed::Open => *selected = 0,
                Typed::Closed => self.overlay = Overlay::None,
                Typed::Done => return self.choose(),
            },
        }
        self.clamp_palette();
        Effect::None
    }

    fn clamp_palette(&mut self) {
        let Overlay::Palette { query, selected } = &self.overlay else { return };
        let last = self.palette_entries(query).len().saturating_sub(1);
        self.overlay = Overlay::Palette { query: query.clone(), selected: (*selected).min(last) };
    }

    fn choose(&mut self) -> Effect {
        let Overlay::Palette { query, selected } = std::mem::take(&mut self.overlay) else {
            return Effect::None;
        };
        match self.palette_entries(&query).into_iter().nth(selected).map(|e| e.choice) {
            Some(Choice::Action(action)) => return self.act(action),
            Some(Choice::Gate(stage)) => self.toggle_gate(stage),
            Some(Choice::Step(step)) => self.jump(step),
            None => self.say(format!("no action fits `{query}`")),
        }
        Effect::None
    }

    /// Moves in the flame; false if the key means something else.
    fn flame_key(&mut self, key: KeyEvent) -> bool {
        let Overlay::Flame { selected } = self.overlay else { return false };
        let bars = flame::bars(&self.operation, &self.steps, &self.requests);
        let Some(bar) = bars.get(selected) else { return false };
        let level = |depth: usize| bars.iter().enumerate().filter(move |(_, b)| b.depth == depth);
        let over = |depth: usize| {
            let middle = bar.at + bar.width / 2.0;
            level(depth).filter(|(_, b)| b.at <= middle).last().map(|(i, _)| i)
        };
        let to = match key.code {
            KeyCode::Char('l' | 'n') | KeyCode::Right => {
                level(bar.depth).map(|(i, _)| i).find(|i| *i > selected)
            }
            KeyCode::Char('h' | 'p') | KeyCode::Left => {
                level(bar.depth).map(|(i, _)| i).filter(|i| *i < selected).last()
            }
            KeyCode::Char('j') | KeyCode::Down => {
                let inside = |b: &flame::Bar| b.at >= bar.at - 1e-9 && b.at <= bar.at + bar.width;
                level(bar.depth + 1).find(|(_, b)| inside(b)).map(|(i, _)| i)
            }
            KeyCode::Char('k') | KeyCode::Up => bar.depth.checked_sub(1).and_then(over),
            KeyCode::Enter => {
                if let Some(step) = bar.step {
                    self.overlay = Overlay::None;
                    self.jump(step);
                }
                return true;
            }
            _ => return false,
        };
        self.overlay = Overlay::Flame { selected: to.unwrap_or(selected) };
        true
    }

    pub fn on_mouse(&mut self, mouse: MouseEvent) {
        if self.overlay != Overlay::None {
            return;
        }
        let (x, y) = (mouse.column, mouse.row);
        if mouse.kind == MouseEventKind::Down(MouseButton::Left)
            && let Some((pane, ..)) =
                self.tabs.iter().find(|(_, tx, ty, w)| y == *ty && (*tx..*tx + *w).contains(&x))
        {
            return self.focus_on(*pane);
        }
        let inside = |d: &Drawn| {
            (d.area.0..d.area.0 + d.area.2).contains(&x) && (d.area.1..d.area.1 + d.area.3).contains(&y)
        };
        let Some(pane) = Pane::ALL.into_iter().find(|p| inside(&self.drawn[*p as usize])) else { return };
        match mouse.kind {
            MouseEventKind::ScrollDown => self.scroll_pane(pane, 3),
            MouseEventKind::ScrollUp => self.scroll_pane(pane, -3),
            MouseEventKind::Down(MouseButton::Left) => self.click(pane, y),
            _ => {}
        }
    }

    fn click(&mut self, pane: Pane, y: u16) {
        self.focus_on(pane);
        let drawn = self.drawn[pane as usize];
        let line = drawn.offset + usize::from(y - drawn.area.1);
        match pane {
            Pane::Path => {
                if let Some(row) = self.rows().get(line) {
                    self.jump(row.step.unwrap_or(row.span.0));
                }
            }
            Pane::Stack if line < self.lines(Pane::Stack).len() => {
                self.frame = Some(line);
                self.scroll[Pane::Source as usize] = None;
            }
            _ => {}
        }
    }
}

fn scrolled(action: Action, at: usize) -> Option<usize> {
    match action {
        Action::Down => Some(at + 1),
        Action::Up => Some(at.saturating_sub(1)),
        Action::PageDown => Some(at + 10),
        Action::PageUp => Some(at.saturating_sub(10)),
        _ => None,
    }
}

enum Typed {
    Open,
    Closed,
    Done,
}

/// Edits one line of input.
fn typed(input: &mut String, key: KeyEvent) -> Typed {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc => return Typed::Closed,
        KeyCode::Enter => return Typed::Done,
        KeyCode::Backspace if input.is_empty() => return Typed::Closed,
        KeyCode::Backspace => {
            input.pop();
        }
        KeyCode::Char('u') if control => input.clear(),
        KeyCode::Char(c) if !control => input.push(c),
        _ => {}
    }
    Typed::Open
}
