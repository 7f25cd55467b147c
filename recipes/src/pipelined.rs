//! Pipelined transactions of a scenario. The runner sends their requests itself, since the TiKV client has no pipelined
//! transactions. It does what client-go does: it numbers the flushes, and after the commit of the primary it resolves
//! the range of all flushed keys.
use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use kvproto::kvrpcpb::{BufferBatchGetRequest, FlushRequest, KeyError, Op};
use tracepoints::printable::escape_readable;

use crate::rpc::{LOCK_TTL_MS, Replica, error_text, mutation, no_region_error};

/// A transaction.
#[derive(Clone, Debug)]
pub struct PipelinedTxn {
    start_ts: u64,
    /// Number of its last flush.
    generation: u64,
    /// The first flushed key.
    primary: Option<Vec<u8>>,
}

impl PipelinedTxn {
    /// Begins a transaction.
    pub fn new(start_ts: u64) -> Self {
        Self { start_ts, generation: 0, primary: None }
    }

    /// The key that decides on the transaction.
    ///
    /// # Errors
    /// If the transaction has flushed no key.
    pub fn primary(&self) -> Result<&[u8]> {
        self.primary.as_deref().context("the transaction has flushed no key")
    }

    /// Makes the call of the keys' leader that flushes `changes`: values, or None for deleted keys. All keys are in one
    /// region. `generation`: the number of the flush; None for the next one.
    pub fn flush(
        &mut self,
        leader: Replica,
        generation: Option<u64>,
        changes: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> BoxFuture<'static, Result<String>> {
        let change = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| match value {
            Some(value) => mutation(Op::Put, key, value),
            None => mutation(Op::Del, key, b""),
        };
        let first = changes.first().map(|(key, _)| key.clone()).unwrap_or_default();
        let generation = generation.unwrap_or_else(|| {
            self.generation += 1;
            self.generation
        });
        let request = FlushRequest {
            context: Some(leader.context.clone()),
            mutations: changes.iter().map(change).collect(),
            primary_key: self.primary.get_or_insert(first).clone(),
            start_ts: self.start_ts,
            min_commit_ts: self.start_ts + 1,
            generation,
            lock_ttl: LOCK_TTL_MS,
            ..Default::default()
        };
        Box::pin(send_flush(leader, request))
    }

    /// Makes the call of the keys' leader that reads the flushed keys. All keys are in one region.
    pub fn buffer_get(&self, leader: Replica, keys: &[Vec<u8>]) -> BoxFuture<'static, Result<String>> {
        let request = BufferBatchGetRequest {
            context: Some(leader.context.clone()),
            keys: keys.to_vec(),
            version: self.start_ts,
        };
        Box::pin(send_buffer_get(leader, request))
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

/// Sends a flush; returns the reply as text.
async fn send_flush(leader: Replica, request: FlushRequest) -> Result<String> {
    let generation = request.generation;
    let reply = leader.connect().await?.kv_flush(request).await?.into_inner();
    no_region_error(reply.region_error)?;
    Ok(errors_text(&reply.errors).unwrap_or_else(|| format!("flush {generation}: ok")))
}

/// Sends a read of flushed keys; returns the reply as text.
async fn send_buffer_get(leader: Replica, request: BufferBatchGetRequest) -> Result<String> {
    let reply = leader.connect().await?.kv_buffer_batch_get(request).await?.into_inner();
    no_region_error(reply.region_error)?;
    let errors_of_keys = reply.pairs.iter().filter_map(|pair| pair.error.as_ref());
    if let Some(text) = errors_text(reply.error.iter().chain(errors_of_keys)) {
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

fn errors_text<'a>(errors: impl IntoIterator<Item = &'a KeyError>) -> Option<String> {
    let texts: Vec<String> = errors.into_iter().map(error_text).collect();
    (!texts.is_empty()).then(|| format!("error: {}", texts.join(", ")))
}
