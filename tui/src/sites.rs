//! The lines of the project's sources that are stages, found in the sources of this binary.
use std::{collections::BTreeMap, ops::RangeInclusive, sync::OnceLock};

use rustc_lexer::{FrontmatterAllowed, TokenKind, tokenize};
use tracepoints::{Stage, catalogue::STAGES};

use crate::state::code;

/// A line that is a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file, relative to the project's root.
    pub file: &'static str,
    /// The line of the stamp.
    pub line: u32,
    /// The last line of the stamp's arguments.
    pub end: u32,
    /// The name of the stage.
    pub stage: &'static str,
    /// The function, with its type: `PointGetter::load_data`.
    pub function: String,
}

impl Site {
    /// Whether a path is the site's file: relative to the project's root, or longer, as debug information has.
    pub fn is_in(&self, path: &str) -> bool {
        path.strip_suffix(self.file).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    }
}

/// A function and its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The name, with its type.
    pub name: String,
    /// From its name to its closing brace.
    pub lines: RangeInclusive<u32>,
}

/// The stages and functions of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSites {
    /// By line.
    pub sites: Vec<Site>,
    /// By their first line.
    pub functions: Vec<Function>,
}

impl FileSites {
    /// The innermost function around a line.
    pub fn function_at(&self, line: u32) -> Option<&Function> {
        self.functions.iter().rfind(|f| f.lines.contains(&line))
    }
}

/// All files with a stage, by their path.
pub fn all() -> &'static BTreeMap<&'static str, FileSites> {
    static ALL: OnceLock<BTreeMap<&'static str, FileSites>> = OnceLock::new();
    ALL.get_or_init(|| {
        let ours = |path: &&str| {
            !["/tests/", "/tests.rs", "/benches/", "/examples/"].iter().any(|t| path.contains(t))
        };
        let files = code::packed_files().filter(ours).filter_map(code::packed);
        files
            .map(|(path, text)| (path, parse(path, text)))
            .filter(|(_, found)| !found.sites.is_empty())
            .collect()
    })
}

/// All lines that are stages.
pub fn sites() -> impl Iterator<Item = &'static Site> {
    all().values().flat_map(|file| &file.sites)
}

/// Finds the stages and functions of a file of the project by its path or a longer path that ends with it.
pub fn of_file(path: &str) -> Option<(&'static str, FileSites)> {
    let (name, text) = code::packed(path)?;
    Some((name, all().get(name).cloned().unwrap_or_else(|| parse(name, text))))
}

fn stage_of(word: &str) -> Option<&'static Stage> {
    let upper = word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    upper.then(|| STAGES.iter().find(|s| s.name.eq_ignore_ascii_case(word))).flatten()
}

/// Whether a macro of this name stamps the stage in its arguments.
fn stamps(name: &str) -> bool {
    ["stamp", "step", "gate"].iter().any(|part| name.contains(part))
}

/// An open brace, bracket or parenthesis.
#[derive(Default)]
struct Open {
    /// The macro whose arguments it opens, with the line of its name.
    invoked: Option<(String, u32)>,
    /// The contents are a macro's definition or a test.
    skipped: bool,
    /// The type of an `impl` or `trait`.
    owner: Option<String>,
    /// The index of the function that it is the body of.
    function: Option<usize>,
    /// The stamps in the arguments that it opens.
    sites: Vec<usize>,
}

/// Reads a file by its tokens.
#[derive(Default)]
struct Parser {
    found: FileSites,
    open: Vec<Open>,
    /// The words since the last brace or semicolon, to recognise `impl` and `fn`.
    head: Vec<String>,
    /// The name and line of a function whose body is awaited.
    awaited: Option<(String, u32)>,
    /// The line of the newest word.
    last_word: u32,
    /// The next item is for tests only.
    test: bool,
}

fn parse(path: &'static str, text: &'static str) -> FileSites {
    let mut parser = Parser::default();
    let (mut at, mut line) = (0, 1u32);
    for token in tokenize(text, FrontmatterAllowed::No) {
        let piece = &text[at..at + token.len as usize];
        at += token.len as usize;
        match token.kind {
            TokenKind::Whitespace | TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => {}
            TokenKind::OpenBrace | TokenKind::OpenParen | TokenKind::OpenBracket => parser.enter(piece),
            TokenKind::CloseBrace | TokenKind::CloseParen | TokenKind::CloseBracket => parser.leave(line),
            TokenKind::Semi => parser.end_of_statement(),
            TokenKind::Ident => parser.word(path, piece, line),
            _ => parser.head.push(piece.to_owned()),
        }
        line += piece.matches('\n').count() as u32;
    }
    parser.found.functions.sort_by_key(|f| *f.lines.start());
    parser.found
}

impl Parser {
    fn word(&mut self, path: &'static str, word: &str, line: u32) {
        let skipped = self.open.iter().any(|o| o.skipped);
        if self.head.last().is_some_and(|before| before == "fn") && !skipped {
            self.awaited = Some((word.to_owned(), line));
        }
        if self.head.ends_with(&["#".into(), "[".into(), "cfg".into(), "(".into()]) && word == "test" {
            self.test = true;
        }
        let inside =
            self.open.iter().rev().find_map(|o| o.function).map(|i| self.found.functions[i].name.clone());
        let invoked = self.open.iter_mut().rev().find(|o| o.invoked.is_some());
        if let (Some(open), Some(stage), false) = (invoked, stage_of(word), skipped)
            && let Some((name, at)) = &open.invoked
            && stamps(name)
        {
            let function = inside.unwrap_or_default();
            open.sites.push(self.found.sites.len());
            self.found.sites.push(Site { file: path, line: *at, end: line, stage: stage.name, function });
        }
        self.head.push(word.to_owned());
        self.last_word = line;
    }

    fn enter(&mut self, piece: &str) {
        let words: Vec<&str> = self.head.iter().map(String::as_str).collect();
        let mut open = Open::default();
        if let [.., name, "!"] = words.as_slice() {
            open.invoked = Some(((*name).to_owned(), self.last_word));
        }
        open.skipped = words.contains(&"macro_rules");
        if piece == "{" {
            open.skipped |= std::mem::take(&mut self.test);
            if let Some((name, line)) = self.awaited.take() {
                let owner = self.open.iter().rev().find_map(|o| o.owner.as_ref());
                let name = owner.map_or(name.clone(), |owner| format!("{owner}::{name}"));
                open.function = Some(self.found.functions.len());
                self.found.functions.push(Function { name, lines: line..=line });
            } else {
                open.owner = owner(&words);
            }
            self.head.clear();
        } else {
            self.head.push(piece.to_owned());
        }
        self.open.push(open);
    }

    fn leave(&mut self, line: u32) {
        let Some(closed) = self.open.pop() else { return };
        closed.sites.iter().for_each(|site| self.found.sites[*site].end = line);
        if let Some(function) = closed.function {
            let first = *self.found.functions[function].lines.start();
            self.found.functions[function].lines = first..=line;
            self.head.clear();
        }
        self.head.push(")".into());
    }

    fn end_of_statement(&mut self) {
        self.awaited = None;
        self.test = false;
        self.head.clear();
    }
}

/// The type of `impl Trait for Type<T> where ..` or of a trait.
fn owner(words: &[&str]) -> Option<String> {
    let start = words.iter().rposition(|w| matches!(*w, "impl" | "trait"))?;
    let (mut depth, mut name) = (0i32, None);
    for word in &words[start + 1..] {
        match *word {
            "<" => depth += 1,
            ">" => depth -= 1,
            "where" => break,
            "for" if depth <= 0 => name = None,
            w if depth <= 0 && w.starts_with(|c: char| c.is_alphabetic()) => name = Some(w.to_owned()),
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "macro_rules! gate { ($s:ident) => { step!(MVCC_GET, 1) } }\n\
        impl<S: Snap> Get for PointGetter<S> where S: B {\n    fn get(&self) {\n        tracepoints::step_thread!(\n            \
        MVCC_GET,\n            req,\n        );\n    }\n    async fn load(&self) -> u8 {\n        let x = { 1 };\n        \
        run!(gate!(self, LOCK_CF_GET, x));\n        matches!(s, stage::READ_DONE);\n        x\n    }\n    fn none();\n}\n\
        #[cfg(test)]\nmod tests {\n    fn t() { stamp!(READ_DONE, r); }\n}\n";

    #[test]
    fn stamps_are_found_with_their_line_and_function() {
        let found = parse("x.rs", TEXT);
        let sites: Vec<_> = found.sites.iter().map(|s| (s.line, s.stage, s.function.as_str())).collect();
        assert_eq!(sites, [(4, "mvcc_get", "PointGetter::get"), (11, "lock_cf_get", "PointGetter::load")]);
        let function = found.function_at(13).unwrap();
        assert_eq!((function.name.as_str(), &function.lines), ("PointGetter::load", &(9..=14)));
        assert_eq!(found.function_at(1), None);
    }

    #[test]
    fn every_stage_has_a_line() {
        let missing: Vec<&str> =
            STAGES.iter().map(|s| s.name).filter(|name| !sites().any(|site| site.stage == *name)).collect();
        assert!(missing.is_empty(), "no line for {missing:?}");
    }
}
