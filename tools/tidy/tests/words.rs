//! The prose avoids the words that `docs/src/style.md` bans.
use std::{fs, path::Path};

use tidy::{files, root, sources};

/// Lower case. A space matches white space and line ends of comments.
const BANNED: &[&str] = &[
    "told",
    "tell",
    "tells",
    "so many",
    "so much",
    "behind",
    "met",
    "whoever",
    "whatever",
    "whichever",
    "of late",
    "goes on",
    "go on",
    "gone on",
    "going on",
    "everybody",
    "nobody",
    "meanwhile",
    "dear",
    "shall",
    "mend",
    "mends",
    "mended",
    "has to",
    "have to",
];

/// Words that stand in texts of TiKV, RocksDB or a protocol, with the text that the line holds.
const ALLOWED: &[(&str, &str)] = &[
    ("of late", "of late stamps"),
    ("behind", "fall behind"),
    ("behind", "falls behind"),
    ("behind", "fell behind"),
    ("behind", "falling behind"),
    ("met", "tikv_gc_compaction_filter_mvcc_deletion_met"),
];

/// Files whose subject is the words, or whose text is not ours.
const SKIPPED: &[&str] = &["docs/src/style.md", "tools/tidy/tests/words.rs", "LICENSE"];

#[test]
fn no_text_has_a_banned_word() {
    let root = root().unwrap();
    let mut found = Vec::new();
    for path in files(&root, &["rs", "md", "toml", "txt", "sh", "proto", "go", "py", "java", "ts"]).unwrap() {
        let name = path.strip_prefix(&root).unwrap();
        if SKIPPED.iter().any(|s| name == Path::new(s)) || is_foreign(name) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        for (n, line) in text.lines().enumerate() {
            found.extend(
                banned(line).map(|word| format!("{}:{}: {word}: {}", name.display(), n + 1, line.trim())),
            );
        }
    }
    assert!(
        found.is_empty(),
        "{} lines have words to avoid; docs/src/style.md lists words to use instead:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Words at the start of a doc comment that leave its subject open.
const OPEN_STARTS: &[&str] =
    &["What", "How", "Who", "Where", "When", "Its", "Their", "It", "They", "These", "Those"];

#[test]
fn docs_begin_with_their_subject_or_a_verb() {
    let mut found = Vec::new();
    for (path, text) in sources().unwrap() {
        let mut before = "";
        for (n, line) in text.lines().map(str::trim).enumerate() {
            let doc = ["///", "//!"].iter().find_map(|mark| line.strip_prefix(mark)).map(str::trim);
            let continues = before.starts_with("///") || before.starts_with("//!");
            before = line;
            let Some(doc) = doc.filter(|_| !continues) else { continue };
            if OPEN_STARTS.iter().any(|word| doc.split(' ').next() == Some(*word)) {
                found.push(format!("{}:{}: {doc}", path.display(), n + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "expected doc comments that begin with a verb or a noun, found {}; see docs/src/style.md:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn names_of_tests_have_at_most_60_characters() {
    let mut found = Vec::new();
    for (path, text) in sources().unwrap() {
        let mut is_test = false;
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) else { continue };
            is_test = false;
            let name = name.split(['(', '<']).next().unwrap_or(name);
            if name.len() > 60 {
                found.push(format!("{}: {name}: {} characters", path.display(), name.len()));
            }
        }
    }
    assert!(found.is_empty(), "{} names of tests; name the claim only:\n{}", found.len(), found.join("\n"));
}

/// Test data that other programs wrote, and the wire's definitions.
fn is_foreign(path: &Path) -> bool {
    let text = path.to_string_lossy();
    ["testdata/", "tests/data/", "kvproto/proto/"].iter().any(|folder| text.contains(folder))
}

fn banned(line: &str) -> impl Iterator<Item = &'static str> {
    let line = line.to_lowercase();
    BANNED.iter().copied().filter(move |word| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '\'');
            !inside(before) && !inside(after)
        }) && !ALLOWED.iter().any(|(w, text)| w == word && line.contains(text))
    })
}

#[test]
fn a_word_inside_of_another_is_not_banned() {
    assert_eq!(banned("metric method telling behindhand").count(), 0);
    assert_eq!(banned("// Nobody is told_twice").collect::<Vec<_>>(), ["told", "nobody"]);
    assert_eq!(banned("it falls behind").count(), 0);
}
