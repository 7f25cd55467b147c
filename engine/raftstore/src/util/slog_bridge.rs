//! Forwards the `raft` crate's slog lines to `log`.
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
            // Elections are logged elsewhere; the other info lines of raft are details.
            slog::Level::Info | slog::Level::Debug => log::Level::Debug,
            slog::Level::Trace => log::Level::Trace,
        };
        log::log!(target: "raft", level, "{} {}", self.tag, record.msg());
        Ok(())
    }
}

/// Creates a logger whose lines name the peer.
pub fn logger(store_id: u64, region_id: u64, peer_id: u64) -> Logger {
    let tag = format!("[store {store_id} region {region_id} peer {peer_id}]");
    Logger::root(LogDrain { tag }, o!())
}
