//! What the TiKV client does between its RPCs, as stages of the operation that is stepped.
//!
//! The client has no hooks, but it logs where it stands, and the tasks that log are known: the operation's own, and those
//! that it spawns for its shards. Tasks of other operations and of the client itself (heartbeats, the commit of secondary
//! keys) are left out.
use std::{collections::HashSet, sync::OnceLock};

use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use tokio::task::{self, Id};
use tracepoints::Req;

/// The operation that is watched.
struct Watched {
    req: Req,
    /// The operation's own task and those of its shards.
    tasks: HashSet<Id>,
    /// Shards whose tasks have not said anything yet.
    coming: usize,
}

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// The regions of all keys are known.
    Regions(usize),
    /// The task of one region begins.
    Shard,
    /// A region error, a lock, or nobody who answers.
    Retry,
    Other,
}

fn parse(target: &str, line: &str) -> Said {
    match (target.rsplit("::").next().unwrap_or_default(), line) {
        ("plan", line) if line.starts_with("single_plan_handler, shards: ") => {
            let shards = line.rsplit(' ').next().and_then(|n| n.parse().ok());
            Said::Regions(shards.unwrap_or(1))
        }
        ("plan", "single_shard_handler") => Said::Shard,
        ("plan", line)
            if line.starts_with("handle_region_error") || line.starts_with("handle_other_error") =>
        {
            Said::Retry
        }
        ("lock", "resolving locks") => Said::Retry,
        _ => Said::Other,
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
        let said = parse(record.target(), &line);
        let req =
            WATCHED.lock().as_mut().and_then(|watched| watched.hear(task, &said).then_some(watched.req));
        match (req, said) {
            (Some(req), Said::Regions(shards)) => {
                tracepoints::stamp!(CLIENT_REGION_CACHE, req, shards = shards as u64);
            }
            (Some(req), Said::Retry) => tracepoints::stamp!(CLIENT_BACKOFF, req),
            _ => {}
        }
    }

    fn flush(&self) {}
}

impl Watched {
    /// Whether the line is the operation's.
    fn hear(&mut self, task: Id, said: &Said) -> bool {
        if *said == Said::Shard && self.coming > 0 && self.tasks.insert(task) {
            self.coming -= 1;
        }
        if !self.tasks.contains(&task) {
            return false;
        }
        if let Said::Regions(shards) = said {
            self.coming += shards;
        }
        true
    }
}

/// Makes the client's lines heard while an operation is watched. False if the process logs them elsewhere.
fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| log::set_logger(&ClientLog).is_ok())
}

/// Ends the watch.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        log::set_max_level(LevelFilter::Off);
        *WATCHED.lock() = None;
    }
}

/// Runs `call`, and stamps what the client does meanwhile if `req` is stepped.
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
    fn the_clients_lines_are_understood() {
        let plan = "tikv_client::request::plan";
        assert_eq!(parse(plan, "single_plan_handler, shards: 2"), Said::Regions(2));
        assert_eq!(parse(plan, "single_shard_handler"), Said::Shard);
        assert_eq!(parse(plan, "handle_region_error: Error { .. }"), Said::Retry);
        assert_eq!(parse("tikv_client::transaction::lock", "resolving locks"), Said::Retry);
        assert_eq!(parse("tikv_client::raw::client", "invoking raw get request"), Said::Other);
    }

    #[tokio::test]
    async fn lines_of_tasks_that_are_not_the_operations_are_left_out() {
        let id = || async { tokio::spawn(async { task::id() }).await.unwrap() };
        let (root, shard, other) = (id().await, id().await, id().await);
        let mut watched = Watched { req: Req::NONE, tasks: HashSet::from([root]), coming: 0 };
        assert!(!watched.hear(other, &Said::Regions(1)), "a heartbeat");
        assert!(!watched.hear(other, &Said::Shard));
        assert!(watched.hear(root, &Said::Regions(1)));
        assert!(watched.hear(shard, &Said::Shard) && watched.hear(shard, &Said::Retry));
        assert!(!watched.hear(other, &Said::Retry));
        assert_eq!(watched.coming, 0);
    }
}
