//! Converts Raft messages between the `raft` crate and the wire, field by field.
//!
//! `*_from_raft` functions return kvproto's messages, `*_to_raft` functions those of the `raft` crate. Bytes
//! are moved, and copied only if they are shared. Fields unknown to kvproto are dropped.
use kvproto::eraftpb as wire;
use protobuf::ProtobufEnum;
use raft::eraftpb;

/// A number on the wire without a variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a known {what}, found {value}: a newer version may have written it")]
pub struct UnknownVariant {
    /// The enumeration.
    pub what: &'static str,
    /// The number.
    pub value: i32,
}

/// Result of the fallible conversions.
pub type Result<T> = std::result::Result<T, UnknownVariant>;

fn variant<E: ProtobufEnum>(what: &'static str, value: i32) -> Result<E> {
    E::from_i32(value).ok_or(UnknownVariant { what, value })
}

/// Converts a log entry for the wire.
pub fn entry_from_raft(entry: eraftpb::Entry) -> wire::Entry {
    wire::Entry {
        entry_type: entry.entry_type.value(),
        term: entry.term,
        index: entry.index,
        data: entry.data.into(),
        context: entry.context.into(),
        sync_log: entry.sync_log,
    }
}

/// Converts a log entry for Raft.
pub fn entry_to_raft(entry: wire::Entry) -> Result<eraftpb::Entry> {
    Ok(eraftpb::Entry {
        entry_type: variant("entry type", entry.entry_type)?,
        term: entry.term,
        index: entry.index,
        data: entry.data.into(),
        context: entry.context.into(),
        sync_log: entry.sync_log,
        ..Default::default()
    })
}

/// Converts the members of a group for the wire.
pub fn conf_state_from_raft(state: eraftpb::ConfState) -> wire::ConfState {
    wire::ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
    }
}

/// Converts the members of a group for Raft.
pub fn conf_state_to_raft(state: wire::ConfState) -> eraftpb::ConfState {
    eraftpb::ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
        ..Default::default()
    }
}

/// Converts a snapshot for the wire.
pub fn snapshot_from_raft(snapshot: eraftpb::Snapshot) -> wire::Snapshot {
    let metadata = snapshot.metadata.into_option().map(|metadata| wire::SnapshotMetadata {
        conf_state: metadata.conf_state.into_option().map(conf_state_from_raft),
        index: metadata.index,
        term: metadata.term,
    });
    wire::Snapshot { data: snapshot.data.into(), metadata }
}

/// Converts a snapshot for Raft.
pub fn snapshot_to_raft(snapshot: wire::Snapshot) -> eraftpb::Snapshot {
    let metadata = snapshot.metadata.map(|metadata| eraftpb::SnapshotMetadata {
        conf_state: metadata.conf_state.map(conf_state_to_raft).into(),
        index: metadata.index,
        term: metadata.term,
        ..Default::default()
    });
    eraftpb::Snapshot { data: snapshot.data.into(), metadata: metadata.into(), ..Default::default() }
}

/// Converts term, vote and commit index for the wire.
pub fn hard_state_from_raft(state: eraftpb::HardState) -> wire::HardState {
    wire::HardState { term: state.term, vote: state.vote, commit: state.commit }
}

/// Converts term, vote and commit index for Raft.
pub fn hard_state_to_raft(state: wire::HardState) -> eraftpb::HardState {
    eraftpb::HardState { term: state.term, vote: state.vote, commit: state.commit, ..Default::default() }
}

/// Converts a message for the wire.
pub fn message_from_raft(message: eraftpb::Message) -> wire::Message {
    wire::Message {
        msg_type: message.msg_type.value(),
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.into_iter().map(entry_from_raft).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: message.snapshot.into_option().map(snapshot_from_raft),
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.into(),
        deprecated_priority: message.deprecated_priority,
        priority: message.priority,
    }
}

/// Converts a message for Raft.
pub fn message_to_raft(message: wire::Message) -> Result<eraftpb::Message> {
    let entries: Vec<eraftpb::Entry> =
        message.entries.into_iter().map(entry_to_raft).collect::<Result<_>>()?;
    Ok(eraftpb::Message {
        msg_type: variant("message type", message.msg_type)?,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: entries.into(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: message.snapshot.map(snapshot_to_raft).into(),
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.into(),
        deprecated_priority: message.deprecated_priority,
        priority: message.priority,
        ..Default::default()
    })
}

/// Converts a change of one member for the wire.
pub fn conf_change_from_raft(change: eraftpb::ConfChange) -> wire::ConfChange {
    wire::ConfChange {
        change_type: change.change_type.value(),
        node_id: change.node_id,
        context: change.context.into(),
        id: change.id,
    }
}

/// Converts a change of one member for Raft.
pub fn conf_change_to_raft(change: wire::ConfChange) -> Result<eraftpb::ConfChange> {
    Ok(eraftpb::ConfChange {
        change_type: variant("conf change type", change.change_type)?,
        node_id: change.node_id,
        context: change.context.into(),
        id: change.id,
        ..Default::default()
    })
}

/// Converts a change of several members for the wire.
pub fn conf_change_v2_from_raft(change: eraftpb::ConfChangeV2) -> wire::ConfChangeV2 {
    let single = |change: eraftpb::ConfChangeSingle| wire::ConfChangeSingle {
        change_type: change.change_type.value(),
        node_id: change.node_id,
    };
    wire::ConfChangeV2 {
        transition: change.transition.value(),
        changes: change.changes.into_iter().map(single).collect(),
        context: change.context.into(),
    }
}

/// Converts a change of several members for Raft.
pub fn conf_change_v2_to_raft(change: wire::ConfChangeV2) -> Result<eraftpb::ConfChangeV2> {
    let single = |change: wire::ConfChangeSingle| {
        Ok(eraftpb::ConfChangeSingle {
            change_type: variant("conf change type", change.change_type)?,
            node_id: change.node_id,
            ..Default::default()
        })
    };
    let changes: Vec<eraftpb::ConfChangeSingle> =
        change.changes.into_iter().map(single).collect::<Result<_>>()?;
    Ok(eraftpb::ConfChangeV2 {
        transition: variant("conf change transition", change.transition)?,
        changes: changes.into(),
        context: change.context.into(),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use protobuf::Message as _;

    use super::*;

    fn entry(index: u64) -> wire::Entry {
        wire::Entry {
            entry_type: wire::EntryType::EntryConfChangeV2.into(),
            term: 7,
            index,
            data: b"data".to_vec(),
            context: vec![1],
            sync_log: true,
        }
    }

    fn conf_state() -> wire::ConfState {
        wire::ConfState {
            voters: vec![1, 2],
            learners: vec![3],
            voters_outgoing: vec![4],
            learners_next: vec![5],
            auto_leave: true,
        }
    }

    fn snapshot() -> wire::Snapshot {
        let metadata = wire::SnapshotMetadata { conf_state: Some(conf_state()), index: 8, term: 9 };
        wire::Snapshot { data: b"snap".to_vec(), metadata: Some(metadata) }
    }

    fn message() -> wire::Message {
        wire::Message {
            msg_type: wire::MessageType::MsgSnapshot.into(),
            to: 1,
            from: 2,
            term: 3,
            log_term: 4,
            index: 5,
            entries: vec![entry(6), entry(7)],
            commit: 8,
            commit_term: 9,
            snapshot: Some(snapshot()),
            request_snapshot: 10,
            reject: true,
            reject_hint: 11,
            context: b"ctx".to_vec(),
            deprecated_priority: 12,
            priority: -13,
        }
    }

    #[test]
    fn a_message_round_trips_in_both_directions() {
        let raft = message_to_raft(message()).unwrap();
        let read = eraftpb::Message::parse_from_bytes(&message().encode_to_vec()).unwrap();
        assert_eq!(raft, read, "every field is kept and has its number");
        assert_eq!(message_from_raft(raft), message());
        let empty = wire::Message::default();
        assert_eq!(message_from_raft(message_to_raft(empty.clone()).unwrap()), empty);
    }

    #[test]
    fn states_round_trip() {
        let hard = wire::HardState { term: 1, vote: 2, commit: 3 };
        assert_eq!(hard_state_from_raft(hard_state_to_raft(hard)), hard);
        assert_eq!(conf_state_from_raft(conf_state_to_raft(conf_state())), conf_state());
        assert_eq!(snapshot_from_raft(snapshot_to_raft(snapshot())), snapshot());
    }

    #[test]
    fn conf_changes_round_trip_in_both_directions() {
        let one = wire::ConfChange {
            change_type: wire::ConfChangeType::AddLearnerNode.into(),
            node_id: 4,
            context: b"req".to_vec(),
            id: 5,
        };
        let raft = conf_change_to_raft(one.clone()).unwrap();
        assert_eq!(raft, eraftpb::ConfChange::parse_from_bytes(&one.encode_to_vec()).unwrap());
        assert_eq!(conf_change_from_raft(raft), one);
        let single =
            wire::ConfChangeSingle { change_type: wire::ConfChangeType::RemoveNode.into(), node_id: 6 };
        let two = wire::ConfChangeV2 {
            transition: wire::ConfChangeTransition::Explicit.into(),
            changes: vec![single, single],
            context: b"req".to_vec(),
        };
        let raft = conf_change_v2_to_raft(two.clone()).unwrap();
        assert_eq!(raft, eraftpb::ConfChangeV2::parse_from_bytes(&two.encode_to_vec()).unwrap());
        assert_eq!(conf_change_v2_from_raft(raft), two);
    }

    #[test]
    fn every_message_type_has_its_number() {
        for value in 0..=18 {
            let message = wire::Message { msg_type: value, ..Default::default() };
            assert_eq!(message_from_raft(message_to_raft(message.clone()).unwrap()), message);
        }
        let newer = wire::Message { msg_type: 99, ..Default::default() };
        assert_eq!(message_to_raft(newer), Err(UnknownVariant { what: "message type", value: 99 }));
        let newer = wire::Entry { entry_type: -1, ..Default::default() };
        assert!(entry_to_raft(newer).is_err());
    }

    #[test]
    fn bytes_move_without_a_copy() {
        let wire_entry = entry(1);
        let address = wire_entry.data.as_ptr();
        let raft_entry = entry_to_raft(wire_entry).unwrap();
        assert_eq!(raft_entry.data.as_ptr(), address);
        assert_eq!(entry_from_raft(raft_entry).data.as_ptr(), address);
    }
}
