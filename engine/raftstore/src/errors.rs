//! Errors of the RaftStore; those a client must act on become region errors.
use kvproto::{errorpb, metapb};

/// Error of a request, a message or the store itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A command is longer than `raft-entry-max-size`.
    #[error("raft entry is too large, region {region_id}, entry size {entry_size}; split the write")]
    RaftEntryTooLarge {
        /// Id of the region.
        region_id: u64,
        /// Bytes of the command.
        entry_size: u64,
    },
    /// The command is for another store.
    #[error("to store id {to_store_id}, mine {my_store_id}")]
    StoreNotMatch {
        /// Store that the command names.
        to_store_id: u64,
        /// This store.
        my_store_id: u64,
    },
    /// The command is for another peer of the region.
    #[error("mismatch peer id {request_peer_id} != {store_peer_id}")]
    MismatchPeerId {
        /// Peer that the command names.
        request_peer_id: u64,
        /// Peer on this store.
        store_peer_id: u64,
    },
    /// The region has no peer on this store.
    #[error("region {0} not found")]
    RegionNotFound(u64),
    /// The peer has received no snapshot yet.
    #[error("region {0} not initialized yet")]
    RegionNotInitialized(u64),
    /// The peer is not the leader; the leader, if known.
    #[error("peer is not leader for region {0}, leader may {1:?}")]
    NotLeader(u64, Option<metapb::Peer>),
    /// The key is outside of the region.
    #[error("key {} is not in region key range [{}, {}) for region {}",
        keys::hex_upper(.0), keys::hex_upper(&.1.start_key), keys::hex_upper(&.1.end_key), .1.id)]
    KeyNotInRegion(Vec<u8>, Box<metapb::Region>),
    /// The command has another region epoch; the reason, and the regions that replace it.
    #[error("epoch not match {0}")]
    EpochNotMatch(String, Vec<metapb::Region>),
    /// The region is in a flashback that began at this timestamp.
    #[error("region {0} is in flashback progress with start_ts {1}")]
    FlashbackInProgress(u64, u64),
    /// The request belongs to a flashback that the region is not prepared for.
    #[error("region {0} not prepared the flashback")]
    FlashbackNotPrepared(u64),
    /// The command is of an old term, or its entry was overwritten; the client tries again.
    #[error("stale command")]
    StaleCommand,
    /// The store cannot handle the command now; the reason.
    #[error("server is busy: {0}")]
    ServerIsBusy(String),
    /// The leader cannot confirm reads yet.
    #[error("read index not ready, reason {reason}, region {region_id}")]
    ReadIndexNotReady {
        /// The reason.
        reason: &'static str,
        /// Id of the region.
        region_id: u64,
    },
    /// A stale read is above the timestamp that the peer can serve.
    #[error("peer {peer_id} is not ready, safe_ts {safe_ts}, region {region_id}")]
    DataIsNotReady {
        /// Id of the region.
        region_id: u64,
        /// Id of the peer.
        peer_id: u64,
        /// Greatest timestamp that the peer can serve.
        safe_ts: u64,
    },
    /// A message could not be sent; the reason.
    #[error("{0}")]
    Transport(String),
    /// Error of a snapshot.
    #[error("snapshot: {0}")]
    Snapshot(#[from] crate::store::SnapError),
    /// Error of RocksDB.
    #[error(transparent)]
    Engine(#[from] engine_rocks::Error),
    /// Error of the Raft log.
    #[error("raft log: {0}")]
    RaftLog(#[from] raft_log_engine::Error),
    /// Error of the `raft` crate.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
    /// A message of the `raft` crate cannot be decoded.
    #[error("protobuf: {0}")]
    Protobuf(#[from] protobuf::ProtobufError),
    /// A message cannot be decoded.
    #[error("protobuf: {0}")]
    Decode(#[from] prost::DecodeError),
    /// Error of the operating system.
    #[error("io: {0}")]
    Io(#[from] std::io::Error),
    /// Any other error, as text.
    #[error("{0}")]
    Other(String),
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error from a text.
    pub fn other(message: impl Into<String>) -> Self {
        Error::Other(message.into())
    }
}

/// Converts to the region error sent to the client.
impl From<Error> for errorpb::Error {
    fn from(err: Error) -> errorpb::Error {
        let mut pb = errorpb::Error { message: err.to_string(), ..Default::default() };
        match err {
            Error::RaftEntryTooLarge { region_id, entry_size } => {
                pb.raft_entry_too_large = Some(errorpb::RaftEntryTooLarge { region_id, entry_size });
            }
            Error::StoreNotMatch { to_store_id, my_store_id } => {
                let e =
                    errorpb::StoreNotMatch { request_store_id: to_store_id, actual_store_id: my_store_id };
                pb.store_not_match = Some(e);
            }
            Error::MismatchPeerId { request_peer_id, store_peer_id } => {
                pb.mismatch_peer_id = Some(errorpb::MismatchPeerId { request_peer_id, store_peer_id });
            }
            Error::RegionNotFound(region_id) => {
                pb.region_not_found = Some(errorpb::RegionNotFound { region_id });
            }
            Error::RegionNotInitialized(region_id) => {
                pb.region_not_initialized = Some(errorpb::RegionNotInitialized { region_id });
            }
            Error::NotLeader(region_id, leader) => {
                pb.not_leader = Some(errorpb::NotLeader { region_id, leader });
            }
            Error::KeyNotInRegion(key, region) => {
                pb.key_not_in_region = Some(errorpb::KeyNotInRegion {
                    key,
                    region_id: region.id,
                    start_key: region.start_key,
                    end_key: region.end_key,
                });
            }
            Error::EpochNotMatch(_, current_regions) => {
                pb.epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
            }
            Error::FlashbackInProgress(region_id, flashback_start_ts) => {
                pb.flashback_in_progress =
                    Some(errorpb::FlashbackInProgress { region_id, flashback_start_ts });
            }
            Error::FlashbackNotPrepared(region_id) => {
                pb.flashback_not_prepared = Some(errorpb::FlashbackNotPrepared { region_id });
            }
            Error::StaleCommand => pb.stale_command = Some(errorpb::StaleCommand {}),
            Error::ServerIsBusy(reason) => {
                pb.server_is_busy = Some(errorpb::ServerIsBusy { reason, ..Default::default() });
            }
            Error::Transport(reason) => {
                pb.server_is_busy = Some(errorpb::ServerIsBusy { reason, ..Default::default() });
            }
            Error::DataIsNotReady { region_id, peer_id, safe_ts } => {
                pb.data_is_not_ready = Some(errorpb::DataIsNotReady { region_id, peer_id, safe_ts });
            }
            Error::ReadIndexNotReady { reason, region_id } => {
                pb.read_index_not_ready =
                    Some(errorpb::ReadIndexNotReady { reason: reason.to_owned(), region_id });
            }
            _ => {}
        }
        pb
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_error_carries_its_fields() {
        let leader = metapb::Peer::voter(3, 7);
        let pb: errorpb::Error = Error::NotLeader(2, Some(leader)).into();
        let not_leader = pb.not_leader.unwrap();
        assert_eq!((not_leader.region_id, not_leader.leader.unwrap().store_id), (2, 3));
        assert!(pb.message.contains("not leader"));

        let region = metapb::Region { id: 2, start_key: b"b".to_vec(), ..Default::default() };
        let pb: errorpb::Error = Error::KeyNotInRegion(b"a".to_vec(), Box::new(region)).into();
        assert_eq!(pb.key_not_in_region.unwrap().start_key, b"b");
        let pb: errorpb::Error = Error::other("disk").into();
        assert_eq!(pb, errorpb::Error { message: "disk".into(), ..Default::default() });
    }
}
