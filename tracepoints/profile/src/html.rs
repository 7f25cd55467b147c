//! Self-contained pages: flame graph, timeline and table of a trace, a profile or a comparison, with search,
//! zoom, sort and filter, light and dark, by mouse and by keyboard. The data is in the page as JSON; nothing
//! is loaded.
mod data;
mod lanes;
mod names;
#[cfg(test)]
mod needs_chromium;
#[cfg(test)]
mod tests;

use crate::{Comparison, Folded, ProfileError, cohort::Operation, flame::Measure, xml::escape};
use data::Data;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = concat!(
    include_str!("html/page.js"),
    include_str!("html/flame.js"),
    include_str!("html/timeline.js"),
    include_str!("html/table.js"),
    include_str!("html/start.js"),
);

/// Heading of a page.
#[derive(Clone, Debug, Default)]
pub struct Heading {
    /// The title.
    pub title: String,
    /// Text below the title.
    pub subtitle: String,
    /// Lines below the title: losses, and how the data was recorded.
    pub notes: Vec<String>,
}

/// Renders the page of a profile: flame graph and table; without samples both are empty.
///
/// # Errors
/// If the data cannot be encoded as JSON.
pub fn profile(heading: &Heading, folded: &Folded, measure: Measure) -> Result<String, ProfileError> {
    page(heading, &Data::profile(folded, measure))
}

/// Renders the page of operations: flame graph, timeline with stores and threads as lanes and messages as
/// arrows, table of stages, and the critical path. `folded` are the stacks of the flame graph.
///
/// # Errors
/// [`ProfileError::Empty`] if no operation took any time.
pub fn trace(heading: &Heading, operations: &[Operation], folded: &Folded) -> Result<String, ProfileError> {
    not_empty(folded)?;
    page(heading, &Data::trace(operations, folded))
}

/// Renders the page of a comparison: both sides at one scale, and each frame's difference and significance.
///
/// # Errors
/// If the data cannot be encoded as JSON.
pub fn diff(heading: &Heading, comparison: &Comparison) -> Result<String, ProfileError> {
    page(heading, &Data::diff(comparison))
}

fn not_empty(folded: &Folded) -> Result<(), ProfileError> {
    if folded.is_empty() {
        return Err(ProfileError::Empty("no operation took any time: record for longer, or under load"));
    }
    Ok(())
}

fn page(heading: &Heading, data: &Data) -> Result<String, ProfileError> {
    let mut data = data.clone();
    data.notes.splice(0..0, heading.notes.iter().cloned());
    let json = serde_json::to_string(&data).map_err(ProfileError::Page)?;
    // Within a script only `<` could end it; `&` has no meaning there.
    let json = json.replace('<', "\\u003c");
    let parts = [
        ("%STYLE%", STYLE.to_owned()),
        ("%SCRIPT%", SCRIPT.to_owned()),
        ("%DATA%", json),
        ("%SUBTITLE%", escape(&heading.subtitle)),
        ("%TITLE%", escape(&heading.title)),
    ];
    Ok(fill(PAGE, &parts))
}

/// Fills the placeholders in one pass, so that a part's text is never taken for a placeholder.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(page.len() + parts.iter().map(|(_, p)| p.len()).sum::<usize>());
    let mut rest = page;
    loop {
        let next = parts.iter().filter_map(|(place, part)| Some((rest.find(place)?, *place, part))).min();
        let Some((at, place, part)) = next else { break };
        out.push_str(&rest[..at]);
        out.push_str(part);
        rest = &rest[at + place.len()..];
    }
    out + rest
}
