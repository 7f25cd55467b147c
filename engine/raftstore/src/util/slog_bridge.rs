//! The `raft` crate logs with slog; here its lines go where all others go.
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};

struct LogDrain {
    tag: String,
}

impl Drain for LogDrain {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let level = match record.level() {
            slog::Level::Critical | slog::Level::Error => log::Level::Error,
            slog::Level::Warning => log::Level::Warn,
            // An election is news; the rest of what raft calls info is not.
            slog::Level::Info | slog::Level::Debug => log::Level::Debug,
            slog::Level::Trace => log::Level::Trace,
        };
        log::log!(target: "raft", level, "{} {}", self.tag, record.msg());
        Ok(())
    }
}

/// A logger whose lines name the peer.
pub fn logger(store_id: u64, region_id: u64, peer_id: u64) -> Logger {
    let tag = format!("[store {store_id} region {region_id} peer {peer_id}]");
    Logger::root(LogDrain { tag }, o!())
}
