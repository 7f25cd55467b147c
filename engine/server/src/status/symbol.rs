//! `/debug/pprof/symbol`: function names of addresses, for `pprof` and `jeprof` on other machines.
//!
//! Protocol: <https://gperftools.github.io/gperftools/pprof_remote_servers.html>.
use std::sync::OnceLock;

use axum::{http::StatusCode, response::Response};
use parking_lot::Mutex;
use tracepoints::symbolize::Symbolizer;

use super::reply::{no_sniff, text, typed};

/// Answers with a number above 0: symbols are available.
pub async fn count() -> Response {
    no_sniff(typed("text/plain", "num_symbols: 1\n"))
}

/// Resolves hexadecimal addresses joined by `+`: one line per address, inlined functions joined by `--`.
pub async fn resolve(body: String) -> Response {
    match tokio::task::spawn_blocking(move || lines(&body)).await {
        Ok(lines) => no_sniff(typed("text/plain", lines)),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
    }
}

fn lines(body: &str) -> String {
    static SYMBOLS: OnceLock<Option<Mutex<Symbolizer>>> = OnceLock::new();
    let symbols = SYMBOLS.get_or_init(|| Symbolizer::for_this_process().ok().map(Mutex::new));
    let mut out = String::new();
    for address in body.trim().split('+') {
        let hex = address.trim().trim_start_matches("0x");
        let Some(address) = usize::from_str_radix(hex, 16).ok().filter(|a| *a != 0) else { continue };
        let names = symbols.as_ref().map_or_else(Vec::new, |s| names(&mut s.lock(), address));
        let names = if names.is_empty() { "??".to_owned() } else { names.join("--") };
        out.push_str(&format!("{address:#x} {names}\n"));
    }
    out
}

fn names(symbols: &mut Symbolizer, address: usize) -> Vec<String> {
    // The symbolizer takes return addresses, which are after the call.
    let Some(return_address) = address.checked_add(1) else { return Vec::new() };
    let frames = symbols.resolve(&[return_address]);
    let known = |f: &String| !f.starts_with("0x");
    frames.into_iter().map(|f| f.function).filter(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_names_and_other_text_is_skipped() {
        let here = lines as fn(&str) -> String as usize;
        let out = lines(&format!("{here:#x}+nothing+0x0+0x8+{here:x}\n"));
        let own = format!("{here:#x} server::status::symbol::lines\n");
        assert_eq!(out, format!("{own}0x8 ??\n{own}"));
        assert_eq!((lines(""), lines("+++")), (String::new(), String::new()));
        assert_eq!(lines("ffffffffffffffff"), "0xffffffffffffffff ??\n");
    }
}
