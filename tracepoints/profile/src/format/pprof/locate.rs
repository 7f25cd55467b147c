//! Finds the byte at which a damaged profile stops to be one: the decoder itself does not tell.
use prost::{Message, encoding::decode_varint};

use super::schema;

/// Offset of the first field at the top level that cannot be read; the length if all can.
pub fn first_bad_field(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        let at = bytes.len() - rest.len();
        if rest.is_empty() || field(&mut rest).is_none() {
            return at;
        }
    }
}

/// Passes over one field and, if it is a message, reads it.
fn field(rest: &mut &[u8]) -> Option<()> {
    let key = decode_varint(rest).ok()?;
    let len = match key & 7 {
        0 => return decode_varint(rest).ok().map(drop),
        1 => 8,
        2 => usize::try_from(decode_varint(rest).ok()?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (body, after) = rest.split_at_checked(len)?;
    *rest = after;
    match key >> 3 {
        1 | 11 => schema::ValueType::decode(body).ok().map(drop),
        2 => schema::Sample::decode(body).ok().map(drop),
        3 => schema::Mapping::decode(body).ok().map(drop),
        4 => schema::Location::decode(body).ok().map(drop),
        5 => schema::Function::decode(body).ok().map(drop),
        6 => std::str::from_utf8(body).ok().map(drop),
        0 => None,
        _ => Some(()),
    }
}
