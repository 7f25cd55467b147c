//! A cache of resolved symbols on disk: one text file per build id; the oldest are removed when the total is
//! too large.
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    file::Located,
    lookup::{Names, SymbolFrame},
};

/// Maximum total size in bytes; beyond it the least recently used files are removed.
const MAX_BYTES: u64 = 256 << 20;

/// `$XDG_CACHE_HOME/tikv-ctl/symbols`, or below `~/.cache`.
pub fn default_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("tikv-ctl").join("symbols"))
}

/// The known names of one program.
pub struct Cache {
    path: PathBuf,
    header: String,
    names: Names,
}

/// Opens the cache file; `None` for a program without a build id, which cannot be identified.
pub fn open(dir: &Path, file: &Located) -> Option<Cache> {
    if file.build_id.is_empty() {
        return None;
    }
    // Other debug information has other names.
    let about = fs::metadata(&file.debug).ok()?;
    let modified = about.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
    let header = format!("symbols 1 {} {} {modified}", file.debug.display(), about.len());
    let path = dir.join(&file.build_id);
    let names = fs::read_to_string(&path).ok().and_then(|text| parse(&text, &header)).unwrap_or_default();
    Some(Cache { path, header, names })
}

impl Cache {
    pub fn has(&self, address: u64) -> bool {
        self.names.contains_key(&address)
    }

    pub fn get(&self, address: u64) -> Option<&Vec<SymbolFrame>> {
        self.names.get(&address)
    }

    /// Adds names and replaces the file, so that a concurrent reader sees either the old or the new one.
    pub fn add(&mut self, found: &Names) -> io::Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        self.names.extend(found.iter().map(|(address, frames)| (*address, frames.clone())));
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let new = self.path.with_extension(format!("{}.new", std::process::id()));
        let written = fs::write(&new, self.text()).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        shrink(dir, MAX_BYTES)
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.header);
        for (address, frames) in &self.names {
            for f in frames {
                let inlined = if f.inlined { 'i' } else { '-' };
                let (function, file) = (clean(&f.function), clean(&f.file));
                // Writing to a String cannot fail.
                let _ =
                    writeln!(text, "{address:x}\t{inlined}\t{}\t{}\t{function}\t{file}", f.line, f.column);
            }
        }
        text
    }
}

fn clean(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

/// Parses a file; `None` if it is damaged or of other debug information, and will be replaced.
fn parse(text: &str, header: &str) -> Option<Names> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != header {
        return None;
    }
    let mut names = Names::default();
    for line in lines {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let address = u64::from_str_radix(next()?, 16).ok()?;
        let inlined = next()? == "i";
        let (line, column) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let (function, file) = (next()?.to_owned(), next()?.to_owned());
        names.entry(address).or_default().push(SymbolFrame { function, file, line, column, inlined });
    }
    Some(names)
}

/// Removes the oldest files until the total is within the bound.
fn shrink(dir: &Path, bound: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Ok(about) = entry.metadata().and_then(|about| Ok((about.modified()?, about.len()))) {
            files.push((about.0, about.1, entry.path()));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|file| file.1).sum();
    for (_, len, path) in files {
        if total <= bound {
            break;
        }
        fs::remove_file(path)?;
        total -= len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_and_the_oldest_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let frame = |function: &str, inlined| SymbolFrame {
            function: function.into(),
            file: "a.rs".into(),
            line: 3,
            column: 9,
            inlined,
        };
        let frames = vec![frame("main", false), frame("seek\tx", true)];
        let found = Names::from_iter([(0x10, frames)]);
        let header = "symbols 1 /bin/x 5 6".to_owned();
        let path = dir.path().join("c0ffee");
        let mut cache = Cache { path: path.clone(), header: header.clone(), names: Names::default() };
        cache.add(&found).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let read = parse(&text, &header).unwrap();
        assert_eq!(read[&0x10], [frame("main", false), frame("seek x", true)]);
        assert!(parse(&text, "symbols 1 /bin/x 5 7").is_none());
        assert!(parse(&text[..text.len() - 3], &header).is_none());
        fs::write(dir.path().join("other"), "12345").unwrap();
        shrink(dir.path(), 5).unwrap();
        assert!(!path.exists() && dir.path().join("other").exists());
    }
}
