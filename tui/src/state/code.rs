//! Source files: the project's own from this binary, other files from disk.
use std::path::{Path, PathBuf};

static BLOB: &str = include_str!(concat!(env!("OUT_DIR"), "/sources.txt"));
static INDEX: &[(&str, usize, usize)] = include!(concat!(env!("OUT_DIR"), "/index.rs"));

/// Lists the paths of all packed files, relative to the project's root.
pub fn packed_files() -> impl Iterator<Item = &'static str> {
    INDEX.iter().map(|(path, _, _)| *path)
}

/// Finds a packed file by its path, or by a longer path that ends with it (as debug information has).
pub fn packed(path: &str) -> Option<(&'static str, &'static str)> {
    let path = path.replace('\\', "/");
    let ends = |p: &str| path == p || path.strip_suffix(p).is_some_and(|head| head.ends_with('/'));
    let (name, at, len) = INDEX.iter().find(|(p, _, _)| ends(p))?;
    Some((name, BLOB.get(*at..at + len)?))
}

/// The text of a packed file, or of a file on disk of at most 8 MiB.
pub fn text(path: &str) -> Result<String, String> {
    if let Some((_, text)) = packed(path) {
        return Ok(text.to_owned());
    }
    match on_disk(path) {
        Some(found) => read(&found),
        None => Err(format!("{path} is not on this disk")),
    }
}

/// Reads a source file of at most 8 MiB from disk; the error is a message.
pub fn read(path: &Path) -> Result<String, String> {
    const BIG: u64 = 8 << 20;
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    if !meta.is_file() || meta.len() > BIG {
        return Err(format!(
            "expected a source file of at most 8 MiB, found another one at {}",
            path.display()
        ));
    }
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// Finds a file on disk: the path as given, below an ancestor of the working directory, below the checkout
/// that built this binary, or in cargo's registry.
pub fn on_disk(path: &str) -> Option<PathBuf> {
    let given = Path::new(path);
    if given.is_absolute() {
        return given.is_file().then(|| given.to_owned());
    }
    let here = std::env::current_dir().unwrap_or_default();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    let roots = here.ancestors().map(Path::to_owned).chain(built).chain(registries());
    roots.map(|root| root.join(path)).find(|p| p.is_file())
}

/// Folders of cargo's registry with the sources of crates.
fn registries() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let folders = home.and_then(|home| std::fs::read_dir(home.join("registry/src")).ok());
    folders.into_iter().flatten().filter_map(|folder| Some(folder.ok()?.path())).collect()
}

/// Writes a packed file below the user's cache, to open it in an editor without a checkout.
pub fn unpack(path: &str) -> Result<PathBuf, String> {
    let dir = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")));
    unpack_below(&cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("tikv-toolkit/source"), path)
}

fn unpack_below(root: &Path, path: &str) -> Result<PathBuf, String> {
    let (name, text) = packed(path).ok_or_else(|| format!("{path} is not on this disk"))?;
    let file = root.join(name);
    let fail = |e: std::io::Error| format!("cannot write {}: {e}", file.display());
    if std::fs::read(&file).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(file);
    }
    std::fs::create_dir_all(file.parent().unwrap_or(root)).map_err(fail)?;
    std::fs::write(&file, text).map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_files_are_packed_completely() {
        let path = "tracepoints/core/src/recorder.rs";
        let (name, text) = packed(path).expect("packed");
        assert_eq!(name, path);
        assert!(text.contains("pub fn record(") && text.ends_with("}\n"));
        assert_eq!(packed(&format!("/somewhere/else/{path}")).map(|f| f.0), Some(path));
        assert_eq!(packed("recorder.rs"), None);
        assert!(packed_files().all(|p| packed(p).is_some()));
    }

    #[test]
    fn without_a_checkout_an_editor_gets_the_packed_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = "tracepoints/core/src/recorder.rs";
        for _ in 0..2 {
            let file = unpack_below(dir.path(), &format!("/gone/{path}")).unwrap();
            assert_eq!(file, dir.path().join(path));
            assert_eq!(std::fs::read_to_string(&file).unwrap(), packed(path).unwrap().1);
            // The next call must replace a changed copy.
            std::fs::write(&file, "changed").unwrap();
        }
        assert!(unpack_below(dir.path(), "/no/such/file.rs").unwrap_err().contains("/no/such/file.rs"));
        std::fs::write(dir.path().join("engine"), "in the way").unwrap();
        let why = unpack_below(dir.path(), "engine/keys/src/lib.rs").unwrap_err();
        assert!(why.contains("cannot write"), "{why}");
    }

    #[test]
    fn a_missing_file_is_an_error_with_its_path() {
        assert!(text("/no/such/file.rs").unwrap_err().contains("/no/such/file.rs"));
        assert_eq!(on_disk("/no/such/file.rs"), None);
        assert!(on_disk("tracepoints/core/src/recorder.rs").is_some());
    }
}
