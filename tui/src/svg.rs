//! The flame as SVG.
use anyhow::{Context as _, Result};
use inferno::flamegraph::{Options, from_lines};

/// Draws folded stacks whose counts are nanoseconds of wall time.
pub fn flame(title: &str, folded: &str) -> Result<String> {
    let mut options = Options::default();
    options.title = format!("{title}: wall-clock time by stage");
    options.count_name = "ns".into();
    // The stages stand in the order of time, not of the alphabet.
    options.flame_chart = true;
    let mut out = Vec::new();
    from_lines(&mut options, folded.lines(), &mut out).context("cannot draw the flame")?;
    String::from_utf8(out).context("the flame's SVG is not UTF-8")
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
