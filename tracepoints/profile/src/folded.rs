//! Folded stacks: Brendan Gregg's text form that every flamegraph tool reads and writes.
use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use crate::ProfileError;

/// Stacks with their counts (samples, or ns), each stack once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    stacks: BTreeMap<String, u64>,
}

impl Folded {
    /// Adds `count` to a stack, given from its outermost frame. Zero adds nothing.
    pub fn add<S: AsRef<str>>(&mut self, frames: impl IntoIterator<Item = S>, count: u64) {
        let frames: Vec<String> = frames.into_iter().map(|f| clean(f.as_ref())).collect();
        if count > 0 && !frames.is_empty() {
            *self.stacks.entry(frames.join(";")).or_default() += count;
        }
    }

    /// From whole stacks whose frames went through [`clean`]; quickest if they are nearly in order.
    pub(crate) fn from_clean(mut stacks: Vec<(String, u64)>) -> Self {
        stacks.retain(|(stack, count)| *count > 0 && !stack.is_empty());
        stacks.sort();
        stacks.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
        Self { stacks: stacks.into_iter().collect() }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Folded) {
        for (stack, count) in &other.stacks {
            *self.stacks.entry(stack.clone()).or_default() += count;
        }
    }

    /// Reads folded text; empty lines and lines that begin with `#` are passed over, equal stacks are summed.
    ///
    /// # Errors
    /// At the first line that is not a stack, one or more spaces, and a count.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let mut folded = Self::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || ProfileError::Line { line: i + 1, text: line.chars().take(120).collect() };
            let (stack, count) = line.rsplit_once(char::is_whitespace).ok_or_else(bad)?;
            let count = count.parse().map_err(|_| bad())?;
            folded.add(stack.trim_end().split(';'), count);
        }
        Ok(folded)
    }

    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Sum of all counts.
    pub fn total(&self) -> u64 {
        self.stacks.values().sum()
    }

    /// Stacks and counts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.stacks.iter().map(|(stack, count)| (stack.as_str(), *count))
    }

    /// Folded lines, `frame;frame COUNT`.
    pub fn lines(&self) -> Vec<String> {
        self.iter().map(|(stack, count)| format!("{stack} {count}")).collect()
    }
}

impl Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(stack, count)| {
            f.write_str(stack)?;
            writeln!(f, " {count}")
        })
    }
}

/// A frame without what has a meaning in the text: `;`, line ends, and a number after a space, which would be a count.
pub(crate) fn clean(frame: &str) -> String {
    let mut out: String = frame
        .trim()
        .chars()
        .map(|c| {
            if c == ';' {
                ':'
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect();
    if let Some((_, last)) = out.rsplit_once(' ')
        && last.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        let at = out.len() - last.len() - 1;
        out.replace_range(at..=at, "_");
    }
    if out.is_empty() { "(unknown)".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut folded = Folded::default();
        folded.add(["kv_get", "<A as B>::go"], 7);
        folded.add(["kv_get", "<A as B>::go"], 3);
        folded.add(["kv_get", "nothing"], 0);
        folded.add(["store 2", "fn(A; B)", ""], 5);
        assert_eq!(folded.to_string(), "kv_get;<A as B>::go 10\nstore_2;fn(A: B);(unknown) 5\n");
        assert_eq!(Folded::parse(&folded.to_string()).unwrap(), folded);
        assert_eq!((folded.total(), folded.lines().len()), (15, 2));
    }

    #[test]
    fn comments_are_passed_over_and_a_bad_line_is_told_by_its_number() {
        let folded = Folded::parse("# a comment\n\na;b   2\na;b 3\r\n").unwrap();
        assert_eq!(folded.iter().collect::<Vec<_>>(), [("a;b", 5)]);
        for (text, line) in [("a 1\nb", 2), ("a;b x", 1), ("a -4", 1), ("17", 1)] {
            let error = Folded::parse(text).unwrap_err();
            assert!(matches!(error, ProfileError::Line { line: l, .. } if l == line), "{text:?}: {error}");
        }
        assert!(Folded::parse("").unwrap().is_empty());
    }
}
