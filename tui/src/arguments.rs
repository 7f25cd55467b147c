//! Parses the values of arguments: stages, gates, kinds of requests, keys.
use anyhow::{Context as _, Result, bail};
use tracepoints::{Gate, Stage, catalogue::STAGES, request::RequestKind, similar};

use crate::state::gates;

/// Finds a stage by its name in any case; the error suggests similar names.
pub fn stage(flag: &str, name: &str) -> Result<&'static Stage> {
    if let Some(stage) = tracepoints::find_stage(name) {
        return Ok(stage);
    }
    let hint = similar::hint("stages", name, STAGES.iter().map(|s| s.name));
    bail!("{flag}: expected a stage, found `{name}`; {hint}");
}

/// Parses a gate.
pub fn gate(text: &str) -> Result<Gate> {
    gates::parse(text).context("--gate")
}

/// Finds a request kind by its name in any case.
pub fn kind(flag: &str, name: &str) -> Result<RequestKind> {
    if let Some(kind) = RequestKind::parse(name) {
        return Ok(kind);
    }
    let kinds = RequestKind::ALL.iter().filter(|kind| **kind != RequestKind::Other);
    let names: Vec<String> = kinds.map(|kind| kind.name()).collect();
    let hint = similar::hint("kinds", name, names.iter().map(String::as_str));
    bail!("{flag}: expected a request kind, named as TiKV's RPCs, found `{name}`; {hint}");
}

/// Parses a key: raw text, z-escaped or 0x hex.
pub fn parse_key(flag: &str, text: &str) -> Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("0x") {
        let bad = || format!("{flag}: expected 0x and an even number of hex digits, found `{text}`");
        if hex.len() % 2 != 0 || !hex.is_ascii() {
            bail!(bad());
        }
        let pair = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).with_context(bad);
        return (0..hex.len()).step_by(2).map(pair).collect();
    }
    keys::unescape(text).with_context(|| {
        format!("{flag}: expected an escape such as \\ooo, \\xhh, \\n, \\t or \\\\, found `{text}`; or write 0x hex")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_stage_is_an_error_with_similar_names() {
        assert_eq!(gate("Lock_CF_get").unwrap().text(), "lock_cf_get");
        let wrong = |text| format!("{:#}", gate(text).unwrap_err());
        assert!(wrong("lock_cf").contains("did you mean lock_cf_get"), "{}", wrong("lock_cf"));
        assert!(wrong("qqqqqqqq").contains("grpc_receive, grpc_decode"));
        assert!(wrong("raft_ack").starts_with("--gate: ") && wrong("raft_ack").contains("only observed"));
    }

    #[test]
    fn keys_and_kinds_are_parsed_or_refused() {
        assert_eq!(parse_key("--key", "0x6b31").unwrap(), b"k1");
        assert_eq!(parse_key("--key", "k\\0001").unwrap(), b"k\x001");
        assert!(parse_key("--key", "0x6").unwrap_err().to_string().contains("even number"));
        assert!(parse_key("--key", "k\\q").unwrap_err().to_string().contains("expected an escape"));
        assert_eq!(kind("--kind", "KV_GET").unwrap(), RequestKind::KvGet);
        assert!(kind("--kind", "get").unwrap_err().to_string().contains("kv_get"));
        let all = kind("--kind", "qqqqqqqq").unwrap_err().to_string();
        let mut known = RequestKind::ALL.iter().filter(|kind| **kind != RequestKind::Other);
        assert!(known.all(|kind| all.contains(&kind.name())), "{all}");
    }
}
