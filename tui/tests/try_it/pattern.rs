//! Compares an output with the one in the guide, in which symbols stand for values that differ from run to run.

/// Units of a duration, the longer ones first.
const UNITS: &[&str] = &["ns", "µs", "us", "ms", "min", "s"];

/// Whether the output is the expected one. A line `...` stands for any number of lines, spaces count once.
pub fn matches(expected: &str, found: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    match_lines(&lines(expected), &lines(found))
}

fn match_lines(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "..." => (0..=found.len()).any(|n| match_lines(rest, &found[n..])),
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, others)| match_line(first, line) && match_lines(rest, others)),
    }
}

/// Compares a line: `<any>` is any text, `<number>` a number, `<time>` a duration with its unit.
fn match_line(expected: &str, found: &str) -> bool {
    if let Some(rest) = expected.strip_prefix("<any>") {
        let ends = found.char_indices().map(|(at, _)| at).chain([found.len()]);
        return ends.into_iter().any(|at| match_line(rest, &found[at..]));
    }
    if let Some(rest) = expected.strip_prefix("<number>") {
        return after_number(found).is_some_and(|found| match_line(rest, found));
    }
    if let Some(rest) = expected.strip_prefix("<time>") {
        let unit = |text: &str| UNITS.iter().find_map(|u| text.strip_prefix(u).map(str::to_owned));
        let after = after_number(found).and_then(|text| unit(text.trim_start()));
        return after.is_some_and(|found| match_line(rest, &found));
    }
    match (expected.chars().next(), found.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => match_line(&expected[a.len_utf8()..], &found[b.len_utf8()..]),
        _ => false,
    }
}

/// The text after a number such as `17` or `1.25`.
fn after_number(text: &str) -> Option<&str> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(text);
    if whole == 0 {
        return None;
    }
    let rest = &text[whole..];
    match rest.strip_prefix('.').map(|fraction| (fraction, digits(fraction))) {
        Some((fraction, n)) if n > 0 => Some(&fraction[n..]),
        _ => Some(rest),
    }
}

#[test]
fn symbols_stand_for_values_and_nothing_else() {
    assert!(matches("  a   b\n", "a b"));
    assert!(matches("<number> <time> x <any> y", "12  1.25 µs x 1 2 3 y\n"));
    assert!(matches("<time>|<time>", "0 ns|3.1s"));
    assert!(!matches("<time>", "12"));
    assert!(!matches("<number>", "1.2.3"));
    assert!(!matches("<number>", "x"));
    assert!(matches("a<any>", "a"));
    assert!(!matches("a", "a\nb"));
    assert!(!matches("a\nb", "a"));
}

#[test]
fn an_ellipsis_stands_for_lines() {
    assert!(matches("...\nb\n...", "a\nb\nc\nd"));
    assert!(matches("a\n...\nb", "a\nb"));
    assert!(!matches("...\nb\n...", "a\nc"));
    assert!(!matches("a...", "a\nb"));
}
