//! The reason for which a gate is refused.

/// The refusal of a gate. The message gives the expected form, the text that was found, and a hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GateError(String);

impl GateError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A mistake at a column of a condition. Columns count from 1.
    pub(super) fn condition(problem: impl Into<String>, column: usize, text: &str) -> Self {
        Self(format!("{} at column {column} of the condition `{text}`", problem.into()))
    }

    /// A name that is not in `all`; suggests similar ones.
    pub(super) fn unknown(expected: &str, found: &str, plural: &str, all: &[&str]) -> Self {
        let near = near(found, all);
        let hint = match near.is_empty() {
            true => format!("the {plural} are {}", all.join(", ")),
            false => format!("did you mean {}?", near.join(", ")),
        };
        Self(format!("expected {expected}, found `{found}`; {hint}"))
    }
}

/// Returns up to six names that share a part or most letters with a mistyped one.
fn near<'a>(name: &str, all: &[&'a str]) -> Vec<&'a str> {
    let name = name.to_ascii_lowercase();
    let parts: Vec<&str> = name.split('_').filter(|part| part.len() > 2).collect();
    let shared = |known: &str| {
        let parts = parts.iter().filter(|part| known.contains(**part)).count() * 4;
        let start = known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let end = known.bytes().rev().zip(name.bytes().rev()).take_while(|(a, b)| a == b).count();
        parts + if start + end >= 4 { start + end } else { 0 }
    };
    let mut found: Vec<(usize, &str)> =
        all.iter().map(|known| (shared(known), *known)).filter(|(score, _)| *score > 0).collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found.into_iter().take(6).map(|(_, known)| known).collect()
}
