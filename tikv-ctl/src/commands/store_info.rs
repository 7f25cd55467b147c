//! `store`, `show-cluster-id`, `bad-regions` and the properties of regions and ranges.
use serde_json::{Map, json};

use crate::{Result, key::hex, print::output::Output, schema::enum_value, source::Source};

/// `store`
pub fn info(source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let (id, api_version) =
        source.store_info().map_err(|e| e.into_error(&format!("{}::get_store_info", source.executor())))?;
    let version = enum_value("kvrpcpb.APIVersion", i64::from(api_version as i32));
    out.either(
        || format!("store id: {id}\napi version: {version}"),
        || json!({ "store_id": id, "api_version": version }),
    )
}

/// Asks `source` for the cluster's id.
pub fn ask_cluster_id(source: &dyn Source) -> Result<u64> {
    source.cluster_id().map_err(|e| e.into_error(&format!("{}::get_cluster_info", source.executor())))
}

/// `show-cluster-id`
pub fn cluster_id(source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let id = ask_cluster_id(source)?;
    out.either(|| format!("cluster-id: {id}"), || json!({ "cluster_id": id }))
}

/// `bad-regions`
pub fn bad_regions(source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let bad =
        source.bad_regions().map_err(|e| e.into_error(&format!("{}::bad_regions", source.executor())))?;
    out.either(
        || {
            if bad.is_empty() {
                return "all regions are healthy".to_owned();
            }
            bad.iter().map(|(id, why)| format!("{id}: {why}")).collect::<Vec<_>>().join("\n")
        },
        || bad.iter().map(|(id, why)| json!({ "region_id": id, "error": why })).collect::<Vec<_>>(),
    )
}

fn properties(list: &[(String, String)], out: &mut Output<'_>) -> Result<()> {
    out.either(
        || list.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n"),
        || list.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>(),
    )
}

/// `region-properties`
pub fn region_properties(region: u64, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let list = source.region_properties(region);
    properties(
        &list.map_err(|e| e.into_error(&format!("{}::get_region_properties", source.executor())))?,
        out,
    )
}

/// `range-properties`
pub fn range_properties(start: &str, end: &str, source: &dyn Source, out: &mut Output<'_>) -> Result<()> {
    let list = source.range_properties(&hex(start)?, &hex(end)?);
    properties(&list.map_err(|e| e.into_error(&format!("{}::get_range_properties", source.executor())))?, out)
}
