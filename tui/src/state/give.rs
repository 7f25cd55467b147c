//! Exports from the screen: to an editor, to the clipboard, to files.
use super::{
    code, engine, flame,
    screen::{Effect, Pane, Screen},
    units,
};

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
                self.say("this pane has nothing to copy");
                Effect::None
            }
        }
    }

    pub(super) fn save_trace(&mut self) -> Effect {
        let summary = self.ending.as_ref().map(|e| e.summary.clone());
        match crate::plain::json_lines(&self.steps, summary.as_ref()) {
            Ok(text) => Effect::Save(vec![(format!("{}.jsonl", self.file_stem()), text)]),
            Err(e) => {
                self.say(format!("{e:#}"));
                Effect::None
            }
        }
    }

    pub(super) fn save_flame(&mut self) -> Effect {
        let folds = flame::folded(&self.operation, &self.steps, &self.requests);
        let text = |folds: &[flame::Fold]| -> String {
            folds.iter().map(|(names, ns)| format!("{} {ns}\n", names.join(";"))).collect()
        };
        let folded = text(&folds);
        if folded.is_empty() {
            self.say("no steps yet, so there is no flame to save");
            return Effect::None;
        }
        let mut files = vec![(format!("{}.folded", self.file_stem()), folded.clone())];
        let in_time = text(&flame::in_time(&self.operation, &self.steps, &self.requests));
        match crate::svg::flame(&self.operation, &in_time) {
            Ok(svg) => files.push((format!("{}.svg", self.file_stem()), svg)),
            Err(why) => self.say(format!("cannot render the SVG: {why}")),
        }
        match crate::svg::page(&self.operation, &self.steps) {
            Ok(page) => files.push((format!("{}.html", self.file_stem()), page)),
            Err(why) => self.say(format!("cannot render the page: {why}")),
        }
        Effect::Save(files)
    }

    pub(super) fn file_stem(&self) -> String {
        let clean = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        self.title.chars().map(clean).collect()
    }

    /// The text of a pane's lines, for searching and copying.
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

    pub(super) fn state_lines(&self) -> Vec<String> {
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
}
