//! The changes of keyspaces, for clients that watch them (keyspacepb `WatchKeyspaces`).
use kvproto::keyspacepb::KeyspaceMeta;
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

/// Number of changes kept for a slow reader; a slower one gets all keyspaces again.
const CAPACITY: usize = 256;

/// Publishes the changes.
pub struct KeyspaceChanges(Sender<KeyspaceMeta>);

impl Default for KeyspaceChanges {
    fn default() -> Self {
        Self(channel(CAPACITY).0)
    }
}

impl KeyspaceChanges {
    /// Publishes a keyspace that was created or changed.
    pub fn publish(&self, keyspace: &KeyspaceMeta) {
        // Without a watching client there is no receiver.
        let _ = self.0.send(keyspace.clone());
    }

    /// Begins to watch. The first changes are all keyspaces.
    pub fn watch(&self) -> KeyspaceWatch {
        KeyspaceWatch { changes: self.0.subscribe(), complete: false }
    }
}

/// Keyspaces that changed.
pub enum Changes {
    /// Any of them may have changed.
    All,
    /// One has changed.
    Of(KeyspaceMeta),
    /// PD stops.
    End,
}

/// One client's watch.
pub struct KeyspaceWatch {
    changes: Receiver<KeyspaceMeta>,
    /// Whether the client has got all keyspaces, and each change since then.
    complete: bool,
}

impl KeyspaceWatch {
    /// Waits for the next changes.
    pub async fn changes(&mut self) -> Changes {
        if !std::mem::replace(&mut self.complete, true) {
            return Changes::All;
        }
        match self.changes.recv().await {
            Ok(keyspace) => Changes::Of(keyspace),
            Err(RecvError::Lagged(_)) => Changes::All,
            Err(RecvError::Closed) => Changes::End,
        }
    }
}
