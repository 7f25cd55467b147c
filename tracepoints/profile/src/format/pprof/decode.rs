//! Decodes the message field by field, so that a damaged field loses only itself.
use prost::{Message, encoding::decode_varint};

use super::schema;
use crate::format::skipped::Skipped;

/// The decoded part of a message.
pub struct Decoded {
    pub profile: schema::Profile,
    /// Damaged fields at the top level, by the number of their first byte.
    pub skipped: Skipped,
    /// Offset at which the fields end before the file does.
    pub cut: Option<usize>,
}

pub fn decode(bytes: &[u8]) -> Decoded {
    let mut out = Decoded { profile: schema::Profile::default(), skipped: Skipped::default(), cut: None };
    if let Ok(profile) = schema::Profile::decode(bytes) {
        out.profile = profile;
        return out;
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let (at, field) = (bytes.len() - rest.len(), rest);
        if pass_over(&mut rest).is_none() {
            out.cut = Some(at);
            break;
        }
        let field = &field[..field.len() - rest.len()];
        if let Err(e) = out.profile.merge(field) {
            out.skipped.add(at as u64, || e.to_string());
        }
    }
    out
}

/// Skips one field; `None` if it is invalid or ends after the bytes.
fn pass_over(rest: &mut &[u8]) -> Option<()> {
    let key = decode_varint(rest).ok()?;
    let len = match (key >> 3, key & 7) {
        (0, _) => return None,
        (_, 0) => return decode_varint(rest).ok().map(drop),
        (_, 1) => 8,
        (_, 2) => usize::try_from(decode_varint(rest).ok()?).ok()?,
        (_, 5) => 4,
        _ => return None,
    };
    *rest = rest.get(len..)?;
    Some(())
}
