//! Renders the stepped operation as files: its steps, and its flame as folded stacks, SVG and HTML.
use anyhow::Result;
use tracepoints::trace::Step;
use tracepoints_profile::{
    FlameOptions, Operation, ProfileError,
    flame::{self as picture, Measure},
    html::{self, Heading},
    wall::{self, WallOptions},
};

use crate::{
    print,
    state::{
        Screen,
        flame::{Fold, folded, in_time},
    },
};

/// The files of an export.
#[derive(Debug, Default)]
pub struct Export {
    /// Names and contents.
    pub files: Vec<(String, String)>,
    /// The reasons why other files are missing.
    pub problems: Vec<String>,
}

/// Renders the steps as JSON lines.
///
/// # Errors
/// If a step cannot be written as JSON.
pub fn steps(screen: &Screen) -> Result<Export> {
    let timeline = screen.timeline();
    let text = print::json_lines(timeline.steps(), timeline.ending().map(|e| &e.summary))?;
    Ok(Export { files: vec![(format!("{}.jsonl", file_stem(screen)), text)], problems: Vec::new() })
}

/// Renders the flame as folded stacks, as SVG, and on a page with the timeline.
pub fn flame(screen: &Screen) -> Export {
    let (stem, timeline) = (file_stem(screen), screen.timeline());
    let (operation, steps, requests) = (timeline.operation(), timeline.steps(), timeline.requests());
    let mut out = Export::default();
    out.files.push((format!("{stem}.folded"), lines(&folded(operation, steps, requests))));
    match svg(operation, &lines(&in_time(operation, steps, requests))) {
        Ok(svg) => out.files.push((format!("{stem}.svg"), svg)),
        Err(why) => out.problems.push(format!("cannot render the SVG: {why}")),
    }
    match page(operation, steps) {
        Ok(page) => out.files.push((format!("{stem}.html"), page)),
        Err(why) => out.problems.push(format!("cannot render the page: {why}")),
    }
    out
}

fn lines(folds: &[Fold]) -> String {
    folds.iter().map(|(names, ns)| format!("{} {ns}\n", names.join(";"))).collect()
}

/// The screen's title with only characters that every file system takes.
fn file_stem(screen: &Screen) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    screen.title().chars().map(clean).collect()
}

/// Draws folded stacks, counted in ns of wall time, from left to right in their order, coloured by layer.
fn svg(title: &str, folded: &str) -> Result<String, ProfileError> {
    let options = FlameOptions { measure: Measure::Nanoseconds, in_time: true, ..FlameOptions::default() };
    picture::svg(folded.lines(), &format!("{title}: wall-clock time by stage"), &options)
}

/// Renders a page with flame, timeline and table of an operation.
fn page(title: &str, steps: &[Step]) -> Result<String, ProfileError> {
    let kind = steps.first().map_or("request", |s| s.kind.as_str());
    let id = steps.first().map_or(0, |s| s.request);
    let operation = Operation::new(id, kind, 0, steps.to_vec());
    let (title, subtitle) = (title.to_owned(), "wall-clock time, by stage and class".to_owned());
    let heading = Heading { title, subtitle, notes: Vec::new() };
    let folded = wall::operation(&operation, WallOptions { waits: true, ..WallOptions::default() });
    html::trace(&heading, &[operation], &folded)
}

#[cfg(test)]
mod tests {
    #[test]
    fn stages_are_drawn() {
        let svg = super::svg("get", "get;kv_get;mvcc;lock_cf_get 2000\nget;kv_get;mvcc;write_cf_seek 9000\n")
            .unwrap();
        assert!(svg.contains("write_cf_seek") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("id=\"legend\""), "{svg}");
    }
}
