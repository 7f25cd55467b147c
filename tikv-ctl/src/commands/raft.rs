//! `raft region` and `raft log`.
use std::collections::HashSet;

use clap::{ArgGroup, Args, Subcommand};
use keys::{escape, hex_upper};
use kvproto::{
    eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType},
    metapb::{Peer, Region},
    raft_serverpb::PeerState,
};
use prost::Message;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use crate::{
    Error, Result,
    cli::Global,
    key::{escaped, hex},
    pd::Pd,
    print::output::Output,
    schema::enum_value,
    simple_write,
    source::{RegionInfo, Source},
    text::{message_json, message_text},
};

/// `raft log` and `raft region`.
#[derive(Debug, Subcommand)]
pub enum RaftCmd {
    /// Print an entry of the Raft log
    #[command(group = ArgGroup::new("entry").args(["key", "region"]).required(true))]
    Log {
        /// The region of the entry
        #[arg(short = 'r', value_name = "REGION", requires = "index", conflicts_with = "key")]
        region: Option<u64>,
        /// The index of the entry
        #[arg(short = 'i', value_name = "INDEX", requires = "region", conflicts_with = "key")]
        index: Option<u64>,
        #[arg(
            short = 'k',
            value_name = "KEY",
            help = "Raft log key (01 02 region 01 index) in escaped form or 0x hex"
        )]
        key: Option<String>,
        /// Print the entry's data as hexadecimal
        #[arg(short = 'b')]
        binary: bool,
    },
    /// Print the states of regions
    #[command(alias = "info")]
    Region(RegionArgs),
}

/// Selection of regions.
#[derive(Clone, Debug, Args)]
pub struct RegionArgs {
    /// Region ids, separated with commas
    #[arg(
        short = 'r',
        alias = "region",
        value_name = "REGION",
        value_delimiter = ',',
        conflicts_with = "all_regions"
    )]
    pub regions: Option<Vec<u64>>,
    /// Print all regions
    #[arg(long)]
    pub all_regions: bool,
    /// Hex start key
    #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
    pub start: String,
    /// Hex end key
    #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
    pub end: String,
    /// Print at most this many regions; 0: no limit
    #[arg(long, default_value_t = 16)]
    pub limit: usize,
    /// Skip tombstone regions
    #[arg(long)]
    pub skip_tombstone: bool,
}

/// Runs `raft`.
pub fn run(cmd: &RaftCmd, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    match cmd {
        RaftCmd::Region(args) => regions(args, None, source, out),
        RaftCmd::Log { region, index, key, binary } => {
            let (region, index) = entry_place(*region, *index, key.as_deref())?;
            log(region, index, *binary, source, out)
        }
    }
}

/// Runs `region`: as `raft region`, with the leaders as PD or the server knows them. The files do not record
/// the leader.
pub fn region(args: &RegionArgs, global: &Global, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let pd = global.pd.is_some().then(|| Pd::connect(global)).transpose()?;
    let leader_of = |region: &Region| match &pd {
        Some(pd) => pd.leader(region.id),
        None => Ok(source.leader(region)),
    };
    let known = pd.is_some() || global.host.is_some();
    regions(args, known.then_some(&leader_of as LeaderOf<'_>), source, out)
}

#[derive(Serialize)]
struct RegionInfos {
    region_infos: ById,
}

/// Objects by region id, in the order of their discovery.
struct ById(Vec<(u64, RegionView)>);

impl Serialize for ById {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (id, view) in &self.0 {
            map.serialize_entry(&id.to_string(), view)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct RegionView {
    region_id: u64,
    /// Absent if not requested, null if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<Option<PeerView>>,
    region_local_state: Option<RegionLocalStateView>,
    raft_local_state: Option<RaftLocalStateView>,
    raft_apply_state: Option<ApplyStateView>,
}

#[derive(Serialize)]
struct RegionLocalStateView {
    region: RegionMeta,
}

#[derive(Serialize)]
struct RegionMeta {
    id: u64,
    state: String,
    start_key: String,
    end_key: String,
    region_epoch: EpochView,
    peers: Vec<PeerView>,
}

#[derive(Serialize)]
struct EpochView {
    conf_ver: u64,
    version: u64,
}

#[derive(Serialize)]
struct PeerView {
    id: u64,
    store_id: u64,
    role: String,
}

#[derive(Serialize)]
struct RaftLocalStateView {
    hard_state: HardStateView,
    last_index: u64,
}

#[derive(Serialize)]
struct HardStateView {
    term: u64,
    vote: u64,
    commit: u64,
}

#[derive(Serialize)]
struct ApplyStateView {
    applied_index: u64,
    commit_index: u64,
    commit_term: u64,
    truncated_state: TruncatedView,
}

#[derive(Serialize)]
struct TruncatedView {
    index: u64,
    term: u64,
}

impl RegionView {
    fn new(region_id: u64, info: &RegionInfo) -> RegionView {
        RegionView {
            region_id,
            leader: None,
            region_local_state: info.region_local_state.as_ref().map(|state| RegionLocalStateView {
                region: RegionMeta::new(
                    state.region.as_ref().unwrap_or(&Region::default()),
                    enum_value("raft_serverpb.PeerState", state.state.into()),
                ),
            }),
            raft_local_state: info.raft_local_state.as_ref().map(|state| {
                let hard = state.hard_state.unwrap_or_default();
                let hard_state = HardStateView { term: hard.term, vote: hard.vote, commit: hard.commit };
                RaftLocalStateView { hard_state, last_index: state.last_index }
            }),
            raft_apply_state: info.raft_apply_state.as_ref().map(|state| {
                let truncated = state.truncated_state.unwrap_or_default();
                ApplyStateView {
                    applied_index: state.applied_index,
                    commit_index: state.commit_index,
                    commit_term: state.commit_term,
                    truncated_state: TruncatedView { index: truncated.index, term: truncated.term },
                }
            }),
        }
    }
}

impl PeerView {
    fn new(peer: &Peer) -> PeerView {
        let role = enum_value("metapb.PeerRole", peer.role.into());
        PeerView { id: peer.id, store_id: peer.store_id, role }
    }
}

impl RegionMeta {
    fn new(region: &Region, state: String) -> RegionMeta {
        let epoch = region.epoch();
        let peers = region.peers.iter().map(PeerView::new);
        RegionMeta {
            id: region.id,
            state,
            start_key: hex_upper(&region.start_key),
            end_key: hex_upper(&region.end_key),
            region_epoch: EpochView { conf_ver: epoch.conf_ver, version: epoch.version },
            peers: peers.collect(),
        }
    }
}

/// Whether the ranges intersect; ends count where TiKV counts them (`check_intersect_of_range`).
fn ranges_meet(region: &Region, start: &[u8], end: &[u8]) -> bool {
    let before = !region.end_key.is_empty() && !start.is_empty() && region.end_key.as_slice() <= start;
    let after = !end.is_empty() && !region.start_key.is_empty() && end < region.start_key.as_slice();
    !before && !after
}

/// Finds the leader of a region.
pub type LeaderOf<'a> = &'a dyn Fn(&Region) -> Result<Option<Peer>>;

/// `raft region`: prints the states of regions, as JSON in every format; with `leader_of`, also their
/// leaders.
pub fn regions(
    args: &RegionArgs,
    leader_of: Option<LeaderOf<'_>>,
    source: &dyn Source,
    out: &mut Output<'_>,
) -> Result<()> {
    let of = |function| format!("{}::{function}", source.executor());
    let (start, end) = (hex(&args.start)?, hex(&args.end)?);
    let ids = match &args.regions {
        Some(ids) => {
            let mut seen = HashSet::new();
            ids.iter().copied().filter(|id| seen.insert(*id)).collect()
        }
        None => source.all_regions().map_err(|e| e.into_error(&of("get_all_regions_in_store")))?,
    };
    let mut found = Vec::new();
    for id in ids {
        if args.limit > 0 && found.len() >= args.limit {
            break;
        }
        let info = source.region_info(id).map_err(|e| e.into_error(&of("region_info")))?;
        if let Some(state) = &info.region_local_state {
            let gone = args.skip_tombstone && state.state() == PeerState::Tombstone;
            let region = state.region.clone().unwrap_or_default();
            if gone || !ranges_meet(&region, &start, &end) {
                continue;
            }
        }
        let mut view = RegionView::new(id, &info);
        let region = info.region_local_state.and_then(|state| state.region);
        if let (Some(leader_of), Some(region)) = (leader_of, region) {
            view.leader = Some(leader_of(&region)?.as_ref().map(PeerView::new));
        }
        found.push((id, view));
    }
    out.json(&RegionInfos { region_infos: ById(found) })
}

/// Parses region and index from flags or from a log key.
pub fn entry_place(region: Option<u64>, index: Option<u64>, key: Option<&str>) -> Result<(u64, u64)> {
    if let Some(text) = key {
        let bytes =
            if text.starts_with("0x") || text.starts_with("0X") { hex(text)? } else { escaped(text)? };
        return keys::decode_raft_log_key(&bytes).map_err(|e| Error::other(format!("-k {text}: {e}")));
    }
    region.zip(index).ok_or_else(|| Error::other("give -r REGION -i INDEX, or -k KEY"))
}

/// `raft log`: prints an entry and the command that it contains.
pub fn log(region: u64, index: u64, binary: bool, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let fetch = || {
        source.raft_log(region, index).map_err(|e| e.into_error(&format!("{}::raft_log", source.executor())))
    };
    if out.is_json() {
        let entry = fetch()?;
        return out.json(&entry_json(region, &entry)?);
    }
    out.line(format!("idx_key: {}", escape(&keys::raft_log_key(region, index))))?;
    out.line(format!("region: {region}"))?;
    out.line(format!("log index: {index}"))?;
    let mut entry = fetch()?;
    let data = std::mem::take(&mut entry.data);
    out.line(format!("entry {}", message_text("eraftpb.Entry", &entry.encode_to_vec())?))?;
    out.line(format!("msg len: {}", data.len()))?;
    if data.is_empty() {
        return Ok(());
    }
    if binary {
        return out.line(format!("data: \n{}", hex_upper(&data)));
    }
    for line in data_lines(&entry, &data)? {
        out.line(line)?;
    }
    Ok(())
}

fn data_lines(entry: &Entry, data: &[u8]) -> Result<Vec<String>> {
    let bad = |e: prost::DecodeError| {
        Error::other(format!("cannot decode the entry's data: {e}; give -b to print its bytes"))
    };
    let (name, message, context) = match entry.entry_type() {
        EntryType::EntryNormal if simple_write::is_simple(data) => {
            let command = simple_write::decode(data).ok_or_else(|| {
                Error::other("cannot decode the entry's data (raftstore-v2); give -b to print its bytes")
            })?;
            let text = message_text("raft_cmdpb.RaftCmdRequest", &command.encode_to_vec())?;
            return Ok(vec![format!("SimpleWrite: {text}")]);
        }
        EntryType::EntryNormal => {
            return Ok(vec![format!("Normal: {}", message_text("raft_cmdpb.RaftCmdRequest", data)?)]);
        }
        EntryType::EntryConfChange => {
            let mut change = ConfChange::decode(data).map_err(bad)?;
            let context = std::mem::take(&mut change.context);
            ("ConfChange", message_text("eraftpb.ConfChange", &change.encode_to_vec())?, context)
        }
        EntryType::EntryConfChangeV2 => {
            let mut change = ConfChangeV2::decode(data).map_err(bad)?;
            let context = std::mem::take(&mut change.context);
            ("ConfChangeV2", message_text("eraftpb.ConfChangeV2", &change.encode_to_vec())?, context)
        }
    };
    let command = message_text("raft_cmdpb.RaftCmdRequest", &context)?;
    Ok(vec![format!("{name}: {message}"), format!("{name}.RaftCmdRequest: {command}")])
}

fn entry_json(region: u64, entry: &Entry) -> Result<Value> {
    let command = |bytes: &[u8]| message_json("raft_cmdpb.RaftCmdRequest", bytes);
    let (mut change, mut request) = (Value::Null, Value::Null);
    match entry.entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => {}
        EntryType::EntryNormal if simple_write::is_simple(&entry.data) => {
            if let Some(simple) = simple_write::decode(&entry.data) {
                request = command(&simple.encode_to_vec())?;
            }
        }
        EntryType::EntryNormal => request = command(&entry.data)?,
        EntryType::EntryConfChange => {
            change = message_json("eraftpb.ConfChange", &entry.data)?;
            let context = ConfChange::decode(entry.data.as_slice()).map(|c| c.context).unwrap_or_default();
            request = command(&context)?;
        }
        EntryType::EntryConfChangeV2 => {
            change = message_json("eraftpb.ConfChangeV2", &entry.data)?;
            let context = ConfChangeV2::decode(entry.data.as_slice()).map(|c| c.context).unwrap_or_default();
            request = command(&context)?;
        }
    }
    Ok(json!({
        "region_id": region,
        "index": entry.index,
        "term": entry.term,
        "entry_type": enum_value("eraftpb.EntryType", entry.entry_type.into()),
        "context": hex_upper(&entry.context),
        "data": hex_upper(&entry.data),
        "conf_change": change,
        "request": request,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_as_in_tikv() {
        let region = |start: &[u8], end: &[u8]| Region {
            start_key: start.to_vec(),
            end_key: end.to_vec(),
            ..Default::default()
        };
        let r = region(b"b", b"e");
        for (start, end, meets) in [
            (&b"b"[..], &b"e"[..], true),
            (b"", b"", true),
            (b"e", b"f", false),
            (b"d", b"", true),
            (b"", b"b", true),
            (b"", b"a", false),
        ] {
            assert_eq!(ranges_meet(&r, start, end), meets, "{start:?} {end:?}");
        }
        assert!(ranges_meet(&region(b"", b""), b"x", b"y"));
    }

    #[test]
    fn a_log_key_names_its_entry() {
        let key = escape(&keys::raft_log_key(7, 9));
        assert_eq!(entry_place(None, None, Some(&key)).unwrap(), (7, 9));
        assert!(entry_place(None, None, Some("zk")).is_err());
    }
}
