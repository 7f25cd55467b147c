//! Describes a request and its answer for a person who steps: every field by its name, as the wire has it.
//!
//! Runs only for a stepped request. The names come from kvproto's descriptors, so a new RPC needs nothing here.
use kvproto::{
    kvrpcpb::Action,
    reflect::{self, Field, Kind, Message},
};
use prost::encoding::{WireType, decode_key, decode_varint};
use tracepoints::{
    Facts,
    facts::{FactValue, shown},
    trace::story::{ANSWER, REQUEST},
};

/// Maximum number of elements of a repeated field shown.
const MAX_ELEMENTS: usize = 4;
/// Maximum length in bytes of a key that is also shown in hex.
const MAX_HEX_BYTES: usize = 48;
/// Maximum depth of messages in messages.
const MAX_DEPTH: usize = 6;
/// Measurements, which the stages show better.
const LEFT_OUT: [&str; 2] = ["exec_details_v2", "trace_context"];

/// Describes the request of type `name`, e.g. `GetRequest`.
pub fn request(rpc: &str, name: &str, message: &impl prost::Message) -> Facts {
    let fields = fields_of(name, &message.encode_to_vec());
    let (context, own): (Vec<_>, Vec<_>) = fields.iter().partition(|f| f.field.name == "context");
    let mut facts = rows(Facts::new(format!("{REQUEST} {rpc}")), &own, "");
    for context in context {
        if let Value::Message(fields) = &context.value {
            facts = rows(facts, &fields.iter().collect::<Vec<_>>(), "context.");
        }
    }
    facts
}

/// Describes the answer of type `name`, with its outcome in a few words.
pub fn answer(name: &str, message: &impl prost::Message) -> Facts {
    let fields = fields_of(name, &message.encode_to_vec());
    let facts = rows(Facts::new(ANSWER), &fields.iter().collect::<Vec<_>>(), "");
    match failure(&fields) {
        Some(words) => facts.failed(words),
        None => facts.outcome(success(name, &fields)),
    }
}

/// A field of a message with its value.
struct Named {
    field: &'static Field,
    value: Value,
}

enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    Message(Vec<Named>),
}

fn fields_of(name: &str, bytes: &[u8]) -> Vec<Named> {
    // prost writes acronyms in another case than the `.proto` file.
    let full = format!("kvrpcpb.{name}");
    let message = reflect::MESSAGES.iter().find(|m| m.name.eq_ignore_ascii_case(&full));
    message.map_or_else(Vec::new, |m| decode(m, bytes, MAX_DEPTH).unwrap_or_default())
}

/// Decodes the fields that the wire has, in its order. `None` for bytes that are no message.
fn decode(message: &'static Message, mut bytes: &[u8], depth: usize) -> Option<Vec<Named>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        let field = message.fields.iter().find(|f| u32::try_from(f.number) == Ok(number));
        let values = read(field, wire, &mut bytes, depth)?;
        if let Some(field) = field.filter(|f| !LEFT_OUT.contains(&f.name)) {
            out.extend(values.into_iter().map(|value| Named { field, value }));
        }
    }
    Some(out)
}

fn read(
    field: Option<&'static Field>,
    wire: WireType,
    bytes: &mut &[u8],
    depth: usize,
) -> Option<Vec<Value>> {
    let fixed = |bytes: &mut &[u8], n: usize| {
        let (value, rest) = bytes.split_at_checked(n)?;
        *bytes = rest;
        Some(value.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b)))
    };
    Some(match wire {
        WireType::Varint => vec![Value::Number(decode_varint(bytes).ok()?)],
        WireType::SixtyFourBit => vec![Value::Number(fixed(bytes, 8)?)],
        WireType::ThirtyTwoBit => vec![Value::Number(fixed(bytes, 4)?)],
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
            let (content, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            content_of(field, content, depth)?
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    })
}

/// A message, bytes, or a packed list of numbers.
fn content_of(field: Option<&'static Field>, mut content: &[u8], depth: usize) -> Option<Vec<Value>> {
    let Some(field) = field else { return Some(Vec::new()) };
    match field.kind {
        Kind::Message if depth == 0 => Some(Vec::new()),
        Kind::Message => {
            let message = reflect::message(field.type_name)?;
            Some(vec![Value::Message(decode(message, content, depth - 1)?)])
        }
        Kind::Bytes | Kind::String => Some(vec![Value::Bytes(content.to_vec())]),
        _ => {
            let mut numbers = Vec::new();
            while !content.is_empty() {
                numbers.push(Value::Number(decode_varint(&mut content).ok()?));
            }
            Some(numbers)
        }
    }
}

/// Adds one row per value; of a repeated field the first ones and the number of all.
fn rows(mut facts: Facts, fields: &[&Named], prefix: &str) -> Facts {
    let mut at = 0;
    while let Some(first) = fields.get(at) {
        let same = fields[at..].iter().take_while(|f| f.field.number == first.field.number).count();
        let name = format!("{prefix}{}", first.field.name);
        for (i, named) in fields[at..at + same].iter().take(MAX_ELEMENTS).enumerate() {
            let name = if same > 1 { format!("{name}[{i}]") } else { name.clone() };
            facts = facts.row(&name, fact(named), hex_of_key(named));
        }
        if same > MAX_ELEMENTS {
            facts = facts.text(&name, format!("{same} in all"));
        }
        at += same;
    }
    facts
}

fn fact(named: &Named) -> FactValue {
    match &named.value {
        Value::Number(n) if is_ts(named.field, *n) => FactValue::Ts(*n),
        Value::Number(n) if is_plain(named.field, *n) => FactValue::Number(*n),
        Value::Number(n) => FactValue::Text(text(named.field, *n)),
        Value::Bytes(bytes) => FactValue::Text(shown(bytes)),
        Value::Message(fields) => FactValue::Text(inline(fields)),
    }
}

/// The hex form of a short key that is not plain text; empty for anything else.
fn hex_of_key(named: &Named) -> String {
    let is_key = named.field.name.contains("key") || named.field.name == "primary_lock";
    match &named.value {
        Value::Bytes(bytes)
            if is_key && bytes.len() <= MAX_HEX_BYTES && !bytes.iter().all(u8::is_ascii_graphic) =>
        {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("hex {hex}")
        }
        _ => String::new(),
    }
}

/// Formats a message in one line: `id 3, store_id 1`.
fn inline(fields: &[Named]) -> String {
    let texts = fields.iter().map(|named| {
        let name = named.field.name;
        match &named.value {
            Value::Number(n) => format!("{name} {}", text(named.field, *n)),
            Value::Bytes(bytes) => format!("{name} {}", shown(bytes)),
            Value::Message(fields) => format!("{name} ({})", inline(fields)),
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn text(field: &Field, number: u64) -> String {
    match field.kind {
        Kind::Bool => if number == 0 { "no" } else { "yes" }.into(),
        Kind::Enum => reflect::enum_value(field.type_name, number as i64),
        Kind::Int32 | Kind::Int64 => (number as i64).to_string(),
        _ => number.to_string(),
    }
}

/// Whether the value is a number without a sign, as [`FactValue::Number`] is. A `wait_timeout` may be -1.
fn is_plain(field: &Field, number: u64) -> bool {
    match field.kind {
        Kind::Bool | Kind::Enum => false,
        Kind::Int32 | Kind::Int64 => number as i64 >= 0,
        _ => true,
    }
}

/// Whether the number is a timestamp of PD: the field has such a name, and numbers of other kinds are smaller.
fn is_ts(field: &Field, number: u64) -> bool {
    let named =
        field.name.ends_with("_ts") || field.name.ends_with("version") || field.name.ends_with("_locks");
    named && number >> 40 != 0
}

/// Names the first error in a reply: of the region, or of a key.
fn failure(fields: &[Named]) -> Option<String> {
    fields.iter().find_map(|named| match (&named.value, named.field.type_name) {
        (Value::Message(error), "errorpb.Error") => Some(region_error(error)),
        (Value::Message(error), "kvrpcpb.KeyError") => Some(key_error(error)),
        (Value::Message(fields), _) => failure(fields),
        (Value::Bytes(_), _) if named.field.name == "error" => Some("error".into()),
        _ => None,
    })
}

/// Names a region error; with the store to try, if the error names the leader.
fn region_error(error: &[Named]) -> String {
    let kind = error.iter().find(|f| f.field.name != "message").map_or("region_error", |f| f.field.name);
    let words = kind.replace('_', " ");
    let Some(Value::Message(fields)) = error.iter().find(|f| f.field.name == "not_leader").map(|f| &f.value)
    else {
        return words;
    };
    let leader = fields.iter().find(|f| f.field.name == "leader").map(|f| &f.value);
    let Some(Value::Message(leader)) = leader else { return format!("{words}, no leader is known") };
    let store = leader.iter().find(|f| f.field.name == "store_id").map(|f| &f.value);
    match store {
        Some(Value::Number(store)) => format!("{words}, try store {store}"),
        _ => words,
    }
}

/// Names a key error by its field.
fn key_error(error: &[Named]) -> String {
    match error.iter().find(|f| f.field.name != "debug_info").map(|f| f.field.name) {
        Some("conflict") => "write conflict".into(),
        Some(name) => name.replace('_', " "),
        None => "key error".into(),
    }
}

/// Names the outcome of a reply without an error.
fn success(name: &str, fields: &[Named]) -> String {
    let count = |wanted: &str| fields.iter().filter(|f| f.field.name == wanted).count();
    let number = |wanted: &str| {
        fields.iter().find(|f| f.field.name == wanted).map_or(0, |f| match &f.value {
            Value::Number(n) => *n,
            _ => 0,
        })
    };
    match name {
        "GetResponse" | "RawGetResponse" => {
            if number("not_found") != 0 { "not found" } else { "found" }.into()
        }
        "BatchGetResponse" | "BufferBatchGetResponse" | "ScanResponse" | "RawBatchGetResponse" => {
            format!("{} pairs", count("pairs"))
        }
        "RawScanResponse" | "RawBatchScanResponse" => format!("{} pairs", count("kvs")),
        "ScanLockResponse" => format!("{} locks", count("locks")),
        "CheckTxnStatusResponse" if number("lock_ttl") != 0 => "still locked".into(),
        // Without a lock, a caller may ask not to write a rollback.
        "CheckTxnStatusResponse" if number("action") == Action::LockNotExistDoNothing as u64 => {
            "no record".into()
        }
        "CheckTxnStatusResponse" | "CleanupResponse" if number("commit_version") == 0 => "rolled back".into(),
        "CheckSecondaryLocksResponse" if count("locks") != 0 => "still locked".into(),
        "CheckTxnStatusResponse" | "CommitResponse" | "CleanupResponse" if number("commit_version") != 0 => {
            "committed".into()
        }
        "PrewriteResponse" if number("one_pc_commit_ts") != 0 => "committed in one phase".into(),
        _ => "ok".into(),
    }
}

#[cfg(test)]
mod tests {
    use kvproto::{errorpb, kvrpcpb::*, metapb};

    use super::*;

    const TS: u64 = 470_607_130_203_521_025;

    fn value<'a>(facts: &'a Facts, name: &str) -> Option<&'a FactValue> {
        facts.rows.iter().find(|row| row.name == name).map(|row| &row.value)
    }

    #[test]
    fn a_request_has_its_fields_and_its_context() {
        let epoch = metapb::RegionEpoch { conf_ver: 5, version: 3 };
        let context = Context {
            region_id: 2,
            region_epoch: Some(epoch),
            replica_read: true,
            resolved_locks: vec![TS],
            ..Context::default()
        };
        let get = GetRequest {
            context: Some(context),
            key: b"k\x001".to_vec(),
            version: TS,
            need_commit_ts: false,
        };
        let facts = request("kv_get", "GetRequest", &get);
        assert_eq!(facts.title, "Request kv_get");
        assert_eq!(value(&facts, "key"), Some(&FactValue::Text("k\\0001".into())));
        assert_eq!(facts.rows.iter().find(|row| row.name == "key").unwrap().note, "hex 6B0031");
        assert_eq!(value(&facts, "version"), Some(&FactValue::Ts(TS)));
        assert_eq!(value(&facts, "context.region_id"), Some(&FactValue::Number(2)));
        assert_eq!(
            value(&facts, "context.region_epoch"),
            Some(&FactValue::Text("conf_ver 5, version 3".into()))
        );
        assert_eq!(value(&facts, "context.replica_read"), Some(&FactValue::Text("yes".into())));
        assert_eq!(value(&facts, "context.resolved_locks"), Some(&FactValue::Ts(TS)));
        let prewrite = PrewriteRequest {
            mutations: vec![Mutation { op: Op::Del as i32, key: b"k".to_vec(), ..Mutation::default() }; 6],
            ..PrewriteRequest::default()
        };
        let facts = request("kv_prewrite", "PrewriteRequest", &prewrite);
        assert_eq!(value(&facts, "mutations[0]"), Some(&FactValue::Text("op Del, key k".into())));
        assert_eq!(value(&facts, "mutations"), Some(&FactValue::Text("6 in all".into())));
    }

    #[test]
    fn an_answer_has_its_outcome_in_a_few_words() {
        let lock = LockInfo { lock_version: TS, primary_lock: b"k".to_vec(), ..LockInfo::default() };
        let locked = KeyError { locked: Some(lock), ..KeyError::default() };
        let get =
            answer("GetResponse", &GetResponse { error: Some(locked.clone()), ..GetResponse::default() });
        assert_eq!((get.outcome.as_str(), get.failed), ("locked", true));
        let Some(FactValue::Text(text)) = value(&get, "error") else { panic!("{get:?}") };
        assert!(text.contains(&format!("lock_version {TS}")), "{text}");
        let pair = KvPair { error: Some(locked), ..KvPair::default() };
        assert_eq!(
            answer("ScanResponse", &ScanResponse { pairs: vec![pair], ..Default::default() }).outcome,
            "locked"
        );
        let leader = metapb::Peer { id: 9, store_id: 4, ..metapb::Peer::default() };
        let not_leader = errorpb::NotLeader { region_id: 2, leader: Some(leader) };
        let moved =
            errorpb::Error { not_leader: Some(not_leader), message: "m".into(), ..Default::default() };
        let put = RawPutResponse { region_error: Some(moved), ..RawPutResponse::default() };
        assert_eq!(answer("RawPutResponse", &put).outcome, "not leader, try store 4");
        let cas = answer("RawCasResponse", &RawCasResponse { error: "no".into(), ..Default::default() });
        assert_eq!((cas.outcome.as_str(), cas.failed), ("error", true), "acronyms are found");
        assert_eq!(
            answer("GetResponse", &GetResponse { not_found: true, ..Default::default() }).outcome,
            "not found"
        );
        assert_eq!(answer("CommitResponse", &CommitResponse::default()).outcome, "ok");
    }

    #[test]
    fn bytes_that_are_no_message_make_no_panic() {
        for bytes in [&b"\xff\xff\xff"[..], b"\x0a\xff\xff\xff\xff\x0f", b"\x0b\x0c", b"\x09\x01"] {
            assert!(fields_of("GetRequest", bytes).is_empty());
        }
    }
}
