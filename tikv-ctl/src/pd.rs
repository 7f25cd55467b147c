//! The Placement Driver, asked one thing at a time.

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
        let told = security.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| Error::other(format!("starting a runtime: {e}")))?;
        let endpoints: Vec<String> =
            addresses.iter().flat_map(|list| list.split(',').map(str::to_owned)).collect();
        let address = endpoints.join(",");
        let client = runtime.block_on(PdClient::connect_secure(&endpoints, security)).map_err(|e| {
            let other = endpoints.iter().find_map(|host| {
                is_grpc_address(host, &told).or_else(|| {
                    // PD speaks HTTP, too: only a server's configuration tells it from one.
                    is_status_address(host, &told).filter(|what| what.contains("status address of a server"))
                })
            });
            Error::other(match other {
                Some(what) => format!(
                    "--pd {address}: {what}, and not that of PD: give the address that pd-server prints"
                ),
                None => format!("--pd {address}: {e}; see that PD runs there{}", told.hint()),
            })
        })?;
        Ok(Pd { address, runtime, client })
    }

    fn ask<T>(&self, what: &str, answer: pd::client::Result<T>) -> Result<T> {
        answer.map_err(|e| Error::other(format!("PD at {}: {what}: {e}", self.address)))
    }

    /// A region, and its leader if PD knows it.
    pub fn region(&self, id: u64) -> Result<(Region, Option<Peer>)> {
        let found = self.runtime.block_on(self.client.get_region_by_id(id));
        let found = self.ask(&format!("region {id}"), found)?;
        Ok((found.region, found.leader))
    }

    /// A region; none: PD does not know it.
    pub fn region_if_known(&self, id: u64) -> Result<Option<Region>> {
        match self.runtime.block_on(self.client.get_region_by_id(id)) {
            Err(pd::client::Error::RegionNotFound(_)) => Ok(None),
            found => Ok(Some(self.ask(&format!("region {id}"), found)?.region)),
        }
    }

    /// Who leads a region, if PD knows it.
    pub fn leader(&self, id: u64) -> Result<Option<Peer>> {
        match self.runtime.block_on(self.client.get_region_by_id(id)) {
            Err(pd::client::Error::RegionNotFound(_)) => Ok(None),
            found => Ok(self.ask(&format!("region {id}"), found)?.leader.filter(|leader| leader.id > 0)),
        }
    }

    /// A store.
    pub fn store(&self, id: u64) -> Result<Store> {
        let found = self.runtime.block_on(self.client.get_store(id));
        self.ask(&format!("store {id}"), found)
    }

    /// All stores that are not gone.
    pub fn stores(&self) -> Result<Vec<Store>> {
        let found = self.runtime.block_on(self.client.get_all_stores(true));
        self.ask("all stores", found)
    }

    /// The regions that overlap `[start, end)`, keys as PD shows them; an empty end is none.
    pub fn scan(&self, start: &[u8], end: &[u8]) -> Result<Vec<pdpb::Region>> {
        let found = self.runtime.block_on(self.client.scan_regions(start, end, 0));
        self.ask("the regions", found)
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> u64 {
        self.client.cluster_id()
    }

    /// A timestamp that is newer than all that were given before.
    pub fn tso(&self) -> Result<u64> {
        let ts = self.ask("a timestamp", self.runtime.block_on(self.client.get_tso(1)))?;
        Ok(((ts.physical as u64) << 18) | ts.logical as u64)
    }

    /// An id that nothing else has.
    pub fn alloc_id(&self) -> Result<u64> {
        let found = self.runtime.block_on(self.client.alloc_id());
        self.ask("a new id", found)
    }
}
