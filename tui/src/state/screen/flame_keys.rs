//! Keys of the flame: move, zoom, search, filter and colour.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tracepoints::trace::Step;

use super::Screen;
use crate::state::{
    flame::{Bar, Colours, FlameView},
    messages::{Lane, lanes},
    overlay::Overlay,
    path::wall_ns,
};

impl Screen {
    pub(super) fn toggle_flame(&mut self) {
        self.overlay = match self.overlay {
            Overlay::Flame(_) => Overlay::None,
            _ => {
                let mut view = FlameView::default();
                let bars = self.timeline.bars(view.only.as_deref());
                view.step = self.timeline.cursor();
                view.selected = bars.iter().position(|b| b.step == Some(view.step)).unwrap_or(0);
                Overlay::Flame(view)
            }
        };
    }

    /// Handles a key of the flame; returns false if the flame does not use it.
    pub(super) fn flame_key(&mut self, key: KeyEvent) -> bool {
        let Overlay::Flame(view) = &self.overlay else { return false };
        let mut view = view.clone();
        let bars = self.timeline.bars(view.only.as_deref());
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let taken = match (view.typing, control) {
            (true, true) => true,
            (true, false) => typed(&mut view, key.code),
            (false, _) => self.look(&mut view, &bars, key.code),
        };
        if matches!(self.overlay, Overlay::Flame(_)) {
            self.overlay = Overlay::Flame(view);
        }
        taken
    }

    fn look(&mut self, view: &mut FlameView, bars: &[Bar], code: KeyCode) -> bool {
        match code {
            KeyCode::Char('?') => view.help = !view.help,
            KeyCode::Esc | KeyCode::Char('q') if view.help => view.help = false,
            KeyCode::Char('t') => switch(view, bars),
            _ if view.timeline => return self.look_at_timeline(view, code),
            KeyCode::Char('/') => (view.typing, view.query) = (true, String::new()),
            KeyCode::Char('i') => view.inverted = !view.inverted,
            KeyCode::Char('m') => self.next_colours(view),
            KeyCode::Char(c @ (']' | '[')) => self.next_hit(view, bars, c == ']'),
            KeyCode::Char('s') => self.only(view, bars),
            KeyCode::Char('z') => zoom(view, bars),
            KeyCode::Enter => {
                if let Some(step) = bars.get(view.selected).and_then(|b| step_of(b, self.timeline.steps())) {
                    self.overlay = Overlay::None;
                    self.jump(step);
                }
            }
            KeyCode::Esc | KeyCode::Backspace => return self.undo(view),
            code => return step_to(view, bars, code),
        }
        true
    }

    /// Shows the legend, then switches the colours: layers, classes, and the difference to the previous operation,
    /// if there is one.
    fn next_colours(&mut self, view: &mut FlameView) {
        if !std::mem::replace(&mut view.legend, true) {
            return;
        }
        view.colours = match view.colours {
            Colours::Layer => Colours::Class,
            Colours::Class if self.earlier.is_some() => Colours::Diff,
            Colours::Class => {
                self.say("colours by layer: there is no operation before this one to compare with");
                Colours::Layer
            }
            Colours::Diff => Colours::Layer,
        };
    }

    /// Keys of the timeline: a step forward or back in the lane, to another lane, zoom, and to the step.
    fn look_at_timeline(&mut self, view: &mut FlameView, code: KeyCode) -> bool {
        let steps = self.timeline.steps();
        let Some(step) = steps.get(view.step) else { return false };
        let lane = Lane::from_step(step);
        match code {
            KeyCode::Char('l') | KeyCode::Right => {
                let later = steps[view.step + 1..].iter().find(|s| Lane::from_step(s) == lane);
                view.step = later.map_or(view.step, |s| s.step);
            }
            KeyCode::Char('h') | KeyCode::Left => {
                let earlier = steps[..view.step].iter().rfind(|s| Lane::from_step(s) == lane);
                view.step = earlier.map_or(view.step, |s| s.step);
            }
            KeyCode::Char('n') => view.step = (view.step + 1).min(steps.len() - 1),
            KeyCode::Char('p') => view.step = view.step.saturating_sub(1),
            KeyCode::Char('j') | KeyCode::Down => view.step = in_next_lane(steps, view.step, true),
            KeyCode::Char('k') | KeyCode::Up => view.step = in_next_lane(steps, view.step, false),
            KeyCode::Char('m') => self.next_colours(view),
            KeyCode::Char('z') => zoom_on(view, steps),
            KeyCode::Enter => {
                let step = view.step;
                self.overlay = Overlay::None;
                self.jump(step);
            }
            KeyCode::Esc | KeyCode::Backspace => return view.zoom.pop().is_some(),
            _ => return false,
        }
        true
    }

    fn next_hit(&mut self, view: &mut FlameView, bars: &[Bar], forward: bool) {
        let n = bars.len();
        let at = |step: usize| (view.selected + if forward { step } else { n - step }) % n;
        match (1..=n).map(at).find(|i| view.hits(&bars[*i].label)) {
            Some(hit) => view.selected = hit,
            None => self.say("no match; / searches the flame"),
        }
    }

    /// Shows only stacks with the selected frame, or all again.
    fn only(&mut self, view: &mut FlameView, bars: &[Bar]) {
        let Some(bar) = bars.get(view.selected) else { return };
        view.only = if view.only.is_some() { None } else { Some(bar.label.clone()) };
        let same = |b: &Bar| b.key == bar.key && b.from_ns == bar.from_ns;
        view.selected = self.timeline.bars(view.only.as_deref()).iter().position(same).unwrap_or(0);
    }

    /// Undoes the zoom, the filter or the search; returns false if there is none.
    fn undo(&mut self, view: &mut FlameView) -> bool {
        if view.zoom.pop().is_some() {
            return true;
        }
        if view.only.take().is_some() {
            view.selected = 0;
            return true;
        }
        !std::mem::take(&mut view.query).is_empty()
    }
}

fn typed(view: &mut FlameView, code: KeyCode) -> bool {
    match code {
        KeyCode::Char(c) => view.query.push(c),
        KeyCode::Backspace => _ = view.query.pop(),
        KeyCode::Enter => view.typing = false,
        KeyCode::Esc => (view.typing, view.query) = (false, String::new()),
        _ => {}
    }
    true
}

/// The step of a stage's bar; of any other bar its first step.
fn step_of(bar: &Bar, steps: &[Step]) -> Option<usize> {
    bar.step.or_else(|| steps.iter().position(|s| s.lane == "main" && s.at_ns >= bar.from_ns))
}

/// Switches between bars and timeline, and keeps the selected step.
fn switch(view: &mut FlameView, bars: &[Bar]) {
    view.timeline = !view.timeline;
    match view.timeline {
        true => view.step = bars.get(view.selected).and_then(|b| b.step).unwrap_or(view.step),
        false => {
            let step = bars.iter().position(|b| b.step == Some(view.step));
            view.selected = step.unwrap_or(view.selected);
        }
    }
}

/// The step of the next lane, or of the previous one, that is nearest in time.
fn in_next_lane(steps: &[Step], step: usize, down: bool) -> usize {
    let lanes = lanes(steps);
    let at = lanes.iter().position(|l| *l == Lane::from_step(&steps[step])).unwrap_or(0);
    let to = if down { at.checked_add(1) } else { at.checked_sub(1) };
    let Some(lane) = to.and_then(|to| lanes.get(to)) else { return step };
    let distance = |s: &&Step| s.at_ns.abs_diff(steps[step].at_ns);
    steps.iter().filter(|s| Lane::from_step(s) == *lane).min_by_key(distance).map_or(step, |s| s.step)
}

/// Zooms to the selected step with as much time before and after it.
fn zoom_on(view: &mut FlameView, steps: &[Step]) {
    let Some(step) = steps.get(view.step) else { return };
    let (from, to) = view.zoom.last().copied().unwrap_or((0, wall_ns(steps).max(1)));
    let half = step.dur_ns.saturating_mul(2).max((to - from) / 8).max(1);
    let middle = step.at_ns.saturating_add(step.dur_ns / 2);
    let window = (middle.saturating_sub(half), middle.saturating_add(half));
    if view.zoom.last() != Some(&window) && window.1 - window.0 < to - from {
        view.zoom.push(window);
    }
}

fn zoom(view: &mut FlameView, bars: &[Bar]) {
    if let Some(bar) = bars.get(view.selected).filter(|b| b.to_ns > b.from_ns) {
        let window = (bar.from_ns, bar.to_ns);
        if view.zoom.last() != Some(&window) {
            view.zoom.push(window);
        }
    }
}

/// Selects a neighbour, the frame above or a frame below, by their positions on the screen.
fn step_to(view: &mut FlameView, bars: &[Bar], code: KeyCode) -> bool {
    let Some(bar) = bars.get(view.selected) else { return false };
    let level = |depth: usize| bars.iter().enumerate().filter(move |(_, b)| b.depth == depth);
    let over = |depth: usize| {
        let middle = bar.from_ns + (bar.to_ns - bar.from_ns) / 2;
        level(depth).rfind(|(_, b)| b.from_ns <= middle).map(|(i, _)| i)
    };
    let inside = |b: &Bar| b.from_ns == bar.from_ns || (bar.from_ns..bar.to_ns).contains(&b.from_ns);
    let inner = || level(bar.depth + 1).find(|(_, b)| inside(b)).map(|(i, _)| i);
    let outer = || bar.depth.checked_sub(1).and_then(over);
    let down = match code {
        KeyCode::Char('j') | KeyCode::Down => true,
        KeyCode::Char('k') | KeyCode::Up => false,
        KeyCode::Char('l' | 'n') | KeyCode::Right => {
            let next = level(bar.depth).map(|(i, _)| i).find(|i| *i > view.selected);
            view.selected = next.unwrap_or(view.selected);
            return true;
        }
        KeyCode::Char('h' | 'p') | KeyCode::Left => {
            let before = level(bar.depth).map(|(i, _)| i).rfind(|i| *i < view.selected);
            view.selected = before.unwrap_or(view.selected);
            return true;
        }
        _ => return false,
    };
    let to = if down == view.inverted { outer() } else { inner() };
    view.selected = to.unwrap_or(view.selected);
    true
}
