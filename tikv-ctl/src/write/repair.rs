//! `raft-engine-ctl repair`: runs the script on a copy of raft-engine's files and compares the result.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use raft_log_engine::{RepairQueue, unsafe_repair};
use store_files::io::read_whole;

use super::{Change, Target, plan::Plan};
use crate::{Error, Result, encryption::Keyring, raft_engine};

/// Plans the repair of the raft-engine directory `dir` by `script`: whole files, by their names in the
/// directory.
pub fn plan(dir: &Path, queue: RepairQueue, script: &str, keyring: &Keyring) -> Result<Plan> {
    if !raft_engine::is_raft_engine_dir(dir) {
        return Err(Error::other(format!(
            "{}: expected a directory with raft-engine's files (*.raftlog), found none: check --path",
            dir.display()
        )));
    }
    let before = files(dir, keyring)?;
    let copy = temp_dir()?;
    for (name, bytes) in &before {
        let path = copy.path().join(name);
        std::fs::write(&path, bytes).map_err(Error::io(&path))?;
    }
    unsafe_repair(copy.path(), queue, script)
        .map_err(|e| Error::other(format!("repair: {e}; nothing was changed")))?;
    // The copy has plain bytes.
    let after = files(copy.path(), &Keyring::default())?;
    let names = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>();
    let mut plan = Plan::default();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        let hex = |bytes: Option<&Vec<u8>>| bytes.map(|bytes| keys::hex_upper(bytes));
        let why = difference(old, new, name)?;
        plan.changes.push(Change {
            target: Target::File { path: name.clone() },
            old: hex(old),
            new: hex(new),
            why,
        });
    }
    Ok(plan)
}

fn temp_dir() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(Error::io(&std::env::temp_dir()))
}

/// Returns raft-engine's files and their decrypted bytes, without its lock file.
fn files(dir: &Path, keyring: &Keyring) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let (path, name) = (entry.path(), PathBuf::from(entry.file_name()));
        if path.is_file() && name != Path::new("LOCK") {
            files.insert(name, read_whole(&path, keyring)?);
        }
    }
    Ok(files)
}

/// Describes the removed and added items as `raft-engine-ctl dump` prints them, without their offsets.
fn difference(old: Option<&Vec<u8>>, new: Option<&Vec<u8>>, name: &Path) -> Result<String> {
    let lines = |bytes: Option<&Vec<u8>>| -> Result<Vec<String>> {
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        let dir = temp_dir()?;
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).map_err(Error::io(&path))?;
        raft_engine::items(&path, &Keyring::default()).map_err(Error::from)
    };
    let (old, new) = (lines(old)?, lines(new)?);
    let mut text = format!("{} items become {}", old.len(), new.len());
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    new.iter().for_each(|line| *left.entry(line).or_default() += 1);
    for line in &old {
        match left.get_mut(line.as_str()).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => text.push_str(&format!("\n  - {line}")),
        }
    }
    for (line, count) in left {
        text.push_str(&format!("\n  + {line}").repeat(count));
    }
    Ok(text)
}
