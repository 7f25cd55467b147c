//! `encryption-meta`: which key encrypts which file (TiKV `DataKeyManager::dump_file_dict`, `dump_key_dict`).

use std::{collections::BTreeMap, io::BufRead, path::Path};

use keys::hex_upper;
use kvproto::encryptionpb::{EncryptedContent, FileDictionary, FileInfo, KeyDictionary};
use prost::Message;
use serde_json::json;

use crate::{Error, Result, cli::EncryptionMetaCmd, output::Output, schema::enum_value, text::message_text};

const HEADER: usize = 16;
const METHOD: &str = "method";
const CONSENT: &str = "I consent";

/// Runs `encryption-meta` on the data directory `dir`.
pub fn run(cmd: &EncryptionMetaCmd, dir: &Path, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        EncryptionMetaCmd::DumpKey { ids } => {
            if !consents(out)? {
                return out.line("exit.");
            }
            dump_keys(dir, ids, out)
        }
        EncryptionMetaCmd::DumpFile { path } => dump_files(dir, path.as_deref(), out),
    }
}

fn consents(out: &mut Output<'_>) -> Result<bool> {
    out.line(
        "This action will expose encryption key(s) as plaintext. Do not output the result in file on disk.\n\
         Type \"I consent\" to continue, anything else to exit",
    )?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_end_matches('\n') == CONSENT)
}

/// The content of a dictionary file and what follows it, after its header is checked.
fn read(path: &Path) -> Result<(u8, Vec<u8>, Vec<u8>)> {
    let fail = |what: String| Error::other(format!("{}: {what}", path.display()));
    let data = std::fs::read(path).map_err(|e| {
        fail(format!("{e}; a data directory has this file when encryption at rest is on, or was"))
    })?;
    let number = |at: usize| data.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let crc = data.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let (Some(crc), Some(size)) = (crc, number(8)) else {
        return Err(fail(format!("expected a header of {HEADER} bytes, met {}", data.len())));
    };
    let content = usize::try_from(size).ok().and_then(|size| data[HEADER..].split_at_checked(size));
    let Some((content, rest)) = content else {
        return Err(fail(format!("{size} bytes of content expected, {} met", data.len() - HEADER)));
    };
    if crc32fast::hash(content) != crc {
        return Err(fail("the checksum of the content does not match: the file is damaged".to_owned()));
    }
    Ok((data[0], content.to_vec(), rest.to_vec()))
}

fn decode<M: Message + Default>(path: &Path, content: &[u8]) -> Result<M> {
    M::decode(content)
        .map_err(|e| Error::other(format!("{}: the content does not decode: {e}", path.display())))
}

/// Applies the log records behind the content of version 2; a torn one ends them.
fn replay(mut rest: &[u8], files: &mut BTreeMap<String, FileInfo>) -> Option<()> {
    while !rest.is_empty() {
        let (header, body) = rest.split_at_checked(9)?;
        let crc = u32::from_be_bytes(header[..4].try_into().ok()?);
        let len = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        let (name_len, info_len) = (len(4), len(6));
        let (record, after) = body.split_at_checked(name_len + info_len)?;
        if crc32fast::hash(record) != crc {
            return None;
        }
        let name = String::from_utf8_lossy(&record[..name_len]).into_owned();
        match header[8] {
            1 => drop(files.insert(name, FileInfo::decode(&record[name_len..]).ok()?)),
            2 => drop(files.remove(&name)),
            _ => return None,
        }
        rest = after;
    }
    Some(())
}

fn dump_files(dir: &Path, wanted: Option<&Path>, out: &mut Output<'_>) -> Result<()> {
    let path = dir.join("file.dict");
    let (version, content, rest) = read(&path)?;
    let dictionary: FileDictionary = decode(&path, &content)?;
    let mut files: BTreeMap<String, FileInfo> = dictionary.files.into_iter().collect();
    if version >= 2 && replay(&rest, &mut files).is_none() {
        out.note(&format!("warning: {}: the last record is torn and left out", path.display()));
    }
    files.retain(|name, _| wanted.is_none_or(|wanted| Path::new(name) == wanted));
    if out.is_json() {
        let row = |(name, info): (&String, &FileInfo)| {
            let method = enum_value("encryptionpb.EncryptionMethod", info.method.into());
            json!({ "file": name, "key_id": info.key_id, "iv": hex_upper(&info.iv), "method": method })
        };
        return out.json(&files.iter().map(row).collect::<Vec<_>>());
    }
    for (name, info) in &files {
        out.line(format!("{name}: {}", message_text("encryptionpb.FileInfo", &info.encode_to_vec())?))?;
    }
    Ok(())
}

fn dump_keys(dir: &Path, ids: &[u64], out: &mut Output<'_>) -> Result<()> {
    let path = dir.join("key.dict");
    let content: EncryptedContent = decode(&path, &read(&path)?.1)?;
    let method = content.metadata.get(METHOD);
    let method = method.map(|method| String::from_utf8_lossy(method).into_owned()).unwrap_or_default();
    if method != "plaintext" {
        let what = "the keys are encrypted by a master key, which is not supported";
        return Err(Error::other(format!("{}: {what} (method {method:?})", path.display())));
    }
    let dictionary: KeyDictionary = decode(&path, &content.content)?;
    out.line(format!("current key id: {}", dictionary.current_key_id))?;
    let keys: BTreeMap<_, _> = dictionary.keys.into_iter().collect();
    for (id, key) in keys.iter().filter(|(id, _)| ids.is_empty() || ids.contains(id)) {
        out.line(format!("{id}: {}", message_text("encryptionpb.DataKey", &key.encode_to_vec())?))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, name: &str, info: &[u8]) -> Vec<u8> {
        let body = [name.as_bytes(), info].concat();
        let mut record = crc32fast::hash(&body).to_be_bytes().to_vec();
        record.extend_from_slice(&(name.len() as u16).to_be_bytes());
        record.extend_from_slice(&(info.len() as u16).to_be_bytes());
        record.push(kind);
        record.extend_from_slice(&body);
        record
    }

    #[test]
    fn records_insert_and_remove_and_a_torn_tail_is_left_out() {
        let info = FileInfo { key_id: 7, ..Default::default() };
        let log =
            [record(1, "/a", &info.encode_to_vec()), record(1, "/b", &[]), record(2, "/b", &[])].concat();
        let mut files = BTreeMap::new();
        assert!(replay(&log, &mut files).is_some());
        assert_eq!(files, BTreeMap::from([("/a".to_owned(), info)]));
        assert!(replay(&log[..log.len() - 1], &mut BTreeMap::new()).is_none());
    }

    #[test]
    fn a_dictionary_prints_its_files_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let info = FileInfo { key_id: 7, iv: vec![1, 2], method: 4 };
        let files = FileDictionary { files: [("/d/db/1.sst".to_owned(), info)].into() };
        let content = files.encode_to_vec();
        let mut data = vec![1, 0, 0, 0];
        data.extend_from_slice(&crc32fast::hash(&content).to_be_bytes());
        data.extend_from_slice(&(content.len() as u64).to_be_bytes());
        data.extend_from_slice(&content);
        let path = dir.path().join("file.dict");
        std::fs::write(&path, &data).unwrap();
        let (mut text, mut notes) = (Vec::new(), Vec::new());
        {
            let mut out = Output::new(crate::Format::Text, &mut text, &mut notes);
            dump_files(dir.path(), None, &mut out).unwrap();
            out.flush().unwrap();
        }
        assert_eq!(String::from_utf8(text).unwrap(), "/d/db/1.sst: key_id: 7 iv: 0102 method: AES256_CTR\n");
        *data.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &data).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("checksum"));
    }
}
