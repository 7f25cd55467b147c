//! Gecko's own form, before the viewer processes it: rows with a schema, frames as text.
use serde_json::Value;

use super::tables::{FrameTable, FuncTable, Rows, Samples, StackTable, Thread};
use crate::json::{Index, List, Number, Text};

/// Converts a thread's tables to columns if necessary.
pub(super) fn process(thread: &mut Thread) {
    if thread.string_array.0.is_empty() {
        thread.string_array = std::mem::take(&mut thread.string_table);
    }
    if let Some(rows) = thread.stack_table.0.as_mut().and_then(StackTable::rows) {
        let (prefix, frame) = (indexes(&rows, "prefix"), indexes(&rows, "frame"));
        thread.stack_table.0 = Some(StackTable { prefix, frame, ..StackTable::default() });
    }
    if let Some(rows) = thread.samples.0.as_mut().and_then(Samples::rows) {
        let (stack, time) = (indexes(&rows, "stack"), numbers(&rows, "time"));
        thread.samples.0 = Some(Samples { stack, time, ..Samples::default() });
    }
    if let Some(rows) = thread.frame_table.0.as_mut().and_then(FrameTable::rows) {
        frames(thread, &rows);
    }
}

/// Makes a function of each frame; the profile merges equal ones.
fn frames(thread: &mut Thread, rows: &Rows) {
    let (mut lines, mut columns) = (indexes(rows, "line"), indexes(rows, "column"));
    let (mut names, mut files) = (List::default(), List::default());
    for (i, location) in rows.column("location").enumerate() {
        let text = index(location).0.and_then(|at| thread.string_array.0.get(at));
        let Some(place) = text.map(|text| split(&text.0)) else {
            names.0.push(index(location));
            files.0.push(Index(None));
            continue;
        };
        names.0.push(push(&mut thread.string_array, place.name));
        files.0.push(place.file.map_or(Index(None), |file| push(&mut thread.string_array, file)));
        for (known, found) in [(&mut lines, place.line), (&mut columns, place.column)] {
            if known.0[i].0.is_none() {
                known.0[i] = Index(found);
            }
        }
    }
    let func = (0..names.0.len()).map(|i| Index(Some(i))).collect();
    thread.func_table.0 = Some(FuncTable { name: names, file_name: files, ..FuncTable::default() });
    thread.frame_table.0 =
        Some(FrameTable { func: List(func), line: lines, column: columns, ..FrameTable::default() });
}

fn push(strings: &mut List<Text>, text: String) -> Index {
    strings.0.push(Text(text));
    Index(Some(strings.0.len() - 1))
}

struct Place {
    name: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
}

/// Splits `function (file:line:column)`, the form of JavaScript's frames; other locations are names as a
/// whole.
fn split(location: &str) -> Place {
    let whole = || Place { name: location.to_owned(), file: None, line: None, column: None };
    let inner = location.strip_suffix(')').and_then(|text| text.rsplit_once(" ("));
    let Some((name, mut file)) = inner.filter(|(name, _)| !name.is_empty()) else { return whole() };
    let mut numbers = Vec::new();
    while let Some((rest, n)) = file.rsplit_once(':').filter(|_| numbers.len() < 2) {
        let Ok(n) = n.parse() else { break };
        numbers.push(n);
        file = rest;
    }
    let (line, column) = match numbers[..] {
        [line] => (Some(line), None),
        [column, line] => (Some(line), Some(column)),
        _ => return whole(),
    };
    Place { name: name.to_owned(), file: Some(file.to_owned()), line, column }
}

fn indexes(rows: &Rows, name: &str) -> List<Index> {
    List(rows.column(name).map(index).collect())
}

fn numbers(rows: &Rows, name: &str) -> List<Number> {
    List(rows.column(name).map(|cell| serde_json::from_value(cell.clone()).unwrap_or_default()).collect())
}

fn index(cell: &Value) -> Index {
    serde_json::from_value(cell.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_with_a_line_is_split() {
        for (text, name, file, line, column) in [
            ("f (a.js:3:7)", "f", Some("a.js"), Some(3), Some(7)),
            ("f (http://x:80/a.js:3)", "f", Some("http://x:80/a.js"), Some(3), None),
            ("(root)", "(root)", None, None, None),
            ("operator() (in libxul)", "operator() (in libxul)", None, None, None),
            ("0x7f00aa10", "0x7f00aa10", None, None, None),
        ] {
            let place = split(text);
            assert_eq!(
                (place.name.as_str(), place.file.as_deref(), place.line, place.column),
                (name, file, line, column)
            );
        }
    }
}
