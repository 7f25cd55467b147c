//! `encryption-meta`: prints which key encrypts which file (TiKV `DataKeyManager::dump_file_dict`,
//! `dump_key_dict`); `decrypt-file`; the plan of `cleanup-encryption-meta`.
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use keys::hex_upper;
use kvproto::encryptionpb::FileInfo;
use prost::Message;
use serde_json::json;
use store_files::io::RandomFile;

use super::open::store_config;
use crate::{
    Error, Result, StoreConfig,
    cli::Global,
    encryption::{FILE_DICT, FileDict, Keyring, encode_files, place_in, read_keys},
    print::output::Output,
    schema::enum_value,
    text::message_text,
    write::{Change, plan::Plan},
};

const CONSENT: &str = "I consent";
const EXPOSES_KEYS: &str =
    "This action will expose encryption key(s) as plaintext. Do not output the result in file on disk.";
const EXPOSES_DATA: &str = "This action will expose sensitive data as plaintext on persistent storage";
const PIECE: u64 = 1 << 20;

/// Commands that read encrypted files.
#[derive(Debug, Subcommand)]
pub enum EncryptionCmd {
    /// Print encryption metadata
    EncryptionMeta {
        #[command(subcommand)]
        cmd: EncryptionMetaCmd,
    },
    /// Decrypt an encrypted file (needs --data-dir)
    DecryptFile(DecryptFileArgs),
}

/// `encryption-meta dump-key` and `dump-file`.
#[derive(Debug, Subcommand)]
pub enum EncryptionMetaCmd {
    /// Dump data keys, which are exposed as plaintext: asks for consent
    DumpKey {
        /// Key ids, separated with commas; all if absent
        #[arg(long, value_delimiter = ',')]
        ids: Vec<u64>,
    },
    /// Dump file encryption info
    DumpFile {
        /// Path to the file; all if absent
        #[arg(long)]
        path: Option<PathBuf>,
    },
}

/// The file to decrypt.
#[derive(Clone, Debug, Args)]
pub struct DecryptFileArgs {
    /// The file, in the data directory
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The file to write the decrypted bytes to
    #[arg(long, value_name = "FILE")]
    out_file: PathBuf,
    /// Skip the confirmation prompt (not in TiKV)
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Runs `cmd`.
pub fn run(cmd: &EncryptionCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        EncryptionCmd::EncryptionMeta { cmd } => meta(cmd, global, out),
        EncryptionCmd::DecryptFile(args) => decrypt_file(args, global, out),
    }
}

fn data_dir<'a>(global: &'a Global, command: &str) -> Result<&'a PathBuf> {
    let dir = global.data_dir.as_ref();
    dir.ok_or_else(|| Error::other(format!("{command} reads a directory: give --data-dir DIR")))
}

fn meta(cmd: &EncryptionMetaCmd, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let dir = data_dir(global, "encryption-meta")?;
    match cmd {
        EncryptionMetaCmd::DumpKey { ids } => {
            if !consents(EXPOSES_KEYS, out)? {
                return if out.is_json() {
                    out.json(&json!({ "consented": false }))
                } else {
                    out.line("exit.")
                };
            }
            dump_keys(dir, &store_config(global)?, ids, out)
        }
        EncryptionMetaCmd::DumpFile { path } => dump_files(dir, path.as_deref(), out),
    }
}

fn consents(what: &str, out: &mut Output<'_>) -> Result<bool> {
    let question = format!("{what}\nType \"{CONSENT}\" to continue, anything else to exit");
    if out.is_json() {
        out.note(&question);
    } else {
        out.line(question)?;
    }
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Error::io(Path::new("standard input")))?;
    Ok(answer.trim_end_matches('\n') == CONSENT)
}

fn dump_files(dir: &Path, wanted: Option<&Path>, out: &mut Output<'_>) -> Result<()> {
    let FileDict { mut files, warnings, damages, .. } = FileDict::read(dir)?;
    warnings.iter().for_each(|warning| out.note(&format!("warning: {warning}")));
    damages.iter().for_each(|damage| out.note(&damage.to_string()));
    // TiKV's names are absolute, with links resolved.
    let whole = wanted.map(|wanted| std::fs::canonicalize(wanted).unwrap_or_else(|_| wanted.to_owned()));
    files
        .retain(|name, _| wanted.is_none_or(|_| [wanted, whole.as_deref()].contains(&Some(Path::new(name)))));
    if out.is_json() {
        let row = |(name, info): (&String, &FileInfo)| {
            let method = enum_value("encryptionpb.EncryptionMethod", info.method.into());
            json!({ "file": name, "key_id": info.key_id, "iv": hex_upper(&info.iv), "method": method })
        };
        out.json(&files.iter().map(row).collect::<Vec<_>>())?;
    } else {
        for (name, info) in &files {
            out.line(format!("{name}: {}", message_text("encryptionpb.FileInfo", &info.encode_to_vec())?))?;
        }
    }
    if damages.is_empty() { Ok(()) } else { Err(Error::Damaged(damages.len())) }
}

fn dump_keys(dir: &Path, config: &StoreConfig, ids: &[u64], out: &mut Output<'_>) -> Result<()> {
    let dictionary = read_keys(dir, &config.encryption)?;
    let all: BTreeMap<_, _> = dictionary.keys.into_iter().collect();
    // The requested keys are printed in the order of the request.
    let keys: Vec<(&u64, _)> = match ids {
        [] => all.iter().collect(),
        ids => ids.iter().filter_map(|id| Some((id, all.get(id)?))).collect(),
    };
    if out.is_json() {
        let row = |(id, key): (&u64, &kvproto::encryptionpb::DataKey)| {
            let method = enum_value("encryptionpb.EncryptionMethod", key.method.into());
            json!({
                "id": id, "key": hex_upper(&key.key), "method": method,
                "creation_time": key.creation_time, "was_exposed": key.was_exposed,
            })
        };
        let rows: Vec<_> = keys.into_iter().map(row).collect();
        return out.json(&json!({ "current_key_id": dictionary.current_key_id, "keys": rows }));
    }
    if ids.is_empty() {
        out.line(format!("current key id: {}", dictionary.current_key_id))?;
    }
    for (id, key) in keys {
        out.line(format!("{id}: {}", message_text("encryptionpb.DataKey", &key.encode_to_vec())?))?;
    }
    Ok(())
}

/// `decrypt-file`: writes the decrypted bytes of a file of the data directory.
fn decrypt_file(args: &DecryptFileArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    let (infile, outfile) = (args.file.as_path(), args.out_file.as_path());
    let dir = data_dir(global, "decrypt-file")?;
    // A missing file is reported before the question.
    drop(RandomFile::open(infile, &Keyring::default())?);
    if !args.yes && !consents(EXPOSES_DATA, out)? {
        return if out.is_json() { out.json(&json!({ "consented": false })) } else { out.line("exit.") };
    }
    let (keyring, notes) = Keyring::load(dir, &store_config(global)?.encryption)?;
    notes.warnings.iter().for_each(|warning| out.note(&format!("warning: {warning}")));
    notes.damages.iter().for_each(|damage| out.note(&damage.to_string()));
    if !out.is_json() {
        out.line(format!("infile: {}, outfile: {}", infile.display(), outfile.display()))?;
    }
    let encrypted = keyring.cipher_of(infile)?.is_some();
    if !encrypted && !out.is_json() {
        out.line(if dir.join(FILE_DICT).is_file() {
            format!("{} is not encrypted, skip to decrypt it into {}", infile.display(), outfile.display())
        } else {
            "Encryption is disabled".to_owned()
        })?;
    }
    let crc = copy(&RandomFile::open(infile, &keyring)?, encrypted.then_some(outfile), dir)?;
    out.either(
        || format!("crc32: {crc}"),
        || {
            let outfile = encrypted.then(|| outfile.display().to_string());
            json!({ "infile": infile.display().to_string(), "outfile": outfile, "encrypted": encrypted, "crc32": crc })
        },
    )?;
    if notes.damages.is_empty() { Ok(()) } else { Err(Error::Damaged(notes.damages.len())) }
}

/// Copies `file` to `to`, if there is one, and returns the CRC-32 of its decrypted bytes.
fn copy(file: &RandomFile, to: Option<&Path>, dir: &Path) -> Result<u32> {
    let mut to = to.map(|to| create(to, dir).map(|file| (BufWriter::new(file), to))).transpose()?;
    let (mut at, mut buf, mut crc) = (0, Vec::new(), crc32fast::Hasher::new());
    while at < file.size() {
        file.read_into(at, PIECE.min(file.size() - at), &mut buf)?;
        crc.update(&buf);
        at += buf.len() as u64;
        if let Some((writer, path)) = &mut to {
            writer
                .write_all(&buf)
                .map_err(|e| Error::other(format!("--out-file {}: {e}", path.display())))?;
        }
    }
    if let Some((mut writer, path)) = to {
        writer.flush().map_err(|e| Error::other(format!("--out-file {}: {e}", path.display())))?;
    }
    Ok(crc.finalize())
}

/// Creates the file `path`, which must be outside of the data directory.
fn create(path: &Path, dir: &Path) -> Result<File> {
    let fail = |what: String| Error::other(format!("--out-file {}: {what}", path.display()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent =
        std::fs::canonicalize(parent).map_err(|e| fail(format!("cannot find its directory: {e}")))?;
    if std::fs::canonicalize(dir).is_ok_and(|dir| parent.starts_with(dir)) {
        return Err(fail(
            "expected a file outside of the data directory, found one in it, where tikv-ctl writes nothing: \
             name another"
                .to_owned(),
        ));
    }
    File::create(path).map_err(|e| fail(e.to_string()))
}

/// `cleanup-encryption-meta`: plans the removal of `file.dict` entries whose files are gone.
pub fn cleanup_plan(dir: &Path) -> Result<Plan> {
    let FileDict { version, files, bytes, damages, .. } = FileDict::read(dir)?;
    if let Some(damage) = damages.first() {
        let what = "rewriting the file would make the loss final: restore it from a backup first";
        return Err(Error::other(format!("{damage}; {what}")));
    }
    let whole = std::fs::canonicalize(dir).map_err(Error::io(dir))?;
    let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = files.into_iter().partition(|(name, _)| {
        let name = Path::new(name);
        name.exists() || whole.join(place_in(name, &whole)).exists()
    });
    let mut plan = Plan::default();
    if !gone.is_empty() {
        let names: Vec<&str> = gone.keys().map(String::as_str).collect();
        let why = format!("removes {} entries whose files are gone: {}", gone.len(), names.join(", "));
        let new = encode_files(version, &kept);
        plan.changes.push(Change::file(Path::new(FILE_DICT), &bytes, &new, why));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_prints_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let info = FileInfo { key_id: 7, iv: vec![1, 2], method: 4 };
        let files = BTreeMap::from([("/d/db/1.sst".to_owned(), info)]);
        std::fs::write(dir.path().join(FILE_DICT), encode_files(2, &files)).unwrap();
        let (mut text, mut notes) = (Vec::new(), Vec::new());
        {
            let mut out = Output::new(crate::Format::Text, &mut text, &mut notes);
            dump_files(dir.path(), None, &mut out).unwrap();
            out.flush().unwrap();
        }
        assert_eq!(String::from_utf8(text).unwrap(), "/d/db/1.sst: key_id: 7 iv: 0102 method: Aes256Ctr\n");
    }
}
