//! Writes changes into the configuration file (TiKV `TomlWriter`, `write_config`). The rest of the file, its
//! comments and its order stay. After a crash the file is the old one or the new one.
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::Value as Json;
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// The file given to `--config`, or `last_tikv.toml` of the data directory.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
}

/// The new file, complete and synced under a temporary name.
#[derive(Debug)]
pub struct Prepared {
    tmp: PathBuf,
    path: PathBuf,
}

impl ConfigFile {
    /// Creates the writer of this file.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes a changed copy of the file under a temporary name. Changes are dotted names with new values.
    ///
    /// # Errors
    /// If the file is no TOML, a name does not fit it, or writing fails; nothing is changed then.
    pub fn prepare(&self, changes: &[(String, Json)]) -> Result<Prepared, String> {
        // Replaces the target of a link, not the link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |e: io::Error| format!("cannot write the configuration file {}: {e}", path.display());
        let old = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(failed(e)),
        };
        let invalid = |e: String| format!("cannot change the configuration file {}: {e}", path.display());
        let new = edit(&old, changes).map_err(invalid)?;
        let tmp = beside(&path);
        let written = write(&tmp, &path, &new).map_err(failed);
        let prepared = Prepared { tmp, path: path.clone() };
        written.map(|()| prepared)
    }
}

impl Prepared {
    /// Replaces the file with the new one.
    pub fn commit(mut self) -> Result<(), String> {
        let path = std::mem::take(&mut self.path);
        fs::rename(&self.tmp, &path)
            .map_err(|e| format!("cannot replace the configuration file {}: {e}", path.display()))?;
        // The rename succeeded. If the directory cannot be synced, a power
        // failure may bring the old file back.
        let synced =
            File::open(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        if let Err(e) = synced.and_then(|dir| dir.sync_all()) {
            log::warn!(
                "cannot sync the directory of {}: {e}; a power failure may undo the change",
                path.display()
            );
        }
        Ok(())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Fails after a commit, which renamed the file.
        let _ = fs::remove_file(&self.tmp);
    }
}

/// `tmp_tikv.toml` for `last_tikv.toml`, as TiKV; otherwise a name made of the
/// file's, since stores may share a directory.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!("tmp_{}", name.strip_prefix("last_").unwrap_or(&name)))
}

fn write(tmp: &Path, like: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(tmp)?;
    let mut done = || -> io::Result<()> {
        if let Ok(meta) = fs::metadata(like) {
            // A read-only file is refused, although its directory would permit to replace it.
            if meta.permissions().readonly() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
            }
            fs::set_permissions(tmp, meta.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    done().inspect_err(|_| drop(fs::remove_file(tmp)))
}

fn edit(old: &str, changes: &[(String, Json)]) -> Result<String, String> {
    let mut document: DocumentMut = old.parse().map_err(|e: toml_edit::TomlError| e.to_string())?;
    for (name, value) in changes {
        let value = to_toml(value).ok_or_else(|| format!("{name}: TOML cannot express {value}"))?;
        put(document.as_table_mut(), name, value)
            .map_err(|at| format!("expected a table at {at}, found another value"))?;
    }
    Ok(document.to_string())
}

/// Sets the value at a dotted name. The error is the part of the name that is not a table in the file.
fn put<'n>(table: &mut dyn TableLike, name: &'n str, mut value: Value) -> Result<(), &'n str> {
    if let Some((section, rest)) = name.split_once('.') {
        let next = table.entry(section).or_insert_with(|| {
            let mut table = Table::new();
            // The header is written only if the table has keys of its own.
            table.set_implicit(true);
            Item::Table(table)
        });
        return put(next.as_table_like_mut().ok_or(section)?, rest, value);
    }
    match table.get_mut(name) {
        Some(Item::Value(old)) => {
            // Keeps the comment after the value.
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => drop(table.insert(name, Item::Value(value))),
    }
    Ok(())
}

fn to_toml(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => Value::Array(values.iter().map(to_toml).collect::<Option<_>>()?),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Some((name.as_str(), to_toml(value)?)));
            Value::InlineTable(fields.collect::<Option<InlineTable>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changes(changes: &[(&str, Json)]) -> Vec<(String, Json)> {
        changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn the_rest_of_the_file_does_not_change() {
        let old = "# mine\nslow-log-threshold = \"1s\" # patience\n\n[log]\nlevel = \"info\"   # loud\n\
                   [server]\nlabels = { zone = \"z1\" }\nodd-key = 1\n\n[rocksdb.writecf] # hot\nttl = 3\n";
        let new = edit(
            old,
            &changes(&[
                ("log.level", json!("warn")),
                ("slow-log-threshold", json!("20ms")),
                ("rocksdb.writecf.write-buffer-size", json!("8MiB")),
                ("rocksdb.max-open-files", json!(100)),
                ("readpool.unified.max-thread-count", json!(3)),
                ("trace.slow-thresholds", json!({"kv_get": "5ms"})),
            ]),
        )
        .unwrap();
        for line in [
            "# mine\n",
            "slow-log-threshold = \"20ms\" # patience\n",
            "level = \"warn\"   # loud\n",
            "labels = { zone = \"z1\" }\nodd-key = 1\n",
            "[rocksdb.writecf] # hot\nttl = 3\nwrite-buffer-size = \"8MiB\"\n",
            "[rocksdb]\nmax-open-files = 100\n",
            "[readpool.unified]\nmax-thread-count = 3\n",
            "slow-thresholds = { kv_get = \"5ms\" }\n",
        ] {
            assert!(new.contains(line), "{line} is not in\n{new}");
        }
        toml::from_str::<toml::Table>(&new).unwrap();
    }

    #[test]
    fn inline_and_dotted_keys_are_changed_in_place() {
        let new = edit(
            "log = { level = \"info\" }\nserver.labels.zone = \"z\"\nreadpool.unified.max-thread-count = 4\n",
            &changes(&[("log.level", json!("warn")), ("readpool.unified.max-thread-count", json!(5))]),
        );
        let expected =
            "log = { level = \"warn\" }\nserver.labels.zone = \"z\"\nreadpool.unified.max-thread-count = 5\n";
        assert_eq!(new.unwrap(), expected);
        assert!(edit("log = 3\n", &changes(&[("log.level", json!("warn"))])).unwrap_err().contains("log"));
    }

    #[test]
    fn the_file_is_replaced_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tikv.toml");
        let file = ConfigFile::new(path.clone());
        let change = changes(&[("log.level", json!("warn"))]);
        file.prepare(&change).unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[log]\nlevel = \"warn\"\n");
        drop(file.prepare(&changes(&[("log.level", json!("error"))])).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "[log]\nlevel = \"warn\"\n", "not committed");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file remains");

        fs::write(&path, "no toml").unwrap();
        assert!(file.prepare(&change).unwrap_err().contains("cannot change the configuration file"));
        let missing = ConfigFile::new(dir.path().join("no/such/dir/tikv.toml"));
        assert!(missing.prepare(&change).unwrap_err().contains("cannot write the configuration file"));
    }

    #[test]
    fn links_and_permissions_are_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("real.toml"), dir.path().join("link.toml"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        let change = changes(&[("log.level", json!("warn"))]);
        ConfigFile::new(link.clone()).prepare(&change).unwrap().commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let refused = ConfigFile::new(link).prepare(&change).unwrap_err();
        assert!(refused.contains("read-only"), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
