//! Callbacks: return a command's response to its sender.
use futures::channel::oneshot;
use kvproto::{errorpb, raft_cmdpb::RaftCmdResponse};
use tikv_kv::{ErrorInner, OnProposed, ReadIndexTimes, WriteTimes};

use super::{cmd_resp, region_snapshot::RegionSnapshot};

/// Response to a write.
#[derive(Clone, Debug)]
pub struct WriteResponse {
    /// The response.
    pub response: RaftCmdResponse,
    /// Times of the write's parts; zero if it was refused.
    pub times: WriteTimes,
}

/// Response to a read: a snapshot, or an error in the header.
#[derive(Clone)]
pub struct ReadResponse {
    /// The response.
    pub response: RaftCmdResponse,
    /// Snapshot of the region, if the read succeeded.
    pub snapshot: Option<RegionSnapshot>,
    /// Times of the read in the peer's FSM.
    pub times: ReadIndexTimes,
}

type BoxWrite = Box<dyn FnOnce(WriteResponse) + Send>;
type BoxRead = Box<dyn FnOnce(ReadResponse) + Send>;

/// Called exactly once. If dropped uncalled, it responds that the peer has left this store.
///
/// TiKV: `raftstore::store::msg::Callback`.
pub enum Callback {
    /// No caller waits.
    None,
    /// Callback of a read.
    Read(Once<ReadResponse>),
    /// Callback of a write, and of its proposal.
    Write(Once<WriteResponse>, Option<OnProposed>),
}

/// Function that is called once; if dropped uncalled, it is called with an error.
pub struct Once<T: From<RaftCmdResponse>> {
    call: Option<Box<dyn FnOnce(T) + Send>>,
}

impl<T: From<RaftCmdResponse>> Once<T> {
    fn new(call: Box<dyn FnOnce(T) + Send>) -> Self {
        Self { call: Some(call) }
    }

    fn invoke(mut self, answer: T) {
        if let Some(call) = self.call.take() {
            call(answer);
        }
    }
}

impl<T: From<RaftCmdResponse>> Drop for Once<T> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            call(T::from(cmd_resp::new_error(crate::Error::StaleCommand)));
        }
    }
}

impl From<RaftCmdResponse> for WriteResponse {
    fn from(response: RaftCmdResponse) -> Self {
        Self { response, times: WriteTimes::default() }
    }
}

impl From<RaftCmdResponse> for ReadResponse {
    fn from(response: RaftCmdResponse) -> Self {
        Self { response, snapshot: None, times: ReadIndexTimes::default() }
    }
}

impl WriteResponse {
    /// Returns the region error, if the write was refused.
    pub fn error(&self) -> Option<&errorpb::Error> {
        self.response.header.as_ref()?.error.as_ref()
    }
}

impl ReadResponse {
    /// Adds the times of the read.
    #[must_use]
    pub fn with_times(self, times: ReadIndexTimes) -> Self {
        Self { times, ..self }
    }

    /// Returns the snapshot.
    ///
    /// # Errors
    /// The region error, or the lock found in the leader's memory.
    pub fn into_snapshot(self) -> tikv_kv::Result<RegionSnapshot> {
        let ReadResponse { response: RaftCmdResponse { header, responses, .. }, snapshot, times } = self;
        let locked = || responses.into_iter().find_map(|r| r.read_index?.locked);
        match (snapshot, header.and_then(|h| h.error)) {
            (Some(snapshot), None) => Ok(snapshot.with_read_index_times(times)),
            (_, Some(error)) => Err(ErrorInner::Request(error).into()),
            (None, None) => Err(match locked() {
                Some(lock) => ErrorInner::KeyIsLocked(Box::new(lock)),
                None => ErrorInner::Other("expected a snapshot in the response to a read, found none".into()),
            }
            .into()),
        }
    }
}

impl Callback {
    /// Creates a callback of a write.
    pub fn write(call: BoxWrite) -> Self {
        Callback::Write(Once::new(call), None)
    }

    /// Adds a function to call once the write is in the leader's log.
    #[must_use]
    pub fn on_proposed(self, proposed: Option<OnProposed>) -> Self {
        match self {
            Callback::Write(call, _) => Callback::Write(call, proposed),
            other => other,
        }
    }

    /// Reports that the command is in the leader's log. TiKV: `invoke_proposed`.
    pub fn invoke_proposed(&mut self) {
        if let Callback::Write(_, proposed) = self
            && let Some(OnProposed(call)) = proposed.take()
        {
            call();
        }
    }

    /// Creates a callback of a read.
    pub fn read(call: BoxRead) -> Self {
        Callback::Read(Once::new(call))
    }

    /// Creates a write callback and the future of its response.
    pub fn paired_write() -> (Self, oneshot::Receiver<WriteResponse>) {
        let (tx, rx) = oneshot::channel();
        // The receiver may be gone; drop the response then.
        (Self::write(Box::new(move |resp| drop(tx.send(resp)))), rx)
    }

    /// Creates a read callback and the future of its response.
    pub fn paired_read() -> (Self, oneshot::Receiver<ReadResponse>) {
        let (tx, rx) = oneshot::channel();
        (Self::read(Box::new(move |resp| drop(tx.send(resp)))), rx)
    }

    /// Whether no caller waits.
    pub fn is_none(&self) -> bool {
        matches!(self, Callback::None)
    }

    /// Responds without a snapshot.
    pub fn invoke_with_response(self, response: RaftCmdResponse) {
        match self {
            Callback::None => {}
            Callback::Read(call) => call.invoke(response.into()),
            Callback::Write(call, _) => call.invoke(response.into()),
        }
    }

    /// Responds to a write. A read callback gets only the response.
    pub fn invoke_write(self, answer: WriteResponse) {
        match self {
            Callback::Write(call, _) => call.invoke(answer),
            other => other.invoke_with_response(answer.response),
        }
    }

    /// Responds to a read. A write callback gets only the response.
    pub fn invoke_read(self, answer: ReadResponse) {
        match self {
            Callback::Read(call) => call.invoke(answer),
            other => other.invoke_with_response(answer.response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_callback_answers_stale_command() {
        let (cb, mut rx) = Callback::paired_write();
        drop(cb);
        let answer = rx.try_recv().unwrap().unwrap();
        assert!(answer.error().unwrap().stale_command.is_some());
    }

    #[test]
    fn a_proposal_is_reported_once_and_before_the_answer() {
        let (proposed, mut reported) = oneshot::channel();
        let (cb, mut rx) = Callback::paired_write();
        let mut cb = cb.on_proposed(Some(OnProposed(Box::new(move || _ = proposed.send(())))));
        assert_eq!(reported.try_recv(), Ok(None));
        cb.invoke_proposed();
        cb.invoke_proposed();
        assert_eq!(reported.try_recv(), Ok(Some(())));
        assert!(rx.try_recv().unwrap().is_none());
    }

    #[test]
    fn an_answer_arrives_once() {
        let (cb, mut rx) = Callback::paired_read();
        cb.invoke_with_response(cmd_resp::new_error(crate::Error::RegionNotFound(7)));
        let answer = rx.try_recv().unwrap().unwrap();
        assert_eq!(answer.response.header.unwrap().error.unwrap().region_not_found.unwrap().region_id, 7);
    }

    #[test]
    fn a_lock_in_the_leaders_memory_is_no_snapshot() {
        let lock = kvproto::kvrpcpb::LockInfo { lock_version: 5, ..Default::default() };
        let refused = ReadResponse::from(cmd_resp::locked(lock, 7)).into_snapshot().err().unwrap();
        assert!(matches!(&*refused.0, ErrorInner::KeyIsLocked(l) if l.lock_version == 5), "{refused}");
    }
}
