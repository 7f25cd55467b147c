//! A Titan blob file with a dictionary (Titan `blob_format.cc`).
use tikv_ctl::lsm::crc32c;

const MAGIC: u32 = 0x2be0_a614;
const HAS_DICTIONARY: u32 = 1;
const FOOTER_MAGIC: u64 = 0x2be0_a614_8e39_edc6;
const DICTIONARY: &[u8] = b"rocksdb.compression_dict";
const ZSTD: u8 = 7;
/// The first byte of a blob index.
const BLOB_RECORD: u8 = 1;

fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|number| keys::codec::encode_var_u64(&mut bytes, *number));
    bytes
}

/// Adds `block` as RocksDB writes one; returns its handle.
fn add_block(block: &[u8], file: &mut Vec<u8>) -> Vec<u8> {
    let handle = numbers(&[file.len() as u64, block.len() as u64]);
    let covered = [block, &[0]].concat();
    let masked = crc32c(0, &covered).rotate_right(15).wrapping_add(0xa282_ead8);
    file.extend_from_slice(&covered);
    file.extend_from_slice(&masked.to_le_bytes());
    handle
}

/// Returns a record of `key` and `value`, compressed with `dict`.
fn record(key: &[u8], value: &[u8], dict: &[u8]) -> Vec<u8> {
    let plain = [&numbers(&[key.len() as u64])[..], key, &numbers(&[value.len() as u64]), value].concat();
    let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
    let len = zstd_safe::CCtx::create().compress_using_dict(&mut packed[..], &plain, dict, 3).unwrap();
    let body = [&numbers(&[plain.len() as u64])[..], &packed[..len]].concat();
    let covered = [&(body.len() as u32).to_le_bytes()[..], &[ZSTD], &body].concat();
    [&crc32c(0, &covered).to_le_bytes()[..], &covered].concat()
}

/// Returns a file (number 1) with one record, and the blob index of the record.
pub fn blob_file(key: &[u8], value: &[u8], dict: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut file = [MAGIC.to_le_bytes(), 2u32.to_le_bytes(), HAS_DICTIONARY.to_le_bytes()].concat();
    let record = record(key, value, dict);
    let index = [&[BLOB_RECORD][..], &numbers(&[1, file.len() as u64, record.len() as u64])].concat();
    file.extend_from_slice(&record);
    let handle = add_block(dict, &mut file);
    // One entry, one restart point.
    let entry = [&[0, DICTIONARY.len() as u8, handle.len() as u8][..], DICTIONARY, &handle].concat();
    let mut footer = add_block(&[&entry[..], &[0, 0, 0, 0, 1, 0, 0, 0]].concat(), &mut file);
    footer.resize(20, 0);
    footer.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
    let crc = crc32c(0, &footer);
    file.extend_from_slice(&footer);
    file.extend_from_slice(&crc.to_le_bytes());
    (file, index)
}
