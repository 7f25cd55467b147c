//! Formats any kvproto message from its bytes: as rust-protobuf's `Debug` does in TiKV, or as JSON.
use keys::codec;
use serde_json::{Map, Value, json};

use kvproto::reflect::{self, Field, Kind};

/// Maximum depth of nested messages. Deeper ones are damaged bytes that happen to parse.
const MAX_DEPTH: usize = 32;

/// A field's value in the wire format.
#[derive(Clone, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// An error of bytes that do not decode as a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes do not decode as {message}")]
pub struct BadMessage {
    message: String,
    len: usize,
}

/// Decodes the values of a message's fields, in the order of declaration, without unknown fields.
fn parse<'a>(message: &str, bytes: &'a [u8]) -> Result<Vec<(&'static Field, Vec<Wire<'a>>)>, BadMessage> {
    let bad = || BadMessage { message: message.to_owned(), len: bytes.len() };
    let schema = reflect::message(message).ok_or_else(bad)?;
    let mut found: Vec<(&Field, Vec<Wire<'_>>)> =
        schema.fields.iter().map(|field| (field, Vec::new())).collect();
    let mut input = bytes;
    while !input.is_empty() {
        let (number, wire) = take_field(&mut input).ok_or_else(bad)?;
        let Some((field, values)) = found.iter_mut().find(|(field, _)| field.number as u64 == number) else {
            continue;
        };
        match (&wire, field.kind) {
            // Packed numbers.
            (Wire::Bytes(packed), kind) if field.repeated && !is_sized(kind) => {
                let mut rest = *packed;
                while !rest.is_empty() {
                    values.push(take_packed(&mut rest, kind).ok_or_else(bad)?);
                }
            }
            _ => values.push(wire),
        }
    }
    Ok(found)
}

fn is_sized(kind: Kind) -> bool {
    matches!(kind, Kind::String | Kind::Bytes | Kind::Message | Kind::Group)
}

fn take_field<'a>(input: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = codec::decode_var_u64(input).ok()?;
    let wire = match tag & 7 {
        0 => Wire::Varint(codec::decode_var_u64(input).ok()?),
        1 => Wire::Fixed(u64::from_le_bytes(codec::take(input, 8, "fixed64").ok()?.try_into().ok()?)),
        2 => {
            let len = usize::try_from(codec::decode_var_u64(input).ok()?).ok()?;
            Wire::Bytes(codec::take(input, len, "field").ok()?)
        }
        5 => Wire::Fixed(u32::from_le_bytes(codec::take(input, 4, "fixed32").ok()?.try_into().ok()?).into()),
        _ => return None,
    };
    Some((tag >> 3, wire))
}

fn take_packed<'a>(input: &mut &'a [u8], kind: Kind) -> Option<Wire<'a>> {
    let fixed = |input: &mut &'a [u8], len| codec::take(input, len, "packed").ok();
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => {
            Some(Wire::Fixed(u64::from_le_bytes(fixed(input, 8)?.try_into().ok()?)))
        }
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => {
            Some(Wire::Fixed(u32::from_le_bytes(fixed(input, 4)?.try_into().ok()?).into()))
        }
        _ => codec::decode_var_u64(input).ok().map(Wire::Varint),
    }
}

/// Converts a number or a boolean of any kind to JSON.
fn number(kind: Kind, wire: &Wire<'_>) -> Value {
    let bits = match wire {
        Wire::Varint(v) | Wire::Fixed(v) => *v,
        Wire::Bytes(_) => return Value::Null,
    };
    match kind {
        Kind::Bool => json!(bits != 0),
        Kind::Double => json!(f64::from_bits(bits)),
        Kind::Float => json!(f32::from_bits(bits as u32)),
        Kind::Int64 | Kind::Int32 | Kind::Sfixed64 => json!(bits as i64),
        Kind::Sfixed32 => json!(bits as i32),
        Kind::Sint32 | Kind::Sint64 => json!((bits >> 1) as i64 ^ -((bits & 1) as i64)),
        _ => json!(bits),
    }
}

fn is_default(value: &Value) -> bool {
    value.as_u64() == Some(0) || value.as_f64() == Some(0.0) || *value == Value::Bool(false)
}

/// Formats `bytes`, a `message`, on one line as TiKV's logs and tikv-ctl do: fields that are set, bytes in
/// upper-case hexadecimal. Omits list elements that are zero or empty, and messages without any fields.
pub fn message_text(message: &str, bytes: &[u8]) -> Result<String, BadMessage> {
    let mut text = String::new();
    write_text(message, bytes, &mut text, 0)?;
    Ok(text)
}

fn write_text(message: &str, bytes: &[u8], text: &mut String, depth: usize) -> Result<(), BadMessage> {
    if depth > MAX_DEPTH {
        return Err(BadMessage { message: message.to_owned(), len: bytes.len() });
    }
    for (field, mut values) in parse(message, bytes)? {
        if !field.repeated && values.len() > 1 {
            values.drain(..values.len() - 1);
        }
        for wire in values {
            if let (Kind::Message, Wire::Bytes(inner)) = (field.kind, &wire) {
                if reflect::message(field.type_name).is_some_and(|message| message.fields.is_empty()) {
                    continue;
                }
                start(field, text);
                text.push_str(" {");
                let before = text.len();
                write_text(field.type_name, inner, text, depth + 1)?;
                text.push_str(if text.len() > before { " }" } else { "}" });
            } else if let Some(value) = scalar_text(field, &wire) {
                start(field, text);
                text.push_str(": ");
                text.push_str(&value);
            }
        }
    }
    Ok(())
}

/// Appends a field's name, after a space unless it is first.
fn start(field: &Field, text: &mut String) {
    if !text.is_empty() {
        text.push(' ');
    }
    // rust-protobuf adds a prefix to names that are keywords in Rust.
    if matches!(field.name, "type" | "match" | "ref" | "move" | "in") {
        text.push_str("r_");
    }
    text.push_str(field.name);
}

/// Formats a scalar. Returns `None` for the default, which is not shown, not even as an element of a list.
fn scalar_text(field: &Field, wire: &Wire<'_>) -> Option<String> {
    match (field.kind, wire) {
        (Kind::String | Kind::Bytes, Wire::Bytes([])) => None,
        (Kind::String, Wire::Bytes(b)) => Some(format!("\"{}\"", keys::escape(b))),
        (Kind::Bytes, Wire::Bytes(b)) => Some(keys::hex_upper(b)),
        (Kind::String | Kind::Bytes, _) => None,
        (Kind::Enum, Wire::Varint(0)) => None,
        (Kind::Enum, Wire::Varint(v)) => Some(reflect::enum_value(field.type_name, *v as i64)),
        (Kind::Enum, _) => None,
        (kind, wire) => {
            let value = number(kind, wire);
            (!is_default(&value)).then(|| value.to_string())
        }
    }
}

/// Converts `bytes`, a `message`, to a JSON object: fields that are set, enums by name, bytes in upper-case
/// hexadecimal.
pub fn message_json(message: &str, bytes: &[u8]) -> Result<Value, BadMessage> {
    to_json(message, bytes, 0)
}

fn to_json(message: &str, bytes: &[u8], depth: usize) -> Result<Value, BadMessage> {
    if depth > MAX_DEPTH {
        return Err(BadMessage { message: message.to_owned(), len: bytes.len() });
    }
    let mut object = Map::new();
    for (field, values) in parse(message, bytes)? {
        let mut list = Vec::with_capacity(values.len());
        for wire in &values {
            list.push(match (field.kind, wire) {
                (Kind::Message, Wire::Bytes(inner)) => to_json(field.type_name, inner, depth + 1)?,
                (Kind::String, Wire::Bytes(b)) => json!(String::from_utf8_lossy(b)),
                (Kind::Bytes, Wire::Bytes(b)) => json!(keys::hex_upper(b)),
                (Kind::Enum, Wire::Varint(v)) => json!(reflect::enum_value(field.type_name, *v as i64)),
                (kind, wire) => number(kind, wire),
            });
        }
        let value = if field.repeated && !list.is_empty() { Some(Value::Array(list)) } else { list.pop() };
        if let Some(value) = value {
            object.insert(field.name.to_owned(), value);
        }
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use kvproto::{eraftpb::ConfState, kvrpcpb, metapb, raft_cmdpb};
    use prost::Message;

    use super::*;

    #[test]
    fn a_command_prints_as_tikv_prints_it() {
        let request = raft_cmdpb::RaftCmdRequest {
            header: Some(raft_cmdpb::RaftRequestHeader {
                region_id: 2,
                peer: Some(metapb::Peer { id: 3, store_id: 1, ..Default::default() }),
                region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version: 4 }),
                ..Default::default()
            }),
            requests: vec![raft_cmdpb::Request {
                cmd_type: raft_cmdpb::CmdType::Delete.into(),
                delete: Some(raft_cmdpb::DeleteRequest { cf: "lock".into(), key: b"k\xff".to_vec() }),
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(
            message_text("raft_cmdpb.RaftCmdRequest", &request.encode_to_vec()).unwrap(),
            "header { region_id: 2 peer { id: 3 store_id: 1 } region_epoch { conf_ver: 1 version: 4 } } requests { \
             cmd_type: Delete delete { cf: \"lock\" key: 6BFF } }"
        );
    }

    #[test]
    fn keywords_have_a_prefix_and_empty_messages_no_space() {
        let lock = kvrpcpb::MvccLock { r#type: kvrpcpb::Op::Del.into(), start_ts: 5, ..Default::default() };
        assert_eq!(
            message_text("kvrpcpb.MvccLock", &lock.encode_to_vec()).unwrap(),
            "r_type: Del start_ts: 5"
        );
        let region = metapb::Region { region_epoch: Some(Default::default()), ..Default::default() };
        assert_eq!(message_text("metapb.Region", &region.encode_to_vec()).unwrap(), "region_epoch {}");
    }

    #[test]
    fn empty_values_are_not_shown() {
        let request = raft_cmdpb::AdminRequest {
            cmd_type: raft_cmdpb::AdminCmdType::FinishFlashback.into(),
            finish_flashback: Some(Default::default()),
            ..Default::default()
        };
        assert_eq!(
            message_text("raft_cmdpb.AdminRequest", &request.encode_to_vec()).unwrap(),
            "cmd_type: FinishFlashback"
        );
        let state = ConfState { voters: vec![0, 3], learners: vec![0], ..Default::default() };
        assert_eq!(message_text("eraftpb.ConfState", &state.encode_to_vec()).unwrap(), "voters: 3");
        let lock = kvrpcpb::MvccLock { secondaries: vec![b"s".to_vec(), Vec::new()], ..Default::default() };
        assert_eq!(message_text("kvrpcpb.MvccLock", &lock.encode_to_vec()).unwrap(), "secondaries: 73");
    }

    #[test]
    fn strings_are_escaped_as_keys_are() {
        let put = raft_cmdpb::PutRequest { cf: "a'\"\u{e9}\u{0}\n".into(), ..Default::default() };
        assert_eq!(
            message_text("raft_cmdpb.PutRequest", &put.encode_to_vec()).unwrap(),
            "cf: \"a'\\\"\\303\\251\\000\\n\""
        );
    }

    #[test]
    fn packed_numbers_are_shown_one_by_one() {
        let state = ConfState { voters: vec![1, 300], ..Default::default() };
        assert_eq!(
            message_text("eraftpb.ConfState", &state.encode_to_vec()).unwrap(),
            "voters: 1 voters: 300"
        );
        assert_eq!(
            message_json("eraftpb.ConfState", &state.encode_to_vec()).unwrap(),
            json!({"voters": [1, 300]})
        );
    }

    #[test]
    fn bytes_of_another_format_are_an_error() {
        assert!(message_text("metapb.Region", b"\xff\xff\xff").is_err());
        assert!(message_text("no.Such", b"").is_err());
    }
}
