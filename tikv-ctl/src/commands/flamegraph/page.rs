//! HTML page with flame graph, timeline and table.
use std::path::Path;

use tracepoints_profile::html::{self, Heading};

use super::profile::Profile;
use crate::{Error, Result};

/// Whether a page is requested: by the flag, or by the name of the output file.
pub fn wanted(flag: bool, output: Option<&Path>) -> bool {
    flag || output.and_then(Path::extension).is_some_and(|e| e.eq_ignore_ascii_case("html"))
}

/// Renders the page: requests with their timeline, samples without one.
pub fn render(profile: &Profile) -> Result<String> {
    let (title, subtitle) = (profile.title.clone(), profile.subtitle.clone());
    let heading = Heading { title, subtitle, notes: Vec::new() };
    let page = if profile.operations.is_empty() {
        html::profile(&heading, &profile.folded, profile.measure)
    } else {
        html::trace(&heading, &profile.operations, &profile.folded)
    };
    page.map_err(|e| Error::other(format!("flamegraph: {e}")))
}
