//! `/members`, `/leader`, `/health`, `/version`, `/status`: the only
//! member of this PD (tikv/pd `server/api`).
use axum::extract::State;
use kvproto::pdpb;
use serde::Serialize;

use super::{Answer, Shared, is_zero, ok};

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
struct Member {
    #[serde(skip_serializing_if = "is_zero")]
    name: String,
    #[serde(skip_serializing_if = "is_zero")]
    member_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    peer_urls: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    client_urls: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    deploy_path: String,
    binary_version: &'static str,
}

impl Member {
    fn from_api(api: &super::Api) -> Member {
        let pdpb::Member { name, member_id, peer_urls, client_urls, .. } = api.member.clone();
        let deploy_path = std::env::current_exe().ok();
        let deploy_path = deploy_path.and_then(|path| Some(path.parent()?.display().to_string()));
        Member {
            name,
            member_id,
            peer_urls,
            client_urls,
            deploy_path: deploy_path.unwrap_or_default(),
            binary_version: VERSION,
        }
    }
}

#[derive(Serialize)]
struct Header {
    cluster_id: u64,
}

#[derive(Serialize)]
struct Members {
    header: Header,
    members: Vec<Member>,
    leader: Member,
    etcd_leader: Member,
}

pub async fn members(State(api): Shared) -> Answer {
    ok(&Members {
        header: Header { cluster_id: api.cluster.cluster_id },
        members: vec![Member::from_api(&api)],
        leader: Member::from_api(&api),
        etcd_leader: Member::from_api(&api),
    })
}

pub async fn leader(State(api): Shared) -> Answer {
    ok(&Member::from_api(&api))
}

#[derive(Serialize)]
struct Health {
    name: String,
    member_id: u64,
    client_urls: Vec<String>,
    health: bool,
}

/// The only member is healthy if it answers.
pub async fn health(State(api): Shared) -> Answer {
    let pdpb::Member { name, member_id, client_urls, .. } = api.member.clone();
    ok(&[Health { name, member_id, client_urls, health: true }])
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    build_time: &'static str,
    hash: &'static str,
    branch: &'static str,
}

pub async fn version() -> Answer {
    ok(&Version { version: VERSION, build_time: "", hash: "", branch: "" })
}

#[derive(Serialize)]
struct Status {
    build_ts: &'static str,
    version: &'static str,
    git_hash: &'static str,
    start_timestamp: i64,
    kernel_type: &'static str,
}

/// PD writes `None` for unknown build information.
pub async fn status(State(api): Shared) -> Answer {
    ok(&Status {
        build_ts: "None",
        version: VERSION,
        git_hash: "None",
        start_timestamp: api.started_s,
        kernel_type: "Classic",
    })
}
