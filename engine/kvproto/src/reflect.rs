//! Tables of kvproto's messages and enums, generated from the `.proto` files when the crate is built.

/// Types of protobuf fields, by their names in descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // kvproto does not use all of them
#[allow(missing_docs, reason = "a variant has the name of its type")]
pub enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Group,
    Message,
    Bytes,
    Uint32,
    Enum,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Number on the wire.
    pub number: i32,
    /// Name in the `.proto` file.
    pub name: &'static str,
    /// Type of the value.
    pub kind: Kind,
    /// Full name of the message or enum; empty for scalars.
    pub type_name: &'static str,
    /// Whether the field is a list.
    pub repeated: bool,
}

/// A message and its fields in the order of the `.proto` file.
#[derive(Debug)]
pub struct Message {
    /// Full name: `metapb.Region`.
    pub name: &'static str,
    /// Fields in the order of the `.proto` file.
    pub fields: &'static [Field],
}

/// An enum and its values.
#[derive(Debug)]
pub struct Enum {
    /// Full name: `kvrpcpb.Op`.
    pub name: &'static str,
    /// Numbers and names of the values.
    pub values: &'static [(i32, &'static str)],
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// Returns the message with the full name `name`, such as `metapb.Region`.
pub fn message(name: &str) -> Option<&'static Message> {
    MESSAGES.binary_search_by(|message| message.name.cmp(name)).ok().map(|at| &MESSAGES[at])
}

/// Returns the values and names of the enum with the full name `name`, such as `kvrpcpb.Op`.
pub fn enum_values(name: &str) -> &'static [(i32, &'static str)] {
    let found = ENUMS.binary_search_by(|kind| kind.name.cmp(name)).ok();
    found.map_or(&[], |at| ENUMS[at].values)
}

/// Returns the name of an enum's value, or the number if it has no name.
pub fn enum_value(name: &str, number: i64) -> String {
    let value = enum_values(name).iter().find(|(n, _)| i64::from(*n) == number);
    value.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_values_have_the_names_of_tikvs_code() {
        for (kind, number, name) in [
            ("kvrpcpb.APIVersion", 1, "V1ttl"),
            ("kvrpcpb.Op", 5, "PessimisticLock"),
            ("raft_cmdpb.CmdType", 8, "IngestSst"),
            ("raft_cmdpb.AdminCmdType", 11, "ChangePeerV2"),
            ("encryptionpb.EncryptionMethod", 4, "Aes256Ctr"),
            ("eraftpb.EntryType", 2, "EntryConfChangeV2"),
            ("metapb.PeerRole", 3, "DemotingVoter"),
            ("raft_serverpb.PeerState", 77, "77"),
        ] {
            assert_eq!(enum_value(kind, number), name, "{kind} {number}");
        }
    }
}
