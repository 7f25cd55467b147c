//! Folded stacks: Brendan Gregg's text form, which every flamegraph tool reads and writes.
mod name;
mod read;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Display},
};

pub(crate) use name::{HIDDEN_HASH, hide, show_in_xml};
pub use name::{UNKNOWN, show};
pub(crate) use read::{Lines, lines};

use crate::{ProfileError, format::kind::Format};

/// Formats a stack for a terminal: names as in other tools' folded text, without control characters.
pub fn printable(stack: &str) -> Cow<'_, str> {
    if !name::has_hidden(stack) {
        return Cow::Borrowed(stack);
    }
    Cow::Owned(stack.split(';').map(name::clean).collect::<Vec<_>>().join(";"))
}

/// Stacks with their counts (samples, or ns), each stack once, sorted.
///
/// A stack is its frames separated by `;`. Characters of names with a meaning in folded text are hidden:
/// [`show`] returns the original name of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    stacks: BTreeMap<String, u64>,
    decimals: u32,
}

/// Begins a comment with an original name in JSON: `# name a:b is "a;b"`.
const NAME: &str = " name ";
const IS: &str = " is ";

impl Folded {
    /// Adds `count` to a stack, given from its outermost frame. Ignores zero.
    pub fn add<S: AsRef<str>>(&mut self, frames: impl IntoIterator<Item = S>, count: u64) {
        let mut stack = String::new();
        for (i, frame) in frames.into_iter().enumerate() {
            stack.push_str(if i == 0 { "" } else { ";" });
            stack.push_str(&hide(frame.as_ref()));
        }
        if count > 0 && !stack.is_empty() {
            let sum = self.stacks.entry(stack).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Collects whole stacks whose frames went through [`hide`]; fastest if they are nearly sorted.
    pub(crate) fn from_hidden(mut stacks: Vec<(String, u64)>, decimals: u32) -> Self {
        stacks.retain(|(stack, count)| *count > 0 && !stack.is_empty());
        stacks.sort();
        stacks.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 = kept.1.saturating_add(if same { next.1 } else { 0 });
            same
        });
        Self { stacks: stacks.into_iter().collect(), decimals }
    }

    /// Adds all stacks of another profile.
    pub fn merge(&mut self, other: &Folded) {
        for (stack, count) in &other.stacks {
            let sum = self.stacks.entry(stack.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Reads folded text with one count per line; of two, the second. Skips comments, empty lines and lines
    /// without a stack, and sums equal stacks. [`crate::format::read`] reports the skipped lines.
    ///
    /// # Errors
    /// If no line consists of a stack, white space and a count.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let read = lines(text);
        if read.stacks.is_empty()
            && let Some(error) = read.skipped.error(Format::Folded, "line")
        {
            return Err(error);
        }
        let mut folded = Self { decimals: read.decimals, ..Self::default() };
        for (stack, values) in &read.stacks {
            let count = u64::try_from(values[read.default_column()]).unwrap_or(0);
            folded.add(read.frames(stack), count);
        }
        Ok(folded)
    }

    /// Whether there is no stack.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Number of stacks.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Sum of all counts.
    pub fn total(&self) -> u64 {
        self.stacks.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Number of decimal digits in each count: with 1, a count of 15 means 1.5. Usually 0.
    pub fn decimals(&self) -> u32 {
        self.decimals
    }

    /// Stacks and counts, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.stacks.iter().map(|(stack, count)| (stack.as_str(), *count))
    }

    /// Returns lines for [`crate::flame::svg`]: stack and count, separated by a space.
    pub fn lines(&self) -> Vec<String> {
        self.iter().map(|(stack, count)| format!("{stack} {count}")).collect()
    }

    /// Maps frames with hidden characters to distinct forms for the text.
    fn written(&self) -> HashMap<&str, String> {
        let odd_ends = |stack: &str| stack.starts_with(name::ODD_STARTS) || stack.ends_with(' ');
        if !self.stacks.keys().any(|stack| name::has_hidden(stack) || odd_ends(stack)) {
            return HashMap::new();
        }
        let (mut taken, mut odd) = (HashSet::new(), Vec::new());
        for stack in self.stacks.keys() {
            let last = stack.matches(';').count();
            for (i, frame) in stack.split(';').enumerate() {
                let end =
                    (i == 0 && frame.starts_with(name::ODD_STARTS)) || (i == last && frame.ends_with(' '));
                if end || name::has_hidden(frame) {
                    odd.push(frame);
                } else {
                    taken.insert(frame.to_owned());
                }
            }
        }
        odd.sort_unstable();
        odd.dedup();
        let mut out = HashMap::new();
        for frame in odd {
            let clean = name::clean(frame);
            let mut unique = clean.clone();
            let mut n = 1;
            while !taken.insert(unique.clone()) {
                n += 1;
                unique = format!("{clean}~{n}");
            }
            out.insert(frame, unique);
        }
        out
    }

    fn count(&self, count: u64) -> String {
        let Some(unit) = 10u64.checked_pow(self.decimals).filter(|unit| *unit > 1) else {
            return count.to_string();
        };
        let digits = format!("{:0width$}", count % unit, width = self.decimals as usize);
        let fraction = digits.trim_end_matches('0');
        if fraction.is_empty() { (count / unit).to_string() } else { format!("{}.{fraction}", count / unit) }
    }
}

/// Writes folded text, `frame;frame COUNT`, for other tools. Names with special characters are changed as
/// other tools do, and a comment gives the original of each.
impl Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.written();
        let mut names: Vec<_> = written.iter().collect();
        names.sort_unstable();
        for (frame, clean) in names {
            let name = serde_json::to_string(&*show(frame)).unwrap_or_default();
            writeln!(f, "#{NAME}{clean}{IS}{name}")?;
        }
        self.iter().try_for_each(|(stack, count)| {
            if written.is_empty() {
                f.write_str(stack)?;
            } else {
                for (i, frame) in stack.split(';').enumerate() {
                    f.write_str(if i == 0 { "" } else { ";" })?;
                    f.write_str(written.get(frame).map_or(frame, String::as_str))?;
                }
            }
            writeln!(f, " {}", self.count(count))
        })
    }
}

#[cfg(test)]
mod tests;
