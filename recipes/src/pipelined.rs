//! Pipelined transactions of a scenario: each by name, and their requests. The runner sends the requests itself, since
//! the TiKV client has no pipelined transactions. It does what client-go does: it numbers the flushes, and after the
//! commit of the primary it resolves the range of all flushed keys.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use kvproto::kvrpcpb::{BufferBatchGetRequest, FlushRequest, KeyError, Op as MutationOp};
use tracepoints::{Req, field::client_operation, printable::escape_readable};

use crate::{
    directive::Op,
    pessimistic::error_text,
    rpc::{Replica, mutation},
};

/// Time to live of the locks.
const TTL_MS: u64 = 3_600_000;

/// A transaction.
#[derive(Clone, Debug, Default)]
pub struct PipelinedTxn {
    start_ts: u64,
    /// Number of its last flush.
    generation: u64,
    /// The first flushed key.
    primary: Option<Vec<u8>>,
}

/// The transactions of a scenario.
#[derive(Debug, Default)]
pub struct PipelinedTxns(BTreeMap<String, PipelinedTxn>);

/// A request of a pipelined transaction to the leader of its keys.
#[derive(Clone, Debug)]
pub struct PipelinedCall {
    leader: Replica,
    name: &'static str,
    request: Request,
}

#[derive(Clone, Debug)]
enum Request {
    Flush(FlushRequest),
    BufferGet(BufferBatchGetRequest),
}

impl PipelinedTxns {
    /// Begins a transaction.
    pub fn begin(&mut self, name: &str, start_ts: u64) {
        self.0.insert(name.to_owned(), PipelinedTxn { start_ts, ..PipelinedTxn::default() });
    }

    /// Ends a transaction; returns it.
    ///
    /// # Errors
    /// If the transaction was not begun.
    pub fn end(&mut self, name: &str) -> Result<PipelinedTxn> {
        self.0.remove(name).with_context(|| not_begun(name))
    }

    /// Makes the request of a flush or a read of the flushed keys. All keys are in one region.
    ///
    /// # Errors
    /// If the transaction was not begun, or the operation is another one.
    pub fn call(&mut self, op: &Op, leader: Replica) -> Result<PipelinedCall> {
        let request = match op {
            Op::Flush { txn, generation, changes } => {
                let found = self.0.get_mut(txn).with_context(|| not_begun(txn))?;
                Request::Flush(found.flush(&leader, *generation, changes))
            }
            Op::BufferGet { txn, keys } => {
                let found = self.0.get(txn).with_context(|| not_begun(txn))?;
                Request::BufferGet(BufferBatchGetRequest {
                    context: Some(leader.context.clone()),
                    keys: keys.clone(),
                    version: found.start_ts,
                })
            }
            other => bail!("expected a request of a pipelined transaction, found `{other}`"),
        };
        Ok(PipelinedCall { leader, name: op.name(), request })
    }
}

impl PipelinedTxn {
    /// The key that decides on the transaction.
    ///
    /// # Errors
    /// If the transaction has flushed no key.
    pub fn primary(&self) -> Result<&[u8]> {
        self.primary.as_deref().context("the transaction has flushed no key")
    }

    fn flush(
        &mut self,
        leader: &Replica,
        generation: Option<u64>,
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> FlushRequest {
        let change = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| match value {
            Some(value) => mutation(MutationOp::Put, key, value),
            None => mutation(MutationOp::Del, key, b""),
        };
        let first = changes.first().map(|(key, _)| key.clone()).unwrap_or_default();
        let generation = generation.unwrap_or_else(|| {
            self.generation += 1;
            self.generation
        });
        FlushRequest {
            context: Some(leader.context.clone()),
            mutations: changes.iter().map(change).collect(),
            primary_key: self.primary.get_or_insert(first).clone(),
            start_ts: self.start_ts,
            min_commit_ts: self.start_ts + 1,
            generation,
            lock_ttl: TTL_MS,
            ..Default::default()
        }
    }

    /// Commits the primary, and then all other keys of the region.
    ///
    /// # Errors
    /// If the store refuses it.
    pub async fn commit(self, leader: &Replica, commit_ts: u64) -> Result<()> {
        leader.commit(vec![self.primary()?.to_vec()], self.start_ts, commit_ts).await?;
        leader.resolve_lock(self.start_ts, commit_ts).await
    }
}

impl PipelinedCall {
    /// Sends the request as the operation `req`; returns the reply as text.
    ///
    /// # Errors
    /// If the store does not answer, or answers with a region error.
    pub async fn run(self, req: Req) -> Result<String> {
        let name = client_operation(self.name);
        tracepoints::step!(CLIENT_SEND, req, op = name);
        let result = self.send().await;
        tracepoints::stamp!(CLIENT_REPLY, req, ok = result.is_ok(), op = name);
        result
    }

    async fn send(self) -> Result<String> {
        let mut client = self.leader.connect().await?;
        match self.request {
            Request::Flush(request) => {
                let generation = request.generation;
                let reply = client.kv_flush(request).await?.into_inner();
                if let Some(e) = reply.region_error {
                    bail!("region error: {}", e.message);
                }
                Ok(match errors_text(&reply.errors) {
                    Some(text) => text,
                    None => format!("flush {generation}: ok"),
                })
            }
            Request::BufferGet(request) => {
                let reply = client.kv_buffer_batch_get(request).await?.into_inner();
                if let Some(e) = reply.region_error {
                    bail!("region error: {}", e.message);
                }
                let errors: Vec<KeyError> = reply
                    .error
                    .into_iter()
                    .chain(reply.pairs.iter().filter_map(|p| p.error.clone()))
                    .collect();
                if let Some(text) = errors_text(&errors) {
                    return Ok(text);
                }
                let text = |value: &[u8]| match value {
                    [] => "(deleted)".to_owned(),
                    value => escape_readable(value),
                };
                let pairs: Vec<String> = reply
                    .pairs
                    .iter()
                    .map(|pair| format!("{}={}", escape_readable(&pair.key), text(&pair.value)))
                    .collect();
                Ok(if pairs.is_empty() { "(none)".into() } else { pairs.join(" ") })
            }
        }
    }
}

fn errors_text(errors: &[KeyError]) -> Option<String> {
    let texts: Vec<String> = errors.iter().map(error_text).collect();
    (!texts.is_empty()).then(|| format!("error: {}", texts.join(", ")))
}

fn not_begun(name: &str) -> String {
    format!("no transaction is named {name}; write `pipelined-begin {name}` before this directive")
}
