//! Source files: the user's copy if it is the one of this binary, else the text from this binary.
use std::collections::HashMap;

use serde_json::{Value, json};

use super::types::Source;
use crate::{sites, state::code};

/// The sources that were named so far.
#[derive(Debug, Default)]
pub struct Sources {
    known: HashMap<String, Source>,
}

impl Sources {
    /// The source of a file, as a stamp or the debug information names it.
    pub fn source_of(&mut self, file: &str) -> Option<Source> {
        if file.is_empty() {
            return None;
        }
        Some(self.known.entry(file.to_owned()).or_insert_with(|| find(file)).clone())
    }

    /// Whether a file is of this project.
    pub fn is_ours(file: &str) -> bool {
        code::packed(file).is_some()
    }
}

fn find(file: &str) -> Source {
    let name = Some(file.rsplit('/').next().unwrap_or(file).to_owned());
    let on_disk = code::on_disk(file);
    let Some((packed, text)) = code::packed(file) else {
        let path = on_disk.map(|path| path.to_string_lossy().into_owned());
        let presentation_hint = Some("deemphasize".into());
        return Source { name, path, presentation_hint, ..Source::default() };
    };
    // A changed copy has other lines than the running code.
    if let Some(path) = on_disk.or_else(|| code::on_disk(packed))
        && code::read(&path).is_ok_and(|there| there == text)
    {
        return Source { name, path: Some(path.to_string_lossy().into_owned()), ..Source::default() };
    }
    packed_source(packed)
}

fn packed_source(packed: &'static str) -> Source {
    Source {
        name: Some(packed.rsplit('/').next().unwrap_or(packed).to_owned()),
        path: Some(packed.to_owned()),
        source_reference: code::packed_files().position(|p| p == packed).map(|i| i as i64 + 1),
        origin: Some("packed into tikv-tui".into()),
        ..Source::default()
    }
}

/// The text of a source.
///
/// # Errors
/// A sentence if it is neither in this binary nor on this disk.
pub fn text(reference: i64, source: &Source) -> Result<Value, String> {
    let reference = if reference > 0 { reference } else { source.source_reference.unwrap_or(0) };
    let path = match usize::try_from(reference).ok().and_then(|n| n.checked_sub(1)) {
        Some(n) => code::packed_files().nth(n).map(str::to_owned),
        None => source.path.clone(),
    };
    let path = path.ok_or_else(|| {
        format!(
            "expected the number of a source that this adapter named, found {reference}: ask the stack again"
        )
    })?;
    let content = match code::text(&path) {
        // Only the project's own files have another reader than the client itself.
        Ok(text) if Sources::is_ours(&path) => text,
        _ => return Err(format!("{path} is not packed into this binary: open it from the disk")),
    };
    Ok(json!({ "content": content, "mimeType": "text/x-rust" }))
}

/// The files with a stage.
pub fn loaded(sources: &mut Sources) -> Value {
    let all: Vec<Source> = sites::all().keys().filter_map(|path| sources.source_of(path)).collect();
    json!({ "sources": all })
}

/// The crates of this binary whose sources it contains.
pub fn modules(start: usize, count: usize) -> Value {
    let mut crates: Vec<String> = code::packed_files().map(crate_of).collect();
    crates.sort();
    crates.dedup();
    let total = crates.len();
    let count = if count == 0 { total } else { count };
    let module = |name: String| json!({ "id": name, "name": name, "version": env!("CARGO_PKG_VERSION"), "isUserCode": true, "symbolStatus": "sources packed into tikv-tui" });
    let shown: Vec<Value> = crates.into_iter().skip(start).take(count).map(module).collect();
    json!({ "modules": shown, "totalModules": total })
}

/// The folder of the crate of a file.
pub fn crate_of(file: &str) -> String {
    let file = code::packed(file).map_or(file, |(path, _)| path);
    for mark in ["/src/", "/tests/", "/benches/", "/examples/", "/build.rs"] {
        if let Some((folder, _)) = file.split_once(mark) {
            return folder.to_owned();
        }
    }
    file.split('/').next().unwrap_or(file).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_on_disk_comes_from_the_binary() {
        let name = "engine/storage/src/mvcc/reader/point_getter.rs";
        let source = packed_source(sites::all().get_key_value(name).unwrap().0);
        let content = text(source.source_reference.unwrap(), &Source::default()).unwrap();
        assert!(content["content"].as_str().unwrap().contains("impl"));
        assert!(text(99_999, &Source::default()).unwrap_err().contains("found 99999"));
        let passwd = Source { path: Some("/etc/passwd".into()), ..Source::default() };
        assert!(text(0, &passwd).unwrap_err().contains("not packed"), "the client reads other files itself");
        let here = Sources::default().source_of(name).unwrap();
        assert!(here.path.unwrap().ends_with(name));
    }

    #[test]
    fn modules_are_the_crates() {
        let all = modules(0, 0);
        assert!(all["modules"].as_array().unwrap().iter().any(|m| m["id"] == "engine/raftstore"));
        assert_eq!(modules(1, 2)["modules"].as_array().unwrap().len(), 2);
        assert_eq!(crate_of("tokio-1.48.0/src/runtime/x.rs"), "tokio-1.48.0");
    }
}
