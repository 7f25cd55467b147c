//! Opens the store that `--host` or `--data-dir` names, and reports its damage.
use std::path::Path;

use crate::{
    Error, Offline, Online, Result, StoreConfig, cli::Global, encryption::Keyring, lsm::options,
    print::output::Output, source::Source,
};

/// Returns the error of a command that needs a store and got none.
pub fn no_store() -> Error {
    Error::other(
        "[host|data-dir] is not specified: give --data-dir DIR to read a directory, or --host ADDR to ask a server",
    )
}

/// Connects to the server of `--host`, for a command that changes a server; `for_dir` is TiKV's message for a
/// directory.
pub fn connect<'a>(global: &'a Global, for_dir: &str) -> Result<(&'a str, Online)> {
    match (&global.host, &global.data_dir) {
        (Some(host), _) => Ok((host, Online::connect(host, &global.security()?)?)),
        (None, Some(_)) => Err(Error::Tikv(for_dir.to_owned())),
        (None, None) => Err(Error::other("[host|data-dir] is not specified: give --host ADDR")),
    }
}

/// Reads the configuration that `--config` names.
pub fn store_config(global: &Global) -> Result<StoreConfig> {
    Ok(global.config.as_deref().map(StoreConfig::from_file).transpose()?.unwrap_or_default())
}

/// Finishes a command that read `source`: reports unreadable data even if the command failed, since the
/// damage may be the cause.
pub fn report_damages(source: &dyn Source, done: Result<()>, out: &mut Output<'_>) -> Result<()> {
    let damages = source.damages();
    damages.iter().for_each(|damage| out.note(damage));
    done?;
    if damages.is_empty() { Ok(()) } else { Err(Error::Damaged(damages.len())) }
}

/// Opens the directory that `--data-dir` names.
pub fn open_offline(global: &Global, out: &mut Output<'_>) -> Result<Offline> {
    let Some(dir) = &global.data_dir else {
        return Err(no_store());
    };
    let offline = Offline::open(dir, &store_config(global)?)?;
    for warning in offline.warnings() {
        out.note(&format!("warning: {warning}"));
    }
    // Each tablet of a raftstore-v2 store has its own, and none is needed to read the data.
    if !offline.has_tablets() && options::newest(offline.kv().dir()).is_none() {
        out.note(&format!(
            "warning: {}: expected an OPTIONS file, found none: the data is read without it, and a server would open \
             the database with the settings of its configuration",
            offline.kv().dir().display()
        ));
    }
    Ok(offline)
}

/// Opens the store that `--host` or `--data-dir` names; none without either flag.
pub fn open_source(global: &Global, out: &mut Output<'_>) -> Result<Option<Box<dyn Source>>> {
    if let Some(host) = &global.host {
        return Ok(Some(Box::new(Online::connect(host, &global.security()?)?)));
    }
    if global.data_dir.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(open_debugger(global, out)?)))
}

/// Opens the directory of `--data-dir` for a command of TiKV's tool; prints TiKV's notice if there is a
/// RocksDB for each region.
pub fn open_debugger(global: &Global, out: &mut Output<'_>) -> Result<Offline> {
    let offline = open_offline(global, out)?;
    if offline.has_tablets() && !out.is_json() {
        out.line("Debugger for raftstore-v2 is used")?;
    }
    Ok(offline)
}

/// Loads the encryption keys for `path`, a file or directory that a command reads. Also returns the number of
/// damaged places in the dictionaries.
pub fn load_keys_around(path: &Path, global: &Global, out: &mut Output<'_>) -> Result<(Keyring, usize)> {
    let config = store_config(global)?.encryption;
    let (mut keyring, mut notes) = Keyring::load_around(path, &config)?;
    // The path may be outside of the data directory and still be encrypted by it: raft-engine has its own
    // directory.
    if let Some(dir) = &global.data_dir {
        let (others, more) = Keyring::load(dir, &config)?;
        keyring = keyring.join(others);
        notes.warnings.extend(more.warnings);
        notes.damages.extend(more.damages);
    }
    notes.warnings.sort();
    notes.warnings.dedup();
    notes.damages.sort();
    notes.damages.dedup();
    notes.warnings.iter().for_each(|warning| out.note(&format!("warning: {warning}")));
    notes.damages.iter().for_each(|damage| out.note(&damage.to_string()));
    Ok((keyring, notes.damages.len()))
}
