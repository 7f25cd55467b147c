//! OPTIONS files: the settings with which the database was last opened. A file is text:
//!
//! ```text
//! # a comment, up to the end of the line
//! [DBOptions]
//!   max_open_files=40960
//! [CFOptions "default"]
//!   write_buffer_size=134217728
//! ```
use std::path::{Path, PathBuf};

use super::decode_error::OptionsError;
use crate::{
    encryption::Keyring,
    io::{FileError, Result, read_whole},
};

/// A section of an OPTIONS file, such as `[CFOptions "default"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The name, such as `CFOptions`.
    pub name: String,
    /// The column family, such as `default`; empty for a section of the whole database.
    pub family: String,
    /// Names and values of the settings, in the order of the file.
    pub settings: Vec<(String, String)>,
}

impl Section {
    /// Returns the value of a setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the path of the newest OPTIONS file of `dir`.
pub fn newest(dir: &Path) -> Option<PathBuf> {
    let numbered = |path: PathBuf| {
        let number: u64 = path.file_name()?.to_str()?.strip_prefix("OPTIONS-")?.parse().ok()?;
        Some((number, path))
    };
    let entries = std::fs::read_dir(dir).ok()?;
    let paths = entries.filter_map(|entry| numbered(entry.ok()?.path()));
    paths.max().map(|(_, path)| path)
}

/// Reads the OPTIONS file at `path`.
pub fn read(path: &Path, keyring: &Keyring) -> Result<Vec<Section>> {
    let text = read_whole(path, keyring)?;
    parse(&String::from_utf8_lossy(&text)).map_err(|e| FileError::corrupt(path, e.offset, e))
}

/// Parses an OPTIONS file.
///
/// # Errors
/// The first line that is neither a section nor a setting.
pub fn parse(text: &str) -> std::result::Result<Vec<Section>, OptionsError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut offset = 0;
    for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
        let start = offset;
        offset += whole.len() as u64;
        let line = without_comment(whole).trim();
        if line.is_empty() {
            continue;
        }
        if let Some(inner) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (name, family) = inner.split_once(' ').unwrap_or((inner, ""));
            let family = family.trim().trim_matches('"').to_owned();
            sections.push(Section { name: name.to_owned(), family, settings: Vec::new() });
        } else if let (Some((name, value)), Some(section)) = (line.split_once('='), sections.last_mut()) {
            section.settings.push((name.trim().to_owned(), value.trim().to_owned()));
        } else {
            return Err(OptionsError { line: number, offset: start, found: line.to_owned() });
        }
    }
    Ok(sections)
}

/// Removes a comment; `\#` is a character of a value.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices('#').find(|(at, _)| !line[..*at].ends_with('\\'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Returns the text in a value, in which RocksDB writes a backslash before `\`, `#`, `:` and line ends.
fn unescaped(value: &str) -> String {
    let (mut out, mut chars) = (String::with_capacity(value.len()), value.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next().map(|c| match c {
                'n' => '\n',
                'r' => '\r',
                other => other,
            })),
            other => out.push(other),
        }
    }
    out
}

/// Returns the column families in the newest OPTIONS file of `dir`, in the order of their creation.
pub fn families(dir: &Path, keyring: &Keyring) -> Vec<String> {
    let sections = newest(dir).and_then(|path| read(&path, keyring).ok()).unwrap_or_default();
    sections.into_iter().filter(|section| section.name == "CFOptions").map(|section| section.family).collect()
}

/// Returns the directory of the logs by the newest OPTIONS file of `dir`, if it is not `dir` itself.
pub fn wal_dir(dir: &Path, keyring: &Keyring) -> Option<PathBuf> {
    let sections = read(&newest(dir)?, keyring).ok()?;
    let named = sections.iter().find(|section| section.name == "DBOptions")?.get("wal_dir")?;
    let named = PathBuf::from(unescaped(named));
    let same = std::fs::canonicalize(&named)
        .is_ok_and(|named| std::fs::canonicalize(dir).is_ok_and(|dir| named == dir));
    (!named.as_os_str().is_empty() && !same && named.as_path() != dir).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_sections_and_settings() {
        let text =
            "# comment\n[Version]\n  rocksdb_version=8.10.2\n\n[CFOptions \"write\"]\n  a=1 # x\n  b=\n";
        let all = parse(text).unwrap();
        assert_eq!(all[0].get("rocksdb_version"), Some("8.10.2"));
        assert_eq!((all[1].name.as_str(), all[1].family.as_str()), ("CFOptions", "write"));
        assert_eq!((all[1].get("a"), all[1].get("b"), all[1].get("c")), (Some("1"), Some(""), None));
        let odd = parse("[DBOptions]\n  wal_dir=/disk\\#1/a\\:b\\\\c # x\r\n").unwrap();
        assert_eq!(odd[0].get("wal_dir"), Some(r"/disk\#1/a\:b\\c"));
        assert_eq!(unescaped(r"/disk\#1/a\:b\\c\n"), "/disk#1/a:b\\c\n");
        let bad = OptionsError { line: 2, offset: 4, found: "nothing".into() };
        assert_eq!(parse("[a]\n nothing # x"), Err(bad));
        assert!(parse("x=1").is_err());
    }
}
