//! `/config`: reads and changes the settings that this PD has (tikv/pd `server/api/config.go`).
use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Answer, Api, Shared, error::ApiError, go_format, ok};

const REPLICAS: &str = "max-replicas";
const DOWN_TIME: &str = "max-store-down-time";

/// PD writes flags as texts.
const ON: &str = "true";
const OFF: &str = "false";

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Schedule {
    max_store_down_time: String,
    leader_schedule_policy: &'static str,
    enable_remove_down_replica: &'static str,
    enable_replace_offline_replica: &'static str,
    enable_make_up_replica: &'static str,
    enable_remove_extra_replica: &'static str,
    enable_location_replacement: &'static str,
    enable_joint_consensus: &'static str,
    /// This PD runs no schedulers.
    #[serde(rename = "schedulers-v2")]
    schedulers: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Replication {
    max_replicas: u32,
    location_labels: &'static str,
    strictly_match_label: &'static str,
    enable_placement_rules: &'static str,
    enable_placement_rules_cache: &'static str,
    isolation_level: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    client_urls: String,
    peer_urls: String,
    advertise_client_urls: String,
    advertise_peer_urls: String,
    name: String,
    data_dir: String,
    schedule: Schedule,
    replication: Replication,
    cluster_version: String,
}

fn schedule_of(api: &Api) -> Schedule {
    let down = Duration::from_millis(api.cluster.lock().max_store_down_ms);
    Schedule {
        max_store_down_time: go_format::duration(down),
        leader_schedule_policy: "count",
        enable_remove_down_replica: ON,
        enable_replace_offline_replica: ON,
        enable_make_up_replica: ON,
        enable_remove_extra_replica: ON,
        enable_location_replacement: OFF,
        enable_joint_consensus: OFF,
        schedulers: [],
    }
}

fn replication_of(api: &Api) -> Replication {
    Replication {
        max_replicas: api.cluster.lock().max_peer_count,
        location_labels: "",
        strictly_match_label: OFF,
        enable_placement_rules: OFF,
        enable_placement_rules_cache: OFF,
        isolation_level: "",
    }
}

pub async fn all(State(api): Shared) -> Answer {
    let url = api.member.client_urls.join(",");
    let cluster_version = api.cluster.lock().stores.cluster_version();
    ok(&Config {
        client_urls: url.clone(),
        peer_urls: url.clone(),
        advertise_client_urls: url.clone(),
        advertise_peer_urls: url,
        name: api.member.name.clone(),
        data_dir: api.data_dir.clone(),
        schedule: schedule_of(&api),
        replication: replication_of(&api),
        cluster_version,
    })
}

pub async fn schedule(State(api): Shared) -> Answer {
    ok(&schedule_of(&api))
}

pub async fn replication(State(api): Shared) -> Answer {
    ok(&replication_of(&api))
}

pub async fn cluster_version(State(api): Shared) -> Answer {
    ok(&api.cluster.lock().stores.cluster_version())
}

#[derive(Serialize)]
struct ClusterMeta {
    id: u64,
    max_peer_count: u32,
}

pub async fn cluster(State(api): Shared) -> Answer {
    let config = api.cluster.config()?;
    ok(&ClusterMeta { id: config.id, max_peer_count: config.max_peer_count })
}

/// The settings to change, each if given.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    max_replicas: Option<u32>,
    max_store_down: Option<Duration>,
}

/// A temporary change, which this PD does not support.
#[derive(Deserialize)]
pub struct UpdateParams {
    #[serde(rename = "ttlSecond")]
    ttl_second: Option<String>,
}

type Params = Result<Query<UpdateParams>, QueryRejection>;

/// Applies `{"max-replicas": 3, "schedule.max-store-down-time": "30m"}`, all or none.
pub async fn update(State(api): Shared, params: Params, body: Bytes) -> Answer {
    apply(&api, params, &body, &["schedule", "replication"])
}

pub async fn update_schedule(State(api): Shared, params: Params, body: Bytes) -> Answer {
    apply(&api, params, &body, &["schedule"])
}

pub async fn update_replication(State(api): Shared, params: Params, body: Bytes) -> Answer {
    apply(&api, params, &body, &["replication"])
}

fn apply(api: &Api, params: Params, body: &[u8], sections: &[&str]) -> Answer {
    if params?.ttl_second.is_some() {
        let text =
            "ttlSecond: this PD has no temporary settings; leave it out and change the setting back later";
        return Err(ApiError::BadInput(text.to_owned()));
    }
    let given: Map<String, Value> =
        serde_json::from_slice(body).map_err(|e| ApiError::BadInput(e.to_string()))?;
    let changes = parse(&given, sections).map_err(ApiError::BadInput)?;
    api.cluster.configure(changes.max_replicas, changes.max_store_down)?;
    ok(&"The config is updated.")
}

fn parse(given: &Map<String, Value>, sections: &[&str]) -> Result<Changes, String> {
    let mut changes = Changes::default();
    for (name, value) in given {
        let (section, key) = match name.split_once('.') {
            Some((section, key)) => (Some(section), key),
            None => (None, name.as_str()),
        };
        let is_in = |home: &str| sections.contains(&home) && section.is_none_or(|given| given == home);
        match key {
            REPLICAS if is_in("replication") => changes.max_replicas = Some(count(value)?),
            DOWN_TIME if is_in("schedule") => changes.max_store_down = Some(duration(value)?),
            _ => {
                return Err(format!(
                    "config item {name} not found; this PD has schedule.{DOWN_TIME} and replication.{REPLICAS}"
                ));
            }
        }
    }
    Ok(changes)
}

/// pd-ctl sends numbers as numbers or as texts.
fn count(value: &Value) -> Result<u32, String> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("{REPLICAS}: expected a number, found {value}; give e.g. 3"))
}

fn duration(value: &Value) -> Result<Duration, String> {
    let parsed = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
    parsed.ok_or_else(|| format!("{DOWN_TIME}: expected a time such as \"30m\", found {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_named_with_their_section_or_without() {
        let parse = |value: Value| parse(value.as_object().unwrap(), &["schedule", "replication"]);
        let both = json!({"max-replicas": "5", "schedule.max-store-down-time": "1h30m0s"});
        let expected = Changes { max_replicas: Some(5), max_store_down: Some(Duration::from_secs(5400)) };
        assert_eq!(parse(both), Ok(expected));
        for (wrong, named) in [
            (json!({"schedule.max-replicas": 3}), "schedule.max-replicas not found"),
            (json!({"region-schedule-limit": 3}), "region-schedule-limit not found"),
            (json!({"max-replicas": -1}), "expected a number, found -1"),
            (json!({"max-replicas": 1.5}), "expected a number, found 1.5"),
            (json!({"max-store-down-time": 3}), "expected a time"),
            (json!({"max-store-down-time": "soon"}), "expected a time"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(super::parse(json!({"max-replicas": 3}).as_object().unwrap(), &["schedule"]).is_err());
    }
}
