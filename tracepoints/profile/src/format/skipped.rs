//! Counts the unreadable parts of a file, for one line of report.
use crate::ProfileError;

use super::kind::Format;

/// Number of skipped records, and the error of the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    pub count: u64,
    /// The line or the number of the record, and its error.
    pub first: Option<(u64, String)>,
}

impl Skipped {
    pub fn add(&mut self, at: u64, why: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(|| (at, why()));
    }

    /// Formats one line; `None` if nothing was skipped. `what` names the record: `line`, `sample`.
    pub fn report(&self, what: &str) -> Option<String> {
        let (at, why) = self.first.as_ref()?;
        let (s, are) = if self.count == 1 { ("", "is") } else { ("s", "are") };
        Some(format!("{} {what}{s} {are} skipped and left out, the first is {what} {at}: {why}", self.count))
    }

    /// Returns the error of a file without any readable record.
    pub fn error(&self, format: Format, what: &str) -> Option<ProfileError> {
        let (at, why) = self.first.as_ref()?;
        Some(ProfileError::Format { format, at: format!("{what} {at}"), what: why.clone() })
    }
}

/// Returns the beginning of a line, for a report.
pub fn excerpt(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(480)]);
    let mut short: String = text.chars().take(120).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    format!("{short:?}")
}
