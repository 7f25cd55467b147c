//! The guide's pages fit together: anchors, table of contents, width, and blocks that run.
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tidy::{files, root};

/// Columns of a line of prose. Rows of tables and outputs of programs may be wider.
const MAX_COLUMNS: usize = 120;

/// The pages of the guide with their texts, the table of contents left out.
fn pages() -> Vec<(PathBuf, String)> {
    let all = files(&root().unwrap().join("docs/src"), &["md"]).unwrap();
    let pages = all.into_iter().filter(|path| !path.ends_with("SUMMARY.md"));
    pages.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// Title and file of each line in the table of contents.
fn contents() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().unwrap().join("docs/src/SUMMARY.md")).unwrap();
    let link = |line: &str| {
        let (title, rest) = line.split_once('[')?.1.split_once("](")?;
        Some((title.to_owned(), rest.split_once(')')?.0.to_owned()))
    };
    text.lines().filter_map(link).collect()
}

/// The lines of a page with the kind of their fenced block; none outside of a block.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, Option<&str>)> {
    let mut open: Option<(&str, &str)> = None;
    text.lines().enumerate().map(move |(n, line)| {
        let fence = &line[..line.len() - line.trim_start_matches('`').len()];
        match open {
            None if fence.len() > 2 => open = Some((fence, &line[fence.len()..])),
            Some((first, _)) if line == first => open = None,
            _ => return (n + 1, line, open.map(|(_, kind)| kind)),
        }
        (n + 1, line, Some(""))
    })
}

/// The ids that mdBook gives the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = lines(text).filter(|(_, line, block)| block.is_none() && line.starts_with('#'));
    headings.map(|(_, line, _)| anchor(line.trim_start_matches('#').trim())).collect()
}

/// The id of a heading: words in lower case, joined by `-`. A link counts with its text.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    for (n, part) in heading.split("](").enumerate() {
        text.push_str(if n == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) });
    }
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn an_anchor_is_that_of_mdbook() {
    assert_eq!(anchor("One round trip: `max_ts`, and 1PC"), "one-round-trip-max_ts-and-1pc");
    assert_eq!(anchor("See [the page](x.md) there"), "see-the-page-there");
}

#[test]
fn anchors_of_links_exist() {
    let mut lost = Vec::new();
    for (page, text) in pages() {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()?.split_once('#'));
        for (file, anchor) in links.filter(|(file, _)| !file.contains("://")) {
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            // A file that does not exist is the subject of another test.
            let Ok(text) = fs::read_to_string(&target) else { continue };
            if !anchors(&text).contains(anchor) {
                lost.push(format!("{}: expected a heading for {file}#{anchor}, found none", page.display()));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// mdBook writes README.md as index.html, but a link to it leads to README.html, which does not exist.
#[test]
fn no_link_names_the_first_page() {
    for (page, text) in pages() {
        let named = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let first = named.filter(|link| !link.contains("://")).find(|link| link.contains("README.md"));
        assert!(first.is_none(), "{}: expected a link to another page, found {first:?}", page.display());
    }
}

#[test]
fn table_of_contents_has_every_page_once() {
    let dir = root().unwrap().join("docs/src");
    let listed: Vec<PathBuf> = contents().into_iter().map(|(_, file)| dir.join(file)).collect();
    let unique: BTreeSet<&PathBuf> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "docs/src/SUMMARY.md lists a page twice");
    let written: Vec<PathBuf> = pages().into_iter().map(|(path, _)| path).collect();
    for path in &written {
        assert!(unique.contains(path), "docs/src/SUMMARY.md does not list {}", path.display());
    }
    for path in &listed {
        assert!(written.contains(path), "docs/src/SUMMARY.md lists {}, which does not exist", path.display());
    }
}

/// The parts that a page of each part of the table of contents must have. The pages of this toolkit have no such form.
fn form_of(part: &str) -> &'static [&'static str] {
    match part {
        "Get started" | "Contribute to TiKV" => &["fter this page you", "\nAs of tikv/"],
        part if part.starts_with("Understanding TiKV") => {
            &["fter this page you", "\nAs of tikv/", "\n## In TiKV\n", "\n## Try it\n", "\n```console\n"]
        }
        _ => &[],
    }
}

#[test]
fn pages_about_tikv_have_their_form() {
    let dir = root().unwrap().join("docs/src");
    let summary = fs::read_to_string(dir.join("SUMMARY.md")).unwrap();
    let (mut part, mut checked, mut lacking) = ("", 0, Vec::new());
    for line in summary.lines() {
        part = line.strip_prefix("# ").unwrap_or(part);
        let Some(file) = line.split_once("](").and_then(|(_, rest)| rest.split(')').next()) else { continue };
        let text = fs::read_to_string(dir.join(file)).unwrap();
        checked += usize::from(!form_of(part).is_empty());
        let lacks = form_of(part).iter().filter(|needed| !text.contains(**needed));
        lacking.extend(lacks.map(|needed| format!("docs/src/{file}: expected {needed:?}, found none")));
    }
    assert!(checked > 30, "expected the pages about TiKV, found {checked}");
    assert!(lacking.is_empty(), "docs/src/contribute/documents.md has the form:\n{}", lacking.join("\n"));
}

#[test]
fn missing_pages_are_not_in_the_table_of_contents() {
    let text = fs::read_to_string(root().unwrap().join("docs/src/missing.md")).unwrap();
    let titles: BTreeSet<String> = contents().into_iter().map(|(title, _)| title).collect();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let missing: Vec<&str> = rows.filter_map(|row| row.split('|').nth(2)).map(str::trim).collect();
    assert!(!missing.is_empty(), "docs/src/missing.md has no table");
    for title in missing {
        assert!(!titles.contains(title), "{title} is written: remove its row from docs/src/missing.md");
    }
}

#[test]
fn prose_has_at_most_120_columns() {
    let mut wide = Vec::new();
    for (page, text) in pages() {
        let wraps = |kind: Option<&str>, line: &str| match kind {
            None => !line.starts_with('|'),
            Some(kind) => kind == "sh",
        };
        let prose = lines(&text).filter(|(_, line, kind)| wraps(*kind, line));
        let found = prose.filter(|(_, line, _)| line.chars().count() > MAX_COLUMNS);
        wide.extend(found.map(|(n, line, _)| format!("{}:{n}: {}", page.display(), line.chars().count())));
    }
    assert!(
        wide.is_empty(),
        "expected up to {MAX_COLUMNS} columns, found more: wrap the lines\n{}",
        wide.join("\n")
    );
}

/// `cargo test -p tikv-tui --test try_it` runs the blocks of these kinds.
#[test]
fn blocks_below_try_it_are_of_a_kind_that_runs() {
    for (page, text) in pages() {
        let mut section = false;
        for (n, line, kind) in lines(&text) {
            if kind.is_none() && line.starts_with("## ") {
                section = line == "## Try it";
            }
            let fence = kind == Some("") && line.starts_with("```") && line.len() > 3;
            let runs = matches!(line.trim_start_matches('`'), "sh" | "console" | "text");
            assert!(
                !section || !fence || runs,
                "{}:{n}: expected a block of kind sh, console or text, found {line}",
                page.display()
            );
        }
    }
}

#[test]
fn a_picture_has_a_title() {
    for path in files(&root().unwrap().join("docs/src/pictures"), &["svg"]).unwrap() {
        assert!(
            has_title(&path),
            "{}: expected a <title>, which screen readers speak, found none",
            path.display()
        );
    }
}

fn has_title(path: &Path) -> bool {
    fs::read_to_string(path).unwrap().contains("<title>")
}
