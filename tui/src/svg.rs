//! Renders an operation's flame as SVG, and the operation as an HTML page.
use tracepoints::trace::Step;
use tracepoints_profile::{
    FlameOptions, Operation, ProfileError,
    flame::{self, Measure},
    html::{self, Heading},
    wall::{self, WallOptions},
};

/// Draws folded stacks, counted in ns of wall time, from left to right in their order, coloured by layer.
pub fn flame(title: &str, folded: &str) -> Result<String, ProfileError> {
    let options = FlameOptions { measure: Measure::Nanoseconds, in_time: true, ..FlameOptions::default() };
    flame::svg(folded.lines(), &format!("{title}: wall-clock time by stage"), &options)
}

/// Renders a page with flame, timeline and table of an operation.
pub fn page(title: &str, steps: &[Step]) -> Result<String, ProfileError> {
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
        let svg =
            super::flame("get", "get;kv_get;mvcc;lock_cf_get 2000\nget;kv_get;mvcc;write_cf_seek 9000\n")
                .unwrap();
        assert!(svg.contains("write_cf_seek") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("id=\"legend\""), "{svg}");
    }
}
