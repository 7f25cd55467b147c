//! Observers of peers. Mirrors `components/raftstore/src/coprocessor`.
use kvproto::metapb::Region;
use raft::StateRole;

/// Kind of a change of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionChangeEvent {
    /// The store has a peer of the region now.
    Create,
    /// The range or the membership has changed.
    Update,
    /// The store's peer is being removed.
    Destroy,
}

/// Sees the roles and regions of this store's peers change. Runs on pollers: must not block.
///
/// TiKV: `RoleObserver` and `RegionChangeObserver`.
pub trait RegionChangeObserver: Send + Sync + 'static {
    /// The peer of `region` has a new role.
    fn on_role_change(&self, region: &Region, role: StateRole);
    /// The region has changed; `role` is its peer's.
    fn on_region_changed(&self, region: &Region, event: RegionChangeEvent, role: StateRole);
}

/// Observer that ignores all changes.
pub struct IgnoreChanges;

impl RegionChangeObserver for IgnoreChanges {
    fn on_role_change(&self, _: &Region, _: StateRole) {}

    fn on_region_changed(&self, _: &Region, _: RegionChangeEvent, _: StateRole) {}
}
