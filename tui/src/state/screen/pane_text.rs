//! The text of panes: for an editor, for the clipboard, and for searches.
use super::{Effect, Screen};
use crate::state::{code, engine, flame, panes::Pane, units};

impl Screen {
    pub(super) fn edit(&mut self) -> Effect {
        let Some((file, line)) = self.document().place.clone() else {
            self.say("this step has no source file to open");
            return Effect::None;
        };
        match code::on_disk(&file).map_or_else(|| code::unpack(&file), Ok) {
            Ok(path) => Effect::Edit { path, line },
            Err(why) => {
                self.say(why);
                Effect::None
            }
        }
    }

    pub(super) fn copy(&mut self) -> Effect {
        let text = match self.panes.focus() {
            Pane::Source => self.document().place.as_ref().map(|(f, l)| format!("{f}:{l}")),
            Pane::State | Pane::Log => Some(self.lines(self.panes.focus()).join("\n")),
            Pane::Path => self.step().map(|s| format!("{} {} {}:{}", s.stage, s.function, s.file, s.line)),
            Pane::Stack => self.lines(Pane::Stack).get(self.panes.frame().unwrap_or(0)).cloned(),
        };
        match text.filter(|t| !t.is_empty()) {
            Some(text) => {
                self.say(format!("copied {}", text.lines().next().unwrap_or_default()));
                Effect::Copy(text)
            }
            None => {
                self.say("this pane has nothing to copy");
                Effect::None
            }
        }
    }

    pub(super) fn save_flame(&mut self) -> Effect {
        let timeline = &self.timeline;
        if flame::folded(timeline.operation(), timeline.steps(), timeline.requests()).is_empty() {
            self.say("no steps yet, so there is no flame to save");
            return Effect::None;
        }
        Effect::SaveFlame
    }

    /// The text of a pane's lines, for searching and copying.
    pub fn lines(&self, pane: Pane) -> Vec<String> {
        match pane {
            Pane::Path => self
                .timeline
                .rows()
                .iter()
                .map(|r| format!("{} {}", r.label, units::duration(r.dur_ns)))
                .collect(),
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
        for section in engine::sections(step, self.timeline.step_before()) {
            out.push(section.title);
            for row in section.rows {
                out.push(row.cells.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join(" "));
            }
            out.push(String::new());
        }
        out
    }
}
