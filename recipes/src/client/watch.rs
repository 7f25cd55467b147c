//! Stamps the TiKV client's work between its RPCs as stages of the stepped operation.
//!
//! The client has no hooks, so this module reads its log lines. It takes the lines of the operation's own
//! task and of the tasks that the operation spawns for its shards. It ignores other operations' tasks and the
//! client's background tasks (heartbeats, the commit of secondary keys).
use std::{collections::HashSet, sync::OnceLock};

use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use tokio::task::{self, Id};
use tracepoints::{Facts, Req};

/// The operation whose log lines become stages.
struct Watched {
    req: Req,
    /// The operation's own task and those of its shards.
    tasks: HashSet<Id>,
    /// Number of shards whose tasks have not logged a line yet.
    coming: usize,
}

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);

/// The meaning of a log line.
#[derive(Debug, PartialEq, Eq)]
enum LogLine {
    /// The client has found the regions of all keys: their number.
    Regions(usize),
    /// The task of one region has begun.
    Shard,
    /// The client has no channel to a store, and connects: the store's address.
    Connect(String),
    /// The client tries again after a region error, or a store that does not answer: the error's name.
    Retry(&'static str),
    /// The client resolves another transaction's lock.
    ResolveLock,
    Other,
}

/// Region errors by their fields in the client's log lines.
const REGION_ERRORS: [(&str, &str); 6] = [
    ("not_leader: Some", "not leader"),
    ("epoch_not_match: Some", "epoch not match"),
    ("region_not_found: Some", "region not found"),
    ("stale_command: Some", "stale command"),
    ("server_is_busy: Some", "server is busy"),
    ("store_not_match: Some", "store not match"),
];

/// First words of the line that the client logs before it connects to a store.
const CONNECT: &str = "connect to tikv endpoint: ";

fn error_name(line: &str) -> &'static str {
    let other = if line.starts_with("handle_region_error") { "another region error" } else { "no answer" };
    REGION_ERRORS.iter().find(|(field, _)| line.contains(field)).map_or(other, |(_, name)| name)
}

fn parse(target: &str, line: &str) -> LogLine {
    match (target.rsplit("::").next().unwrap_or_default(), line) {
        ("plan", line) if line.starts_with("single_plan_handler, shards: ") => {
            let shards = line.rsplit(' ').next().and_then(|n| n.parse().ok());
            LogLine::Regions(shards.unwrap_or(1))
        }
        ("plan", "single_shard_handler") => LogLine::Shard,
        ("plan", line)
            if line.starts_with("handle_region_error") || line.starts_with("handle_other_error") =>
        {
            LogLine::Retry(error_name(line))
        }
        ("client", line) if line.starts_with(CONNECT) => {
            LogLine::Connect(line.trim_start_matches(CONNECT).trim_matches('"').to_owned())
        }
        ("lock", "resolving locks") => LogLine::ResolveLock,
        _ => LogLine::Other,
    }
}

struct ClientLog;

impl Log for ClientLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tikv_client::")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (Some(task), line) = (task::try_id(), record.args().to_string()) else { return };
        let line = parse(record.target(), &line);
        let req =
            WATCHED.lock().as_mut().and_then(|watched| watched.accepts(task, &line).then_some(watched.req));
        match (req, line) {
            (Some(req), LogLine::Regions(shards)) => {
                tracepoints::stamp!(CLIENT_REGION_CACHE, req, shards = shards as u64);
            }
            (Some(req), LogLine::Retry(error)) => {
                tracepoints::stamp!(CLIENT_BACKOFF, req);
                tracepoints::facts!(req, Facts::new("Error of a region").outcome(error));
            }
            (Some(req), LogLine::Shard) => {
                let channel = "from the cache, unless client_connect follows";
                tracepoints::step_inside!(CLIENT_SHARD, req, Facts::new("Send").text("channel", channel));
            }
            (Some(req), LogLine::Connect(address)) => {
                let facts = Facts::new("Channel").text("store", address).outcome("new connection");
                tracepoints::step_inside!(CLIENT_CONNECT, req, facts);
            }
            (Some(req), LogLine::ResolveLock) => tracepoints::stamp!(CLIENT_RESOLVE_LOCK, req),
            _ => {}
        }
    }

    fn flush(&self) {}
}

impl Watched {
    /// Whether the line belongs to the operation. Adds the task of a shard when it logs for the first time.
    fn accepts(&mut self, task: Id, line: &LogLine) -> bool {
        if *line == LogLine::Shard && self.coming > 0 && self.tasks.insert(task) {
            self.coming -= 1;
        }
        if !self.tasks.contains(&task) {
            return false;
        }
        if let LogLine::Regions(shards) = line {
            self.coming += shards;
        }
        true
    }
}

/// Installs the logger that reads the client's lines. False if the process already has another logger.
fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| log::set_logger(&ClientLog).is_ok())
}

/// Stops reading log lines when it is dropped.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        log::set_max_level(LevelFilter::Off);
        *WATCHED.lock() = None;
    }
}

/// Runs `call`; if `req` is stepped, stamps what the client does during the call.
pub(super) async fn watched<T>(req: Req, call: impl Future<Output = T>) -> T {
    let Some(root) = task::try_id().filter(|_| req.stepped() && install()) else { return call.await };
    let tasks = HashSet::from([root]);
    *WATCHED.lock() = Some(Watched { req, tasks, coming: 0 });
    let _guard = Guard;
    log::set_max_level(LevelFilter::Debug);
    call.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_of_the_client_are_parsed() {
        let plan = "tikv_client::request::plan";
        assert_eq!(parse(plan, "single_plan_handler, shards: 2"), LogLine::Regions(2));
        assert_eq!(parse(plan, "single_shard_handler"), LogLine::Shard);
        let moved = "handle_region_error: Error { message: \"\", not_leader: Some(NotLeader { .. }) }";
        assert_eq!(parse(plan, moved), LogLine::Retry("not leader"));
        let other = "handle_region_error: Error { message: \"\", not_leader: None }";
        assert_eq!(parse(plan, other), LogLine::Retry("another region error"));
        assert_eq!(parse(plan, "handle_other_error: Grpc(..)"), LogLine::Retry("no answer"));
        assert_eq!(parse("tikv_client::transaction::lock", "resolving locks"), LogLine::ResolveLock);
        assert_eq!(parse("tikv_client::raw::client", "invoking raw get request"), LogLine::Other);
        let connects = parse("tikv_client::pd::client", "connect to tikv endpoint: \"127.0.0.1:20160\"");
        assert_eq!(connects, LogLine::Connect("127.0.0.1:20160".into()));
    }

    #[tokio::test]
    async fn log_lines_of_other_tasks_are_ignored() {
        let id = || async { tokio::spawn(async { task::id() }).await.unwrap() };
        let (root, shard, other) = (id().await, id().await, id().await);
        let mut watched = Watched { req: Req::NONE, tasks: HashSet::from([root]), coming: 0 };
        assert!(!watched.accepts(other, &LogLine::Regions(1)), "a heartbeat");
        assert!(!watched.accepts(other, &LogLine::Shard));
        assert!(watched.accepts(root, &LogLine::Regions(1)));
        assert!(watched.accepts(shard, &LogLine::Shard) && watched.accepts(shard, &LogLine::ResolveLock));
        assert!(watched.accepts(shard, &LogLine::Connect("a:1".into())));
        assert!(!watched.accepts(other, &LogLine::Connect("a:1".into())));
        assert!(!watched.accepts(other, &LogLine::ResolveLock));
        assert_eq!(watched.coming, 0);
    }
}
