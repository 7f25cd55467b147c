//! The store FSM: one for each store, the control FSM of the peers' batch system.
use crate::{batch_system::Fsm, store::msg::StoreMsg};

/// State of the store FSM. TiKV: `StoreFsm`.
pub struct StoreFsm {
    /// Id of this store.
    pub store_id: u64,
}

impl Fsm for StoreFsm {
    type Message = StoreMsg;

    fn is_stopped(&self) -> bool {
        false
    }
}
