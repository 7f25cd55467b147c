//! `cluster`: prints the cluster's id and the leaders of its regions.
use std::collections::BTreeMap;

use kvproto::{
    metapb::{Peer, Region, StoreState},
    raft_serverpb::PeerState,
};
use serde_json::{Value, json};

use super::store_info::ask_cluster_id;
use crate::{Result, cli::Global, pd::Pd, print::output::Output, source::Source};

/// A region and its leader.
type Led = (Region, Option<Peer>);

fn text((region, leader): &Led) -> String {
    let by = match leader {
        Some(leader) => format!("led by peer {} on store {}", leader.id, leader.store_id),
        None => "no leader is known".to_owned(),
    };
    let stores: Vec<String> = region.peers.iter().map(|peer| peer.store_id.to_string()).collect();
    format!("region {}: {by}; replicas on stores {}", region.id, stores.join(", "))
}

fn object((region, leader): &Led) -> Value {
    let peer = |peer: &Peer| json!({ "id": peer.id, "store_id": peer.store_id });
    json!({
        "region_id": region.id, "leader": leader.as_ref().map(peer),
        "peers": region.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

/// Prints the cluster of a directory or of a server; only a server has the leaders of its regions. The text
/// is TiKV's: the bare number of a server, and the leaders on standard error.
pub fn print_from_source(source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let id = ask_cluster_id(source)?;
    if source.executor() != "DebugClient" {
        return out.either(|| format!("cluster id: {id}"), || json!({ "cluster_id": id }));
    }
    let mut led = Vec::new();
    for region in source.all_regions().map_err(|e| e.into_error("DebugClient::get_all_regions_in_store"))? {
        let info = source.region_info(region).map_err(|e| e.into_error("DebugClient::region_info"))?;
        let state = info.region_local_state.filter(|state| state.state() != PeerState::Tombstone);
        if let Some(region) = state.and_then(|state| state.region) {
            let leader = source.leader(&region);
            led.push((region, leader));
        }
    }
    if out.is_json() {
        let regions: Vec<Value> = led.iter().map(object).collect();
        return out.json(&json!({ "cluster_id": id, "regions": regions }));
    }
    out.line(id.to_string())?;
    out.flush()?;
    led.iter().for_each(|led| out.note(&text(led)));
    Ok(())
}

/// Prints the cluster as PD has it: id, stores with their numbers of leaders, regions and their leaders.
pub fn print_from_pd(global: &Global, out: &mut Output<'_>) -> Result<()> {
    let pd = Pd::connect(global)?;
    let (id, stores) = (pd.cluster_id(), pd.stores()?);
    let regions = pd.scan(b"", b"")?.into_iter();
    let led: Vec<Led> = regions
        .filter_map(|region| Some((region.region?, region.leader.filter(|leader| leader.id > 0))))
        .collect();
    let mut leads: BTreeMap<u64, usize> = BTreeMap::new();
    for leader in led.iter().filter_map(|(_, leader)| leader.as_ref()) {
        *leads.entry(leader.store_id).or_default() += 1;
    }
    let state = |state| StoreState::try_from(state).map_or("unknown", |state| state.as_str_name());
    let leads = |store: u64| leads.get(&store).copied().unwrap_or(0);
    if out.is_json() {
        let stores = stores.iter().map(|store| {
            json!({ "store_id": store.id, "address": store.address, "state": state(store.state),
                    "leads": leads(store.id) })
        });
        return out.json(&json!({
            "cluster_id": id, "stores": stores.collect::<Vec<_>>(), "regions": led.iter().map(object).collect::<Vec<_>>()
        }));
    }
    out.line(format!("cluster id: {id}"))?;
    for store in &stores {
        let (id, address, state) = (store.id, &store.address, state(store.state));
        out.line(format!("store {id}: {address}, {state}, leads {} regions", leads(id)))?;
    }
    led.iter().try_for_each(|led| out.line(text(led)))
}
