//! The text of panes: for an editor, for the clipboard, and for searches.
use super::{Effect, Screen};
use crate::state::{code, flame, panes::Pane, stack, units};

impl Screen {
    pub(super) fn edit(&mut self) -> Effect {
        let Some((file, line)) = self.shown_spot() else {
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

    /// The file and the line of the cursor in the source pane.
    fn shown_spot(&self) -> Option<(String, u32)> {
        let (file, line) = self.document().place.clone()?;
        Some((file, self.panes.cursor().map_or(line, |c| c.line as u32 + 1)))
    }

    pub(super) fn copy(&mut self) -> Effect {
        let text = match self.panes.focus() {
            Pane::Source => self.shown_spot().map(|(f, l)| format!("{f}:{l}")),
            Pane::State | Pane::Log => Some(self.lines(self.panes.focus()).join("\n")),
            Pane::Path => self.step().map(|s| format!("{} {} {}:{}", s.stage, s.function, s.file, s.line)),
            Pane::Stack => self.lines(Pane::Stack).get(self.picked_row()).cloned(),
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
            Pane::Stack => self.stack_rows().iter().map(stack::Row::text).collect(),
            Pane::State => self.state_lines(),
            Pane::Log => self.log.iter().map(|line| self.timestamps().apply(line)).collect(),
        }
    }

    fn state_lines(&self) -> Vec<String> {
        let mut out = Vec::new();
        for section in self.sections() {
            out.push(section.title);
            for row in section.rows {
                out.push(row.cells.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join(" "));
            }
            out.push(String::new());
        }
        out
    }
}
