//! Bytes as hexadecimal text.
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

fn hex(data: &[u8], alphabet: &[u8; 16]) -> String {
    let mut text = String::with_capacity(data.len() * 2);
    for byte in data {
        text.push(char::from(alphabet[usize::from(byte >> 4)]));
        text.push(char::from(alphabet[usize::from(byte & 15)]));
    }
    text
}

/// Returns `data` in upper-case hexadecimal, as in TiKV's logs.
pub fn hex_upper(data: &[u8]) -> String {
    hex(data, HEX_UPPER)
}

/// Returns `data` in lower-case hexadecimal.
pub fn hex_lower(data: &[u8]) -> String {
    hex(data, HEX_LOWER)
}
