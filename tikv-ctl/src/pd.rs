//! Client of the Placement Driver for single calls.
use kvproto::{
    metapb::{Peer, Region, Store},
    pdpb,
};
use pd::client::PdClient;

use crate::{
    Error, Result,
    cli::Global,
    probe::{is_grpc_address, is_status_address},
};

/// A connection to PD.
pub struct Pd {
    address: String,
    runtime: tokio::runtime::Runtime,
    client: PdClient,
}

impl Pd {
    /// Connects to the PD that `--pd` names.
    pub fn connect(global: &Global) -> Result<Pd> {
        let address =
            global.pd.as_ref().ok_or_else(|| Error::other("this command asks PD: give --pd ADDR"))?;
        Pd::connect_to(std::slice::from_ref(address), global)
    }

    /// Connects to one of the PDs at these addresses.
    pub fn connect_to(addresses: &[String], global: &Global) -> Result<Pd> {
        let security = global.security()?;
        let probe_security = security.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Error::other(format!("cannot start a runtime: {e}")))?;
        let endpoints: Vec<String> =
            addresses.iter().flat_map(|list| list.split(',').map(str::to_owned)).collect();
        let address = endpoints.join(",");
        let client = runtime.block_on(PdClient::connect_secure(&endpoints, security)).map_err(|e| {
            let other = endpoints.iter().find_map(|host| {
                is_grpc_address(host, &probe_security).or_else(|| {
                    // PD speaks HTTP, too: only the configuration shows that this is a server.
                    is_status_address(host, &probe_security)
                        .filter(|what| what.contains("status address of a server"))
                })
            });
            Error::other(match other {
                Some(what) => {
                    format!("--pd {address}: expected PD, but {what}; give the address that pd-server prints")
                }
                None => format!("--pd {address}: {e}; check that PD runs there{}", probe_security.hint()),
            })
        })?;
        Ok(Pd { address, runtime, client })
    }

    fn ask<T>(&self, what: &str, answer: pd::client::Result<T>) -> Result<T> {
        answer.map_err(|e| Error::other(format!("PD at {}: {what}: {e}", self.address)))
    }

    /// Returns a region, and its leader if PD has one.
    pub fn region(&self, id: u64) -> Result<(Region, Option<Peer>)> {
        let found = self.runtime.block_on(self.client.get_region_by_id(id));
        let found = self.ask(&format!("region {id}"), found)?;
        Ok((found.region, found.leader))
    }

    /// Returns a region, or none if PD does not have it.
    pub fn region_if_known(&self, id: u64) -> Result<Option<Region>> {
        match self.runtime.block_on(self.client.get_region_by_id(id)) {
            Err(pd::client::Error::RegionNotFound(_)) => Ok(None),
            found => Ok(Some(self.ask(&format!("region {id}"), found)?.region)),
        }
    }

    /// Returns the leader of a region, if PD has one.
    pub fn leader(&self, id: u64) -> Result<Option<Peer>> {
        match self.runtime.block_on(self.client.get_region_by_id(id)) {
            Err(pd::client::Error::RegionNotFound(_)) => Ok(None),
            found => Ok(self.ask(&format!("region {id}"), found)?.leader.filter(|leader| leader.id > 0)),
        }
    }

    /// Returns a store.
    pub fn store(&self, id: u64) -> Result<Store> {
        let found = self.runtime.block_on(self.client.get_store(id));
        self.ask(&format!("store {id}"), found)
    }

    /// Returns all stores except tombstones.
    pub fn stores(&self) -> Result<Vec<Store>> {
        let found = self.runtime.block_on(self.client.get_all_stores(true));
        self.ask("all stores", found)
    }

    /// Returns the regions that overlap `[start, end)`, in PD's form of keys; an empty end is unbounded.
    pub fn scan(&self, start: &[u8], end: &[u8]) -> Result<Vec<pdpb::Region>> {
        let found = self.runtime.block_on(self.client.scan_regions(start, end, 0));
        self.ask("the regions", found)
    }

    /// Returns the cluster's id.
    pub fn cluster_id(&self) -> u64 {
        self.client.cluster_id()
    }

    /// Returns a timestamp that is newer than all earlier ones.
    pub fn tso(&self) -> Result<u64> {
        let ts = self.ask("a timestamp", self.runtime.block_on(self.client.get_tso(1)))?;
        Ok(((ts.physical as u64) << 18) | ts.logical as u64)
    }

    /// Returns a new unique id.
    pub fn alloc_id(&self) -> Result<u64> {
        let found = self.runtime.block_on(self.client.alloc_id());
        self.ask("a new id", found)
    }
}
