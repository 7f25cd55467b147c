//! Encrypts a plain data directory, and decrypts it again.
use std::{collections::BTreeMap, path::Path};

use kvproto::encryptionpb::{DataKey, EncryptedContent, EncryptionMethod, FileInfo, KeyDictionary};
use prost::Message;
use tikv_ctl::encryption::{Cipher, FileDict, encode_files, place_in};

use super::contents;

const METHODS: [EncryptionMethod; 4] = [
    EncryptionMethod::Aes128Ctr,
    EncryptionMethod::Aes192Ctr,
    EncryptionMethod::Aes256Ctr,
    EncryptionMethod::Sm4Ctr,
];

fn key_of(method: EncryptionMethod) -> Vec<u8> {
    let len = match method {
        EncryptionMethod::Aes192Ctr => 24,
        EncryptionMethod::Aes256Ctr => 32,
        _ => 16,
    };
    (0..len).map(|byte| byte * 7 + method as u8).collect()
}

/// Encrypts the files of `plain` into `dir`, each with another method, under names in another directory.
pub fn encrypt(plain: &Path, dir: &Path) {
    let mut files = BTreeMap::new();
    for (number, (path, mut bytes)) in contents(plain).into_iter().enumerate() {
        let place = path.strip_prefix(plain).unwrap();
        let to = dir.join(place);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let name = to.file_name().unwrap().to_str().unwrap();
        if name != "LOCK" && name != "LOG" {
            let method = METHODS[number % METHODS.len()];
            let iv = vec![0xf0 | number as u8; 16];
            Cipher::new(method, &key_of(method), &iv).unwrap().apply(0, &mut bytes);
            let info = FileInfo { key_id: method as u64, iv, method: method.into() };
            files.insert(format!("/var/lib/tikv/{}", place.display()), info);
        }
        std::fs::write(to, bytes).unwrap();
    }
    std::fs::write(dir.join("file.dict"), encode_files(2, &files)).unwrap();
}

/// Writes a `key.dict` with `content`.
pub fn key_dict(dir: &Path, content: &EncryptedContent) {
    // The header is that of file.dict: version, CRC and size.
    let content = content.encode_to_vec();
    let mut bytes = vec![1, 0, 0, 0];
    bytes.extend_from_slice(&crc32fast::hash(&content).to_be_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&content);
    std::fs::write(dir.join("key.dict"), bytes).unwrap();
}

fn plain_keys() -> KeyDictionary {
    let key = |method: EncryptionMethod| DataKey {
        key: key_of(method),
        method: method.into(),
        ..Default::default()
    };
    KeyDictionary { keys: METHODS.map(|method| (method as u64, key(method))).into(), current_key_id: 4 }
}

pub fn plaintext() -> EncryptedContent {
    let metadata = [("method".to_owned(), b"plaintext".to_vec())].into();
    EncryptedContent { metadata, content: plain_keys().encode_to_vec(), ..Default::default() }
}

/// Decrypts the files of `secret` into `plain`, using only its dictionaries.
pub fn decrypt(secret: &Path, plain: &Path) {
    let dict = FileDict::read(secret).unwrap();
    assert_eq!(dict.warnings, [] as [&str; 0]);
    let keys = tikv_ctl::encryption::read_keys(secret, &Default::default()).unwrap();
    let by_place: BTreeMap<_, _> =
        dict.files.iter().map(|(name, info)| (place_in(Path::new(name), secret), info)).collect();
    for (path, mut bytes) in contents(secret) {
        let place = path.strip_prefix(secret).unwrap();
        if let Some(info) = by_place.get(place) {
            let key = &keys.keys[&info.key_id];
            Cipher::new(info.method(), &key.key, &info.iv).unwrap().apply(0, &mut bytes);
        }
        let to = plain.join(place);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
}
