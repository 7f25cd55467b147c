//! Active options, from the OPTIONS file that RocksDB writes at open and after each change.
use std::{fs, path::Path};

use crate::{Error, Result, RocksEngine};

impl RocksEngine {
    /// Returns the active value of an option, in the form of [`RocksEngine::set_options_cf`] (`cf`) or
    /// [`RocksEngine::set_db_options`] (none); `None` if RocksDB does not write the option.
    ///
    /// # Errors
    /// The OPTIONS file cannot be read.
    pub fn option_in_effect(&self, cf: Option<&str>, name: &str) -> Result<Option<String>> {
        let text =
            newest(self.path()).map_err(|source| Error::Io { path: self.path().to_owned(), source })?;
        let section = cf.map_or_else(|| "[DBOptions]".to_owned(), |cf| format!("[CFOptions \"{cf}\"]"));
        Ok(find(&text, &section, name))
    }
}

fn newest(dir: &Path) -> std::io::Result<String> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("OPTIONS-").and_then(|number| number.parse::<u64>().ok());
        newest = newest.max(number.map(|number| (number, path)));
    }
    match newest {
        Some((_, path)) => fs::read_to_string(path),
        None => {
            Err(std::io::Error::new(std::io::ErrorKind::NotFound, "expected an OPTIONS file, found none"))
        }
    }
}

fn find(text: &str, section: &str, name: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with('['));
    lines.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CF_WRITE, DbConfig};

    #[test]
    fn a_changed_option_can_be_read_and_restored() {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksEngine::open(dir.path(), &DbConfig::small()).unwrap();
        let name = "max_write_buffer_number";
        let before = kv.option_in_effect(Some(CF_WRITE), name).unwrap().expect("RocksDB writes the option");
        kv.set_options_cf(CF_WRITE, &[(name, "7")]).unwrap();
        assert_eq!(kv.option_in_effect(Some(CF_WRITE), name).unwrap().as_deref(), Some("7"));
        kv.set_options_cf(CF_WRITE, &[(name, &before)]).unwrap();
        assert_eq!(kv.option_in_effect(Some(CF_WRITE), name).unwrap(), Some(before));
        kv.set_db_options(&[("max_background_jobs", "5")]).unwrap();
        assert_eq!(kv.option_in_effect(None, "max_background_jobs").unwrap().as_deref(), Some("5"));
        assert_eq!(kv.option_in_effect(None, "nope").unwrap(), None);
    }
}
