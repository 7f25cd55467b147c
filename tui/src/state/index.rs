//! The index of the packed sources: definitions, calls, and the statements that stages stand for. A thread extracts
//! it when the screen starts ([`prepare`]); until then, a file that is shown is indexed alone.
use std::{
    collections::HashMap,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use super::{code, outline};

/// A definition in a packed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// Path of the file.
    pub file: &'static str,
    /// `fn`, `struct`, `enum`, `variant`, `trait`, `const`, `static`, `type` or `macro`.
    pub kind: &'static str,
    /// The name.
    pub name: &'static str,
    /// The type or trait around a method, the enum of a variant; otherwise empty.
    pub owner: &'static str,
    /// The line of the name, from 1.
    pub line: u32,
    /// The last line.
    pub last: u32,
}

impl Definition {
    /// The name with its owner: `PointGetter::load_data`.
    pub fn title(&self) -> String {
        if self.owner.is_empty() { self.name.to_owned() } else { format!("{}::{}", self.owner, self.name) }
    }

    /// The file's crate: `engine/storage`.
    fn home(&self) -> &'static str {
        self.file.split("/src/").next().unwrap_or(self.file)
    }

    fn is_function(&self) -> bool {
        self.kind == "fn"
    }
}

/// A call in a packed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Path of the file.
    pub file: &'static str,
    /// The called name.
    pub name: &'static str,
    /// The type or module before `::`, `self` for a method of `self`, `.` for another method, `!` for a macro.
    pub qualifier: &'static str,
    /// The line, from 1.
    pub line: u32,
}

/// A stamp, and the statement that its stage stands for. Lines are from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// First and last line of the stamp.
    pub lines: (u32, u32),
    /// First and last line of the statement; None if it is the caller's.
    pub statement: Option<(u32, u32)>,
}

/// The index of all packed files.
#[derive(Debug, Default)]
pub struct Index {
    definitions: Vec<Definition>,
    calls: Vec<Call>,
    by_name: HashMap<&'static str, Vec<usize>>,
    /// Functions of a file, by their line.
    functions: HashMap<&'static str, Vec<usize>>,
    stamps: HashMap<&'static str, Vec<Stamp>>,
}

static INDEX: OnceLock<Index> = OnceLock::new();

/// The index of this program's packed files. The first call takes about a second.
pub fn index() -> &'static Index {
    INDEX.get_or_init(|| Index::read(outline::packed().leak()))
}

/// Extracts the index in a thread, so that a question about the code does not wait for it.
pub fn prepare() {
    let started = thread::Builder::new().name("source-index".into()).spawn(|| {
        index();
    });
    // Without the thread, the first question extracts it.
    drop(started);
}

/// The index of the packed files if it is ready, otherwise that of the file at `path` alone: empty if it is not packed.
pub fn index_of(path: &str) -> &'static Index {
    static EMPTY: OnceLock<Index> = OnceLock::new();
    static ALONE: Mutex<Option<HashMap<&'static str, &'static Index>>> = Mutex::new(None);
    if let Some(all) = INDEX.get() {
        return all;
    }
    let Some((name, text)) = code::packed(path) else { return EMPTY.get_or_init(Index::default) };
    let mut alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let alone = alone.get_or_insert_default();
    alone.entry(name).or_insert_with(|| Box::leak(Box::new(Index::read(outline::of_file(name, text).leak()))))
}

impl Index {
    fn read(outline: &'static str) -> Self {
        let mut index = Self::default();
        let mut file = "";
        for line in outline.lines() {
            let mut fields = line.split('\t');
            let mut text = || fields.next().unwrap_or_default();
            match text() {
                "f" => file = text(),
                "d" => {
                    let (kind, name, owner) = (text(), text(), text());
                    let (line, last) = (number(text()), number(text()));
                    index.define(Definition { file, kind, name, owner, line, last });
                }
                "c" => {
                    let (name, qualifier, line) = (text(), text(), number(text()));
                    index.calls.push(Call { file, name, qualifier, line });
                }
                "s" => {
                    let lines = (number(text()), number(text()));
                    let (from, to) = (number(text()), number(text()));
                    let statement = (from > 0).then_some((from, to));
                    index.stamps.entry(file).or_default().push(Stamp { lines, statement });
                }
                _ => {}
            }
        }
        index
    }

    fn define(&mut self, definition: Definition) {
        let at = self.definitions.len();
        self.by_name.entry(definition.name).or_default().push(at);
        if definition.is_function() {
            self.functions.entry(definition.file).or_default().push(at);
        }
        self.definitions.push(definition);
    }

    /// The stamps of a packed file.
    pub fn stamps(&self, file: &str) -> &[Stamp] {
        self.stamps.get(file).map_or(&[], Vec::as_slice)
    }

    /// The stamp at a line of a packed file.
    pub fn stamp_at(&self, file: &str, line: u32) -> Option<Stamp> {
        self.stamps(file).iter().find(|s| (s.lines.0..=s.lines.1).contains(&line)).copied()
    }

    /// The innermost function around a line; `file` may be a longer path, as debug information has.
    pub fn enclosing(&self, file: &str, line: u32) -> Option<&Definition> {
        let (file, _) = code::packed(file)?;
        let around = |d: &&Definition| d.line <= line && line <= d.last;
        let functions = self.functions.get(file)?.iter().map(|i| &self.definitions[*i]);
        functions.filter(around).max_by_key(|d| d.line)
    }

    /// Whether there is a definition of this name.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The definitions that a name can mean at a place: those that fit best. `qualifier` is that of a [`Call`].
    pub fn targets(&self, name: &str, qualifier: &str, file: &str, line: u32) -> Vec<&Definition> {
        let here = self.enclosing(file, line);
        let owner = here.map_or("", |d| d.owner);
        let home: &str = match here {
            Some(d) => d.home(),
            None => file.split("/src/").next().unwrap_or(file),
        };
        let all = self.by_name.get(name).into_iter().flatten().map(|i| &self.definitions[*i]);
        let scored = all.filter_map(|d| Some((distance(d, qualifier, owner)?, nearness(d, file, home), d)));
        let mut scored: Vec<_> = scored.collect();
        let Some(best) = scored.iter().map(|(fit, near, _)| (*fit, *near)).min() else { return Vec::new() };
        scored.retain(|(fit, near, _)| (*fit, *near) == best);
        scored.into_iter().map(|(_, _, d)| d).collect()
    }

    /// The calls that can mean this function, in the order of files.
    pub fn callers(&self, function: &Definition) -> Vec<Call> {
        let fits = |call: &&Call| {
            let owner = || self.enclosing(call.file, call.line).map_or("", |d| d.owner);
            call.name == function.name && distance(function, call.qualifier, owner()).is_some_and(|d| d < FAR)
        };
        self.calls.iter().filter(fits).copied().collect()
    }
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or(0)
}

/// A distance that only the name supports.
const FAR: u32 = 4;

/// The distance between a name with its qualifier, used in a function of `owner`, and a definition; None if it
/// cannot mean the definition.
fn distance(d: &Definition, qualifier: &str, owner: &str) -> Option<u32> {
    let module = d.file.trim_end_matches(".rs").rsplit('/').next().unwrap_or_default();
    match qualifier {
        "!" => (d.kind == "macro").then_some(0),
        _ if d.kind == "macro" => None,
        "self" | "Self" if d.owner == owner && !owner.is_empty() => Some(0),
        "self" => (d.is_function() && !d.owner.is_empty()).then_some(2),
        "." => (d.is_function() && !d.owner.is_empty()).then_some(1),
        "" => Some(if d.owner.is_empty() { 0 } else { FAR }),
        _ if d.owner == qualifier => Some(0),
        _ if d.owner.is_empty() && (module == qualifier || d.file.contains(&format!("/{qualifier}/"))) => {
            Some(1)
        }
        _ if d.owner.is_empty() && qualifier.starts_with(|c: char| c.is_lowercase()) => Some(2),
        _ => Some(FAR),
    }
}

fn nearness(d: &Definition, file: &str, home: &str) -> u32 {
    match () {
        () if d.file == file => 0,
        () if d.home() == home => 1,
        () => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GETTER: &str = "engine/storage/src/mvcc/reader/point_getter.rs";

    fn line_of(file: &str, text: &str) -> u32 {
        let (_, source) = code::packed(file).unwrap();
        let at =
            source.lines().position(|l| l.contains(text)).unwrap_or_else(|| panic!("no line with {text}"));
        at as u32 + 1
    }

    #[test]
    fn a_stamp_stands_for_the_statement_after_it() {
        let at = line_of(GETTER, "step_thread!(LOCK_CF_GET");
        let stamp = index().stamp_at(GETTER, at).unwrap();
        let read = line_of(GETTER, "get_cf(CF_LOCK, user_key)");
        assert_eq!(stamp.statement, Some((read, read + 3)), "a counter between them is skipped");
    }

    #[test]
    fn a_gate_stands_for_the_statement_after_it() {
        let file = "engine/raftstore/src/store/fsm/peer/run.rs";
        let stamp = index().stamp_at(file, line_of(file, "gate_run!(self, RAFT_COMMIT, run)")).unwrap();
        let after = line_of(file, "gate_run!(self, RAFT_COMMIT, run)") + 1;
        assert_eq!(stamp.statement, Some((after, after + 6)));
    }

    #[test]
    fn a_function_that_only_stamps_stands_for_its_caller() {
        let stamp = index().stamp_at(GETTER, line_of(GETTER, "WRITE_CF_FOUND,")).unwrap();
        assert_eq!(stamp.statement, None);
    }

    #[test]
    fn a_line_belongs_to_its_innermost_function() {
        let at = line_of(GETTER, "get_cf(CF_LOCK, user_key)");
        let found = index().enclosing(&format!("/somewhere/{GETTER}"), at).unwrap();
        assert_eq!(found.title(), "PointGetter::load_and_check_lock");
        assert_eq!(index().enclosing(GETTER, 1), None);
        assert_eq!(index().enclosing("no/such/file.rs", 1), None);
    }

    #[test]
    fn a_name_finds_its_definition() {
        let at = line_of(GETTER, "self.load_data(user_key)?");
        let found = index().targets("load_data", "self", GETTER, at);
        assert_eq!(found.iter().map(|d| d.title()).collect::<Vec<_>>(), ["PointGetter::load_data"]);
        let found = index().targets("parse_lock", "txn_types", GETTER, at);
        assert_eq!((found.len(), found[0].kind), (1, "fn"));
        let found = index().targets("stamp", "!", GETTER, at);
        assert_eq!(found.iter().map(|d| d.file).collect::<Vec<_>>(), ["tracepoints/core/src/macros.rs"]);
        assert!(index().targets("no_such_name", "", GETTER, at).is_empty());
    }

    #[test]
    fn callers_of_a_function_are_found() {
        let load =
            index().targets("load_data", "self", GETTER, line_of(GETTER, "self.load_data(user_key)?"))[0];
        let callers = index().callers(load);
        let titles: Vec<_> =
            callers.iter().filter_map(|c| index().enclosing(c.file, c.line)).map(|d| d.title()).collect();
        assert!(titles.contains(&"PointGetter::get_entry".to_owned()), "{titles:?}");
    }

    #[test]
    fn code_of_tests_is_not_in_the_index() {
        assert!(index().definitions.iter().all(|d| !d.file.contains("/tests/")));
        assert!(!index().has("a_stamp_stands_for_the_statement_after_it"));
    }
}
