//! Finds PD's leader and keeps a channel to it.
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kvproto::pdpb::{GetMembersRequest, GetMembersResponse, pd_client::PdClient as PdGrpc};
use parking_lot::RwLock;
use security::{SecurityManager, causes};
use tonic::transport::{Channel, Endpoint};

use super::error::{Error, Result, check_header};

/// Time limit for one attempt to connect or to ask for members.
const ATTEMPT: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A channel to PD's leader, and the other members to ask when the leader is gone.
pub struct Connection {
    /// Id of the cluster that PD manages.
    pub cluster_id: u64,
    security: SecurityManager,
    state: RwLock<State>,
    /// Held during a search for the leader, so that only one runs at a time.
    searching: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct State {
    endpoints: BTreeSet<String>,
    grpc: PdGrpc<Channel>,
    /// The leader's `host:port`.
    leader: String,
    /// Number of searches: lets a caller detect a search that ran after it took its channel.
    generation: u64,
}

impl Connection {
    /// Connects to the leader of the PD cluster that `endpoints` belong to. Retries for `wait`.
    pub async fn open(endpoints: &[String], wait: Duration, security: SecurityManager) -> Result<Connection> {
        if endpoints.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let endpoints: BTreeSet<String> =
            endpoints.iter().map(|endpoint| to_url(endpoint, &security)).collect();
        for endpoint in &endpoints {
            to_endpoint(endpoint, &security)?;
        }
        let FoundLeader { grpc, url, members } = find_leader(&endpoints, None, wait, &security).await?;
        let cluster_id = members.header.as_ref().map_or(0, |header| header.cluster_id);
        let (endpoints, leader) = (with_members(endpoints, &members, &security), without_scheme(&url));
        let state = State { endpoints, grpc, leader, generation: 0 };
        let searching = tokio::sync::Mutex::new(());
        Ok(Connection { cluster_id, security, state: RwLock::new(state), searching })
    }

    /// Returns the channel, and the generation to pass to [`Connection::reconnect`] if the channel fails.
    pub fn current(&self) -> (PdGrpc<Channel>, u64) {
        let state = self.state.read();
        (state.grpc.clone(), state.generation)
    }

    /// Returns the last known address of the leader, `host:port`.
    pub fn leader(&self) -> String {
        self.state.read().leader.clone()
    }

    /// Searches for the leader again, unless another caller did since `generation`.
    pub async fn reconnect(&self, generation: u64, wait: Duration) -> Result<()> {
        let _searching = self.searching.lock().await;
        let State { endpoints, generation: now, .. } = self.state.read().clone();
        if now != generation {
            return Ok(());
        }
        let security = &self.security;
        let found = find_leader(&endpoints, Some(self.cluster_id), wait, security).await?;
        let FoundLeader { grpc, url, members } = found;
        let (endpoints, leader) = (with_members(endpoints, &members, security), without_scheme(&url));
        *self.state.write() = State { endpoints, grpc, leader, generation: now + 1 };
        Ok(())
    }
}

fn with_members(
    mut endpoints: BTreeSet<String>,
    members: &GetMembersResponse,
    security: &SecurityManager,
) -> BTreeSet<String> {
    let urls = members.members.iter().flat_map(|member| &member.client_urls);
    endpoints.extend(urls.map(|url| to_url(url, security)));
    endpoints
}

/// Converts `host:port` or a URL to the URL that is dialled, with the scheme of the configuration.
fn to_url(endpoint: &str, security: &SecurityManager) -> String {
    match endpoint.split_once("://") {
        None => format!("{}://{endpoint}", security.scheme()),
        Some(("http", rest)) if security.is_tls() => format!("https://{rest}"),
        Some(_) => endpoint.to_owned(),
    }
}

fn without_scheme(url: &str) -> String {
    url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_owned()
}

fn to_endpoint(url: &str, security: &SecurityManager) -> Result<Endpoint> {
    let bad = |e: security::Error| Error::BadEndpoint { endpoint: url.to_owned(), reason: e.to_string() };
    let endpoint = security.endpoint(url).map_err(bad)?;
    if endpoint.uri().port().is_none() {
        let reason = "it has no port".to_owned();
        return Err(Error::BadEndpoint { endpoint: url.to_owned(), reason });
    }
    Ok(endpoint.connect_timeout(ATTEMPT).tcp_nodelay(true).keep_alive_while_idle(true))
}

/// A PD member that answered.
struct FoundLeader {
    grpc: PdGrpc<Channel>,
    url: String,
    members: GetMembersResponse,
}

async fn find_leader(
    endpoints: &BTreeSet<String>,
    cluster_id: Option<u64>,
    wait: Duration,
    security: &SecurityManager,
) -> Result<FoundLeader> {
    let started = Instant::now();
    let mut last = None;
    loop {
        for endpoint in endpoints {
            match leader_through(endpoint, cluster_id, security).await {
                Ok(found) => return Ok(found),
                Err(e @ (Error::ClusterId { .. } | Error::BadEndpoint { .. })) => return Err(e),
                Err(e) => last = Some(e),
            }
        }
        if started.elapsed() >= wait {
            let last = last.map_or_else(String::new, |e| e.to_string());
            return Err(Error::Unreachable {
                endpoints: endpoints.iter().cloned().collect(),
                waited: wait,
                last,
            });
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Asks one PD member for the leader, and connects to the leader.
async fn leader_through(
    endpoint: &str,
    cluster_id: Option<u64>,
    security: &SecurityManager,
) -> Result<FoundLeader> {
    let found = members_of(endpoint, security).await?;
    let got = found.members.header.as_ref().map_or(0, |header| header.cluster_id);
    if let Some(expected) = cluster_id.filter(|expected| *expected != got) {
        return Err(Error::ClusterId { endpoint: endpoint.to_owned(), expected, got });
    }
    let urls = found.members.leader.as_ref().map(|leader| leader.client_urls.clone()).unwrap_or_default();
    let urls: Vec<String> = urls.iter().map(|url| to_url(url, security)).collect();
    if urls.iter().any(|url| url == endpoint) {
        return Ok(found);
    }
    let mut last = Error::Incomplete { what: "GetMembers", missing: "a leader with client URLs" };
    for url in &urls {
        match members_of(url, security).await {
            Ok(found) => return Ok(found),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn members_of(url: &str, security: &SecurityManager) -> Result<FoundLeader> {
    let endpoint = to_endpoint(url, security)?;
    let asked = async {
        let channel = endpoint.connect().await.map_err(|e| tonic::Status::unavailable(causes(&e)))?;
        let mut grpc = PdGrpc::new(channel);
        let members = grpc.get_members(GetMembersRequest::default()).await?.into_inner();
        check_header(members.header.as_ref())?;
        Ok(FoundLeader { grpc, url: url.to_owned(), members })
    };
    tokio::time::timeout(ATTEMPT, asked)
        .await
        .unwrap_or(Err(Error::Timeout { what: "GetMembers", waited: ATTEMPT }))
}
