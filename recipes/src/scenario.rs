//! Scenario files, modelled on etcd-raft's data-driven tests: a directive, `----`, and its expected output.
//!
//! ```text
//! title: A point get
//! about: A paragraph that explains the scenario; the guide prints it.
//!
//! put k1 v1
//! ----
//! ok
//! ```
//! Empty lines separate blocks. Lines before a directive that begin with `#` are its comment.
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Maximum size of a scenario file in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A parsed scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Path of the file, for error messages.
    pub path: PathBuf,
    /// File stem, e.g. `point_get`.
    pub name: String,
    /// The title, of one line.
    pub title: String,
    /// The subject of the scenario; may be empty.
    pub about: String,
    /// The directives in their order.
    pub blocks: Vec<Block>,
}

/// One directive and its expected output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// 1-based line of the directive.
    pub line: usize,
    /// The comment above the directive; may be empty.
    pub comment: String,
    /// The directive line as written.
    pub text: String,
    /// The words of the directive.
    pub words: Vec<String>,
    /// The expected output.
    pub expected: String,
}

/// A mistake in a scenario file.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {problem}", path.display())]
pub struct ScenarioError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The expected and the found text.
    pub problem: String,
}

impl Scenario {
    /// Reads and parses a scenario file.
    ///
    /// # Errors
    /// If the file cannot be read, is not a regular file or is too large; otherwise the first mistake in its text.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = read_text(path)
            .map_err(|e| anyhow::anyhow!("cannot read the scenario file {}: {e}", path.display()))?;
        Ok(Self::parse(path, &text)?)
    }

    /// Parses the text of a scenario file; `path` is for the name and error messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut scenario = Scenario {
            path: path.to_owned(),
            name,
            title: String::new(),
            about: String::new(),
            blocks: Vec::new(),
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut at = scenario.header(&lines);
        while at < lines.len() {
            if lines[at].trim().is_empty() {
                at += 1;
                continue;
            }
            at = scenario.block(&lines, at)?;
        }
        if scenario.blocks.is_empty() {
            return Err(scenario.error(
                lines.len().max(1),
                "expected at least one directive, e.g. `step get k1`, found none",
            ));
        }
        Ok(scenario)
    }

    /// Compares the output of a directive with the expected one; returns the mistake with file and line. None
    /// if they are equal or the file expects nothing.
    pub fn mismatch(&self, block: &Block, output: &str) -> Option<String> {
        if block.expected.is_empty() || block.expected == output {
            return None;
        }
        let (mut expected, mut found) = (block.expected.lines(), output.lines());
        let mut line = block.line + 1;
        loop {
            line += 1;
            match (expected.next(), found.next()) {
                (a, b) if a == b => {}
                (a, b) => {
                    let quoted = |l: Option<&str>| l.map_or("no further line".into(), |l| format!("`{l}`"));
                    let problem = format!("expected {} of `{}`, found {}", quoted(a), block.text, quoted(b));
                    return Some(self.error(line, problem).to_string());
                }
            }
        }
    }

    pub(crate) fn error(&self, line: usize, problem: impl Into<String>) -> ScenarioError {
        ScenarioError { path: self.path.clone(), line, problem: problem.into() }
    }

    /// Reads `title:` and `about:`; returns the line where blocks begin.
    fn header(&mut self, lines: &[&str]) -> usize {
        let mut at = 0;
        let mut in_about = false;
        while at < lines.len() && !lines[at].trim().is_empty() {
            if let Some(title) = lines[at].strip_prefix("title:") {
                self.title = title.trim().into();
            } else if let Some(about) = lines[at].strip_prefix("about:") {
                self.about = about.trim().into();
                in_about = true;
            } else if in_about && lines[at].starts_with(' ') {
                self.about.push(' ');
                self.about.push_str(lines[at].trim());
            } else {
                return at;
            }
            at += 1;
        }
        at
    }

    fn block(&mut self, lines: &[&str], mut at: usize) -> Result<usize, ScenarioError> {
        let mut comment = Vec::new();
        while at < lines.len() && lines[at].starts_with('#') {
            comment.push(lines[at].trim_start_matches('#').trim());
            at += 1;
        }
        if at == lines.len() || lines[at].trim().is_empty() {
            return Ok(at + 1);
        }
        let (line, text) = (at + 1, lines[at].trim());
        let words = split_words(text).map_err(|e| self.error(line, e))?;
        at += 1;
        if lines.get(at).map(|l| l.trim()) != Some("----") {
            let found = lines.get(at).map_or("the end of the file".into(), |l| format!("`{l}`"));
            return Err(
                self.error(at + 1, format!("expected `----` after the directive `{text}`, found {found}"))
            );
        }
        at += 1;
        let mut expected = String::new();
        while at < lines.len() && !lines[at].trim().is_empty() {
            expected.push_str(lines[at].trim_end());
            expected.push('\n');
            at += 1;
        }
        let text = text.to_owned();
        self.blocks.push(Block { line, comment: comment.join(" "), text, words, expected });
        Ok(at)
    }

    /// The text of the file with these outputs in place of the expected ones.
    pub fn rewrite(&self, original: &str, outputs: &[String]) -> String {
        let lines: Vec<&str> = original.lines().collect();
        let mut out = String::new();
        let mut at = 0;
        for (block, output) in self.blocks.iter().zip(outputs) {
            for line in &lines[at..block.line] {
                out.push_str(line);
                out.push('\n');
            }
            out.push_str("----\n");
            out.push_str(output);
            at = block.line + 1 + block.expected.lines().count();
        }
        for line in lines.get(at..).unwrap_or_default() {
            out.push_str(line);
            out.push('\n');
        }
        out
    }
}

/// Splits text at spaces, except between double quotes.
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if quoted {
        return Err(format!("expected a closing `\"` in `{text}`"));
    }
    if any {
        words.push(word);
    }
    Ok(words)
}

/// Reads a regular file: a device may have no end, and a pipe may never have a writer.
fn read_text(path: &Path) -> io::Result<String> {
    let wrong = |found: &str| {
        io::Error::other(format!("expected a regular file of up to {MAX_BYTES} bytes, found {found}"))
    };
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(wrong(if about.is_dir() { "a directory" } else { "a device, a pipe or a socket" }));
    }
    if about.len() > MAX_BYTES {
        return Err(wrong(&format!("{} bytes", about.len())));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "title: T\nabout: a\n b\n\n# why\nput k1 \"v 1\"\n----\nok\n\nget k1\n----\nv 1\n";

    #[test]
    fn parses_title_comment_words_and_output() {
        let s = Scenario::parse(Path::new("x/t.txt"), TEXT).unwrap();
        assert_eq!((s.name.as_str(), s.title.as_str(), s.about.as_str()), ("t", "T", "a b"));
        assert_eq!(s.blocks[0].words, ["put", "k1", "v 1"]);
        assert_eq!(s.blocks[0].comment, "why");
        assert_eq!(s.blocks[1].expected, "v 1\n");
        assert_eq!(s.blocks[1].line, 10);
    }

    #[test]
    fn a_parse_error_names_file_line_expected_and_found() {
        let e = Scenario::parse(Path::new("bad.txt"), "put k1 v1\nok\n").unwrap_err().to_string();
        assert_eq!(e, "bad.txt:2: expected `----` after the directive `put k1 v1`, found `ok`");
        let e = Scenario::parse(Path::new("bad.txt"), "put \"k1\n----\n").unwrap_err().to_string();
        assert_eq!(e, "bad.txt:1: expected a closing `\"` in `put \"k1`");
        assert!(
            Scenario::parse(Path::new("bad.txt"), "")
                .unwrap_err()
                .to_string()
                .contains("at least one directive")
        );
    }

    #[test]
    fn a_file_that_is_not_regular_or_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large.txt");
        std::fs::write(&large, TEXT).unwrap();
        assert_eq!(Scenario::read(&large).unwrap().title, "T");
        File::options().write(true).open(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let (zero, folder) = (Path::new("/dev/zero"), dir.path());
        for (path, found) in [(&*large, "1048577 bytes"), (folder, "a directory"), (zero, "a device")] {
            let error = Scenario::read(path).unwrap_err().to_string();
            assert!(error.contains("expected a regular file of up to 1048576 bytes"), "{error}");
            assert!(error.contains(&format!("found {found}")), "{error}");
        }
    }

    #[test]
    fn an_unexpected_output_is_reported_with_its_line() {
        let s = Scenario::parse(Path::new("t.txt"), TEXT).unwrap();
        assert_eq!(s.mismatch(&s.blocks[1], "v 1\n"), None);
        let mistake = s.mismatch(&s.blocks[1], "v 2\n").unwrap();
        assert_eq!(mistake, "t.txt:12: expected `v 1` of `get k1`, found `v 2`");
        let mistake = s.mismatch(&s.blocks[1], "v 1\nmore\n").unwrap();
        assert_eq!(mistake, "t.txt:13: expected no further line of `get k1`, found `more`");
        let open = Scenario::parse(Path::new("t.txt"), "get k1\n----\n").unwrap();
        assert_eq!(open.mismatch(&open.blocks[0], "v 1\n"), None, "an empty expectation accepts any output");
    }

    #[test]
    fn rewrite_changes_only_outputs() {
        let s = Scenario::parse(Path::new("t.txt"), TEXT).unwrap();
        assert_eq!(s.rewrite(TEXT, &["ok\n".into(), "v 1\n".into()]), TEXT);
        let changed = s.rewrite(TEXT, &["fine\nyes\n".into(), "v 2\n".into()]);
        assert_eq!(changed, TEXT.replace("ok", "fine\nyes").replace("\nv 1", "\nv 2"));
    }
}
