//! Counts the unreadable parts of a profile by kind of record.
use std::collections::BTreeMap;

use super::{fail::fail, kind::Format};
use crate::{ProfileError, model::Profile};

/// Skipped or inconsistent records by kind, with the position of the first of each kind.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lost: BTreeMap<&'static str, First>,
    odd: BTreeMap<&'static str, First>,
}

/// Number of records, position of the first, and its error.
type First = (u64, String, String);

impl Losses {
    /// Adds a skipped record: `what` is its kind in the plural, `at` its position, `why` its error.
    pub fn add(&mut self, what: &'static str, at: impl FnOnce() -> String, why: impl FnOnce() -> String) {
        self.lost.entry(what).or_insert_with(|| (0, at(), why())).0 += 1;
    }

    /// Adds records that were read despite an inconsistency.
    pub fn odd(&mut self, what: &'static str, n: u64, at: impl FnOnce() -> String, why: &str) {
        if n > 0 {
            self.odd.entry(what).or_insert_with(|| (0, at(), why.into())).0 += n;
        }
    }

    /// Formats a line for each kind.
    fn notes(self) -> impl Iterator<Item = String> {
        let lost = self.lost.into_iter().map(|(what, (n, at, why))| {
            format!("{n} {what} could not be read and are left out; the first is at {at}: {why}")
        });
        // Comments with the words `left out` are shown to the user.
        let none = |what: &str| if what.contains("left out") { "" } else { ", and none is left out" };
        let odd = self.odd.into_iter();
        let odd = odd.map(move |(what, (n, at, why))| {
            format!("{n} {what}{}; the first is at {at}: {why}", none(what))
        });
        lost.chain(odd)
    }

    /// Adds the losses to the profile's comments, with other facts about the file.
    ///
    /// # Errors
    /// If nothing could be read: the first loss.
    pub fn judge(
        self,
        format: Format,
        profile: &mut Profile,
        notes: Vec<String>,
    ) -> Result<(), ProfileError> {
        if profile.is_empty() {
            if let Some((_, at, why)) = self.lost.values().next() {
                return Err(fail(format, at.as_str(), why));
            }
            if let Some(note) = notes.first() {
                return Err(fail(format, "the text", note));
            }
        }
        profile.comments.extend(notes.into_iter().chain(self.notes()));
        Ok(())
    }
}
