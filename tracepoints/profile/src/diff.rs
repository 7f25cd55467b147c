//! Compares two profiles: growth is red, shrinkage is blue.
use inferno::differential;

use crate::{Folded, ProfileError, flame, flame::FlameOptions};

/// Two joined profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Folded lines with two counts, before and after, as written by `difffolded`.
    pub lines: Vec<String>,
    /// Sum of the counts before.
    pub before: u64,
    /// Sum of the counts after.
    pub after: u64,
    /// Whether the counts before were scaled so that their sum is that of the counts after.
    pub normalized: bool,
}

/// Joins the stacks of two profiles. `normalize` compensates for a longer profile or more load.
///
/// # Errors
/// [`ProfileError::Empty`] if either profile is empty.
pub fn diff(before: &Folded, after: &Folded, normalize: bool) -> Result<Diff, ProfileError> {
    if before.is_empty() {
        return Err(ProfileError::Empty("the profile before has no stack to compare"));
    }
    if after.is_empty() {
        return Err(ProfileError::Empty("the profile after has no stack to compare"));
    }
    let options = differential::Options { normalize, strip_hex: true };
    let (left, right) = (before.to_string(), after.to_string());
    let mut out = Vec::new();
    differential::from_readers(options, left.as_bytes(), right.as_bytes(), &mut out)
        .map_err(ProfileError::Draw)?;
    let mut lines: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
    lines.sort();
    Ok(Diff { lines, before: before.total(), after: after.total(), normalized: normalize })
}

impl Diff {
    /// Formats the totals.
    pub fn totals(&self) -> String {
        let change = (self.after as f64 / self.before as f64 - 1.0) * 100.0;
        let scaled = if self.normalized { "; before is scaled to after" } else { "" };
        format!("before {}, after {} ({change:+.1} %){scaled}", self.before, self.after)
    }

    /// Draws the comparison: widths are those after, colours show the difference. The totals are below the
    /// title.
    ///
    /// # Errors
    /// As [`flame::svg`].
    pub fn svg(&self, title: &str, options: &FlameOptions) -> Result<String, ProfileError> {
        let subtitle = match &options.subtitle {
            Some(given) => format!("{given}; {}", self.totals()),
            None => self.totals(),
        };
        flame::svg(&self.lines, title, &FlameOptions { subtitle: Some(subtitle), ..options.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flame::assert_well_formed;

    fn folded(text: &str) -> Folded {
        Folded::parse(text).unwrap()
    }

    #[test]
    fn both_counts_of_a_stack_are_on_its_line() {
        let diff = diff(&folded("a;b 10\na;c 30\n"), &folded("a;b 20\na;d 40\n"), false).unwrap();
        assert_eq!(diff.lines, ["a;b 10 20", "a;c 30 0", "a;d 0 40"]);
        assert_eq!(diff.totals(), "before 40, after 60 (+50.0 %)");
        let svg = diff.svg("two runs", &FlameOptions::default()).unwrap();
        assert_well_formed(&svg);
        assert!(svg.contains("before 40, after 60 (+50.0 %)"));
        let change = svg.split("<title>").find(|t| t.starts_with("b ")).expect("frame b has a title");
        assert!(change.contains("+16.67%") || change.contains("+10"), "{change}");
    }

    #[test]
    fn normalized_profiles_of_one_shape_do_not_differ() {
        let diff = diff(&folded("a;b 10\na;c 30\n"), &folded("a;b 20\na;c 60\n"), true).unwrap();
        assert_eq!(diff.lines, ["a;b 20 20", "a;c 60 60"]);
        assert!(diff.totals().contains("scaled"));
    }

    #[test]
    fn an_empty_side_is_named() {
        let (some, none) = (folded("a 1"), Folded::default());
        assert!(diff(&none, &some, false).unwrap_err().to_string().contains("before"));
        assert!(diff(&some, &none, false).unwrap_err().to_string().contains("after"));
    }
}
