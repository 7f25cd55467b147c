//! Searches lines, and filters by fuzzy queries.

/// Finds the next line after `from` (or before it) that contains `query`, and wraps at the end. Case counts
/// only if the query has capitals.
pub fn next(lines: &[String], query: &str, from: usize, forward: bool) -> Option<usize> {
    let n = lines.len();
    let order = (1..=n).map(|d| if forward { (from + d) % n } else { (from + n - d % n) % n });
    order.into_iter().find(|i| contains(&lines[*i], query))
}

/// Finds the byte ranges of `query` in `text`.
pub fn ranges(text: &str, query: &str) -> Vec<(usize, usize)> {
    if query.is_empty() {
        return Vec::new();
    }
    let (hay, needle) = fold(text, query);
    if hay.len() != text.len() {
        return Vec::new();
    }
    hay.match_indices(&needle).map(|(i, m)| (i, i + m.len())).collect()
}

/// Whether `text` contains `query`; false for an empty query.
pub fn contains(text: &str, query: &str) -> bool {
    let (hay, needle) = fold(text, query);
    !needle.is_empty() && hay.contains(&needle)
}

fn fold(text: &str, query: &str) -> (String, String) {
    if query.chars().any(char::is_uppercase) {
        (text.to_owned(), query.to_owned())
    } else {
        (text.to_ascii_lowercase(), query.to_ascii_lowercase())
    }
}

/// Scores `text` against a fuzzy query (its letters in order): lower is better, None is no match.
pub fn fuzzy(text: &str, query: &str) -> Option<usize> {
    let (text, query) = (text.to_lowercase(), query.to_lowercase());
    if let Some(at) = text.find(&query) {
        let begins = at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
        return Some(if begins { at } else { 1_000 + at });
    }
    let (mut first, mut last) = (None, 0);
    let mut chars = text.char_indices();
    for wanted in query.chars().filter(|c| !c.is_whitespace()) {
        let (i, _) = chars.find(|(_, c)| *c == wanted)?;
        first.get_or_insert(i);
        last = i;
    }
    Some(10_000 + last - first.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_wraps_and_ignores_case_without_capitals() {
        let lines: Vec<String> = ["Alpha", "beta", "ALPHA"].map(String::from).to_vec();
        assert_eq!(next(&lines, "alpha", 0, true), Some(2));
        assert_eq!(next(&lines, "alpha", 2, true), Some(0));
        assert_eq!(next(&lines, "alpha", 2, false), Some(0));
        assert_eq!(next(&lines, "alpha", 0, false), Some(2));
        assert_eq!(next(&lines, "Alpha", 0, true), Some(0));
        assert_eq!(next(&lines, "gamma", 0, true), None);
        assert_eq!(next(&[], "x", 0, true), None);
        assert_eq!(ranges("a µ A", "a"), [(0, 1), (5, 6)]);
    }

    #[test]
    fn a_fuzzy_query_prefers_a_whole_word() {
        assert!(fuzzy("set or remove a gate", "gate") < fuzzy("set or remove a gate", "srg"));
        assert_eq!(fuzzy("gate", "x"), None);
    }
}
