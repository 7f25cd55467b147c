//! The flame as SVG.
use tracepoints_profile::{
    FlameOptions, ProfileError,
    flame::{self, Measure},
};

/// Draws folded stacks whose counts are nanoseconds of wall time.
pub fn flame(title: &str, folded: &str) -> Result<String, ProfileError> {
    let options = FlameOptions { measure: Measure::Nanoseconds, ..FlameOptions::default() };
    flame::svg(folded.lines(), &format!("{title}: wall-clock time by stage"), &options)
}

#[cfg(test)]
mod tests {
    #[test]
    fn stages_are_drawn() {
        let svg =
            super::flame("get", "get;kv_get;mvcc;lock_cf_get 2000\nget;kv_get;mvcc;write_cf_seek 9000\n")
                .unwrap();
        assert!(svg.contains("write_cf_seek") && svg.trim_end().ends_with("</svg>"));
    }
}
