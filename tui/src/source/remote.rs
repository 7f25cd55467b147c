//! Steps an operation of this program's own client on a running cluster.
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use kvproto::metapb::StoreState;
use recipes::{
    client::{Access, Clients},
    directive::{self, Op},
};
use security::SecurityManager;
use tokio::{
    runtime::Runtime,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
};
use tonic::transport::Endpoint;
use tracepoints::{Req, Session, SessionConfig, SessionEvent, session::Mode, trace::Step};

use super::{
    attached::{Attached, Client, Operation, OwnOperation, RequestFilter, Running, endpoint},
    feed::Feed,
    pd::stores,
};
use crate::state::{SourceEvent, Start};

/// Timeout of the connection to PD and to the stores.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the cluster of the PD at `pd` and steps the requests of an operation, such as `get k1`.
///
/// # Errors
/// If the text is not an operation, or PD does not answer.
pub fn start(
    pd: &str,
    text: &str,
    start: Start,
    access: Access,
    security: &SecurityManager,
) -> Result<Attached> {
    // A mistake is reported before anything connects.
    parse(text)?;
    let endpoint = endpoint(pd, security).context("--pd")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("client")
        .on_thread_start(|| tracepoints::register_thread("client", 0))
        .enable_all()
        .build()
        .context("cannot start the client's runtime")?;
    let (store, clients) = runtime.block_on(async {
        let bounded = tokio::time::timeout(TIMEOUT, async {
            let store = any_store(pd, endpoint, security).await?;
            let connected = Clients::connect_with(pd, &access).await;
            let clients = match &access.keyspace {
                Some(name) => connected.with_context(|| format!("--keyspace {name}"))?,
                None => connected?,
            };
            anyhow::Ok((store, clients))
        });
        match bounded.await {
            Ok(connected) => connected,
            Err(_) => bail!("no PD answers at {pd} within {TIMEOUT:?}: check that it is running"),
        }
    })?;
    let (background, in_keyspace) = (Arc::new(Background(Some(runtime))), access.keyspace.is_some());
    let client: Client = Box::new(move |text| prepare(text, &clients, &background, in_keyspace));
    let OwnOperation { title, wanted, operation } = client(text)?;
    let attached = Attached::start_with(title, &store, security, wanted, start, Some(operation))?;
    Ok(attached.with_client(client))
}

/// Parses an operation of a TiKV client.
fn parse(text: &str) -> Result<Op> {
    let op = directive::parse_operation(text).map_err(anyhow::Error::msg)?;
    directive::check(&directive::scenario_of(text).map_err(anyhow::Error::msg)?)?;
    if op.is_the_runners() {
        bail!("expected an operation of a TiKV client, found `{op}`, which only a recipe can step");
    }
    Ok(op)
}

/// Prepares the operation of a text.
fn prepare(
    text: &str,
    clients: &Clients,
    background: &Arc<Background>,
    in_keyspace: bool,
) -> Result<OwnOperation> {
    let op = parse(text)?;
    // In a keyspace the servers know the key with a prefix that only PD and the client know.
    let wanted = if in_keyspace { RequestFilter::default() } else { filter(&op) };
    let (title, clients, background) = (op.to_string(), clients.clone(), background.clone());
    let operation: Operation = Box::new(move || {
        let (done, answer) = oneshot::channel();
        let (stamped, steps) = unbounded_channel();
        let (clients, op) = (clients.clone(), op.clone());
        background.spawn(async move {
            let own = OwnSession::start(&filter(&op).key, stamped);
            let req = own.as_ref().map_or(Req::NONE, |own| own.req);
            let result = clients.run(&op, req, &BTreeMap::new(), None).await;
            // Before the answer: its receiver may start the next operation at once.
            drop(own);
            // The receiver is gone if the screen is closed.
            let _ = done.send(result.unwrap_or_else(|e| format!("error: {e:#}{}", advice(&e))));
        });
        Running { answer, steps }
    });
    Ok(OwnOperation { title, wanted, operation })
}

/// The session of the client's own stages. It never holds the client: the servers hold its requests.
struct OwnSession {
    session: Session,
    req: Req,
}

impl OwnSession {
    /// Begins the operation on `key`, and sends its steps in the background until it ends. `None` if this process
    /// steps something else already: the operation then has only the steps of the servers.
    fn start(key: &[u8], stamped: UnboundedSender<Step>) -> Option<Self> {
        let session = Session::start(SessionConfig { mode: Mode::Run, ..SessionConfig::default() }).ok()?;
        let events = session.events().clone();
        let own = Self { req: session.begin_op(key), session };
        let req = own.req;
        let pump = move || {
            let mut feed = Feed::new(None);
            while let Ok(event) = events.recv() {
                for change in feed.apply([&event]) {
                    if let SourceEvent::Step(step) = change {
                        // The receiver is gone if the screen is closed.
                        let _ = stamped.send(*step);
                    }
                }
                if matches!(event, SessionEvent::Finished { req: ended, .. } if ended == req) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("client steps".into()).spawn(pump).ok()?;
        Some(own)
    }
}

impl Drop for OwnSession {
    fn drop(&mut self) {
        self.session.end_op(self.req);
    }
}

/// Advice for an error that another option prevents; may be empty.
fn advice(error: &anyhow::Error) -> &'static str {
    let text = format!("{error:#}");
    let of_version = ["ApiVersionNotMatched", "InvalidKeyMode", "Api version in request does not match"];
    match of_version.iter().any(|word| text.contains(word)) {
        true => "; --keyspace NAME is for a cluster with API V2, such as --keyspace DEFAULT, and only for it",
        false => "",
    }
}

/// Selects the requests of an operation. A request is known by its first key, which is certain only if the
/// operation has one key; otherwise any request is stepped.
fn filter(op: &Op) -> RequestFilter {
    let key = match op.keys().as_slice() {
        [one] => one.to_vec(),
        _ => Vec::new(),
    };
    RequestFilter { key, ..RequestFilter::default() }
}

/// The client's runtime, which ends in the background: the subscription's runtime drops the operation, and tokio panics
/// if a runtime waits there for the end of another one.
struct Background(Option<Runtime>);

impl Background {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns the address of a running store of the cluster. The store knows the addresses of the others.
async fn any_store(pd: &str, endpoint: Endpoint, security: &SecurityManager) -> Result<String> {
    let all = stores(pd, endpoint, security).await?;
    let up = all.into_iter().find(|store| store.state == StoreState::Up as i32);
    up.map(|store| store.address)
        .with_context(|| format!("expected a running store in the cluster of {pd}, found none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_api_version_names_the_option() {
        let text = |error: &str| advice(&anyhow::anyhow!("{error}"));
        assert!(text("KvError { message: ApiVersionNotMatched { cmd: get } }").contains("--keyspace NAME"));
        assert_eq!(text("connection refused"), "");
    }

    #[test]
    fn the_clients_runtime_ends_within_another_one() {
        let new = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let background = Background(Some(new()));
        // A plain runtime panics here.
        new().block_on(async move { drop(background) });
    }

    #[test]
    fn an_operation_of_several_keys_steps_any_request() {
        let key = |text: &str| filter(&directive::parse_operation(text).unwrap()).key;
        assert_eq!(key("get k1"), b"k1");
        assert_eq!(key("put k1 v | get k1"), b"k1");
        assert_eq!(key("begin put a 1; get a; commit"), b"a");
        for several in ["put k1 v | get k2", "begin put b 2; put a 1; commit", "scan a z limit=5"] {
            assert_eq!(key(several), b"", "{several}");
        }
    }
}
