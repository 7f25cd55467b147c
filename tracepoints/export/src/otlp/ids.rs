//! Ids in JSON: hexadecimal in OTLP, base64 in protobuf's own JSON and in old exporters.
use super::json::{base64, hex};

/// Decodes an id; one in an unknown form becomes the bytes of its text, so that it stays distinct.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let decoded = match text.len() {
        // 16 and 8 bytes with their padding: hexadecimal has no `=`.
        24 | 12 if text.ends_with('=') => base64::decode(text),
        // Without padding: no id has 11 bytes, or half of one more than 5.
        22 | 11 => base64::decode(text),
        // A UUID.
        36 if text.matches('-').count() == 4 => hex::decode(&text.replace('-', "")),
        _ => hex::decode(digits),
    };
    decoded.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// Whether an id is empty or zero.
pub(super) fn is_none(id: &[u8]) -> bool {
    id.iter().all(|b| *b == 0)
}

pub(super) fn text(id: &[u8]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_each_form() {
        let id = [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74];
        assert_eq!(bytes("EEE19b7ec3c1b174"), id);
        assert_eq!(bytes("7uGbfsPBsXQ="), id);
        assert_eq!(bytes("7uGbfsPBsXQ"), id);
        assert_eq!(bytes("0xEEE19b7ec3c1b174"), id);
        assert_eq!(bytes("eee19b7e-c3c1-b174-eee1-9b7ec3c1b174"), [id, id].concat());
        assert_eq!(bytes("W47/95gDgQPSabYzgT/GDA==").len(), 16);
        assert_eq!(bytes("span 1"), b"span 1");
        assert_eq!(bytes("abc"), b"abc", "half a byte is none");
        assert!(is_none(&bytes("")) && is_none(&bytes("0000000000000000")));
    }
}
