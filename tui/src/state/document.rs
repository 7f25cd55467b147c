//! The document of the source pane: our code at the stage or frame, or TiKV's function.
use std::path::PathBuf;

use tracepoints::{catalogue, trace::Step};

use super::{
    code,
    highlight::{CodeLine, highlight},
    index::index_of,
    tikv,
};

/// The input of a document; an equal key gives an equal document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Key {
    /// The source file, as the stamp or frame names it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The line is a stamp: the document shows the statement that its stage stands for.
    pub stamp: bool,
    /// The function with the stamp, if the line is the call of a function that only stamps.
    pub called: Option<String>,
    /// Show TiKV's function of this stage, from this checkout if there is one.
    pub tikv: Option<(String, Option<PathBuf>)>,
}

/// The contents of the source pane.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The title of the pane.
    pub title: String,
    /// Facts above the code: a name and a text.
    pub info: Vec<(&'static str, String)>,
    /// The code.
    pub lines: Vec<CodeLine>,
    /// The marked line, from 0.
    pub current: Option<usize>,
    /// The last line of the marked statement, from 0.
    pub last: usize,
    /// First and last lines of stamps, from 0.
    pub stamps: Vec<(usize, usize)>,
    /// Path and line for an editor.
    pub place: Option<(String, u32)>,
}

/// Loads a document; `info` explains missing source.
pub fn load(key: &Key, step: Option<&Step>) -> Document {
    match (&key.tikv, step) {
        (_, None) => Document { title: "Source".into(), ..Document::default() },
        (Some((_, checkout)), Some(step)) => tikv_document(step, checkout.as_ref()),
        (None, Some(_)) => own_document(key),
    }
}

fn own_document(key: &Key) -> Document {
    if key.file.is_empty() {
        let why = "the debug information names no file for this frame".to_owned();
        return Document { title: "no source".into(), info: vec![("source", why)], ..Document::default() };
    }
    let path = code::packed(&key.file).map_or(key.file.as_str(), |(name, _)| name);
    let statement = index_of(path).stamp_at(path, key.line).filter(|_| key.stamp).and_then(|s| s.statement);
    let (line, last) = statement.unwrap_or((key.line, key.line));
    let title = format!("{path}:{line}");
    let place = Some((path.to_owned(), line));
    match code::text(&key.file) {
        Ok(text) => {
            let lines = highlight(&text, path.ends_with(".rs"));
            let zero = |line: u32| line.saturating_sub(1) as usize;
            let stamps =
                index_of(path).stamps(path).iter().map(|s| (zero(s.lines.0), zero(s.lines.1))).collect();
            let called = key.called.iter();
            let info = called.map(|f| ("stage", format!("stamped in {f}, which is called here"))).collect();
            Document { title, info, lines, current: Some(zero(line)), last: zero(last), stamps, place }
        }
        Err(why) => {
            let why = format!("{why} and not packed into this binary");
            Document { title, info: vec![("source", why)], place, ..Document::default() }
        }
    }
}

fn tikv_document(step: &Step, checkout: Option<&PathBuf>) -> Document {
    let place = tikv::Place::parse(&step.tikv);
    let stage = catalogue::find(&step.stage);
    let repository = place.repository.as_deref().unwrap_or("tikv/tikv");
    let mut info = vec![("function", place.name()), ("file", format!("{repository} {}", place.file))];
    info.extend(stage.map(|s| ("meaning", s.meaning.to_owned())));
    info.extend(stage.filter(|s| !s.differs.is_empty()).map(|s| ("differs", s.differs.to_owned())));
    info.extend(stage.filter(|s| !s.metric.is_empty()).map(|s| ("metric", s.metric.to_owned())));
    info.push(("ours", format!("{} ({}:{})", step.function, step.file, step.line)));
    let title = format!("{} {}", place.whose(), place.name());
    let Some(root) = checkout else {
        info.push((
            "source",
            "start with --tikv-src DIR, a checkout of tikv/tikv, to show the function here".into(),
        ));
        return Document { title, info, ..Document::default() };
    };
    match tikv::find(root, &place) {
        Ok(found) => {
            let path = found.path.to_string_lossy().into_owned();
            info.retain(|(word, _)| matches!(*word, "meaning" | "differs" | "metric"));
            let rust = path.ends_with(".rs");
            Document {
                title: format!("TiKV {}:{} {}", place.file, found.line, place.name()),
                info,
                lines: highlight(&found.text, rust),
                current: Some(found.line.saturating_sub(1) as usize),
                last: found.line.saturating_sub(1) as usize,
                stamps: Vec::new(),
                place: Some((path, found.line)),
            }
        }
        Err(why) => {
            info.push(("source", why));
            Document { title, info, ..Document::default() }
        }
    }
}
