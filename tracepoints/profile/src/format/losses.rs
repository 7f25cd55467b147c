//! Counts what of a profile could not be read, by kind of record.
use std::collections::BTreeMap;

use super::{Format, fail};
use crate::{ProfileError, model::Profile};

/// Records that are left out or do not fit together, and where the first of each kind is.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lost: BTreeMap<&'static str, First>,
    odd: BTreeMap<&'static str, First>,
}

/// How many; where the first is, and why.
type First = (u64, String, String);

impl Losses {
    /// `what` is the record in the plural; `at` its place and `why` what is wrong with it.
    pub fn add(&mut self, what: &'static str, at: impl FnOnce() -> String, why: impl FnOnce() -> String) {
        self.lost.entry(what).or_insert_with(|| (0, at(), why())).0 += 1;
    }

    /// Records that were read all the same.
    pub fn odd(&mut self, what: &'static str, n: u64, at: impl FnOnce() -> String, why: &str) {
        if n > 0 {
            self.odd.entry(what).or_insert_with(|| (0, at(), why.into())).0 += n;
        }
    }

    /// A line for each kind, for people.
    fn notes(self) -> impl Iterator<Item = String> {
        let lost = self.lost.into_iter().map(|(what, (n, at, why))| {
            format!("{n} {what} could not be read and are left out; the first is at {at}: {why}")
        });
        // People are shown what has these words.
        let none = |what: &str| if what.contains("left out") { "" } else { ", and none is left out" };
        let odd = self.odd.into_iter();
        let odd = odd.map(move |(what, (n, at, why))| {
            format!("{n} {what}{}; the first is at {at}: {why}", none(what))
        });
        lost.chain(odd)
    }

    /// Notes the losses in the profile's comments, with what else is known of the file.
    ///
    /// # Errors
    /// If nothing could be read: what is wrong first.
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
