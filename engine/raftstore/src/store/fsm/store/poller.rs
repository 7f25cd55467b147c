//! Pollers of peer FSMs, threads `raftstore-{store}-{n}`. Mirrors `RaftPoller`.
use super::{context::PollContext, store_delegate::StoreFsmDelegate, store_fsm::StoreFsm};
use crate::{
    batch_system::{HandleResult, HandlerBuilder, Mailbox, PollHandler},
    store::{
        fsm::peer::{PeerFsm, PeerFsmDelegate},
        transport::Transport,
    },
};

/// Creates the pollers of peer FSMs.
pub struct RaftPollerBuilder<T: Transport> {
    /// State that each poller copies.
    pub ctx: PollContext<T>,
}

impl<T: Transport> HandlerBuilder<PeerFsm, StoreFsm> for RaftPollerBuilder<T> {
    type Handler = RaftPoller<T>;

    fn build(&mut self, _: usize) -> RaftPoller<T> {
        RaftPoller { ctx: self.ctx.clone(), seen: 0 }
    }
}

/// Runs peer FSMs.
pub struct RaftPoller<T: Transport> {
    ctx: PollContext<T>,
    /// Version of the configuration that this poller uses.
    seen: u64,
}

impl<T: Transport> PollHandler<PeerFsm, StoreFsm> for RaftPoller<T> {
    fn begin(&mut self, _: usize) {
        if let Some(config) = self.ctx.tracker.changed(&mut self.seen) {
            self.ctx.config = config;
        }
    }

    fn handle_control(&mut self, store: &mut StoreFsm, mailbox: &Mailbox<StoreFsm>) {
        let mut delegate = StoreFsmDelegate { store, ctx: &mut self.ctx };
        for _ in 0..delegate.ctx.config.messages_per_tick {
            let Some(msg) = mailbox.try_recv() else { break };
            delegate.handle_msg(msg);
        }
    }

    fn handle_normal(&mut self, peer: &mut PeerFsm, mailbox: &Mailbox<PeerFsm>) -> HandleResult {
        PeerFsmDelegate { fsm: peer, ctx: &mut self.ctx }.run(mailbox)
    }

    fn end(&mut self) {
        if self.ctx.trans.need_flush() {
            self.ctx.trans.flush();
        }
    }
}
