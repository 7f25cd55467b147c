//! Names of functions, as debug information and symbols have them: shortened, split, or as a path.
use tracepoints::site::{closing, split_as};

/// Formats `Type::function` without generic arguments and closures: `Harness::poll`.
pub fn short(function: &str) -> String {
    let plain = without_generics(function);
    let parts: Vec<&str> = plain.split("::").filter(|p| !p.is_empty() && !p.starts_with('{')).collect();
    match parts.as_slice() {
        [] => function.to_owned(),
        [only] => (*only).to_owned(),
        // A module before a function adds nothing that the file's name does not say.
        [.., owner, name] if owner.starts_with(|c: char| c.is_uppercase()) => format!("{owner}::{name}"),
        [.., name] => (*name).to_owned(),
    }
}

/// The type, if there is one, and the function of a demangled name.
pub fn last_names(name: &str) -> Option<(Option<String>, String)> {
    let plain = without_generics(name);
    let names = parts(&plain);
    let (function, rest) = names.split_last()?;
    let owner = rest.last().filter(|owner| owner.starts_with(|c: char| c.is_ascii_uppercase()));
    let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name(function) && !function.is_empty())
        .then(|| (owner.map(|o| (*o).to_owned()), (*function).to_owned()))
}

/// The path of a demangled function without generics and closures, empty for a closure alone; `<A as B>::f`
/// becomes `A::f`.
pub fn path(name: &str) -> String {
    parts(&without_generics(name)).join("::")
}

/// Splits a path without generics; leaves out closures.
fn parts(plain: &str) -> Vec<&str> {
    plain.split("::").filter(|part| !part.is_empty() && !part.starts_with('{')).collect()
}

/// The crate of a function: the first part of its path, or of the type's path.
pub fn crate_of(function: &str) -> &str {
    let bare = function.trim_start_matches(['<', '&', '(', '*']);
    let bare = bare.strip_prefix("mut ").or_else(|| bare.strip_prefix("dyn ")).unwrap_or(bare);
    bare.split("::").next().unwrap_or_default()
}

/// Maximum depth to which `<Type as Trait>` is resolved: the name can come from any file.
const MAX_NESTED: usize = 16;

/// Removes generic arguments. Of `<Type as Trait>` the type is kept.
fn without_generics(function: &str) -> String {
    resolved(function, MAX_NESTED)
}

/// Removes generic arguments, and resolves `<Type as Trait>` up to a depth.
fn resolved(function: &str, depth_left: usize) -> String {
    if let Some(depth_left) = depth_left.checked_sub(1)
        && let Some(inner) = function.strip_prefix('<')
        && let Some(end) = closing(inner)
    {
        let subject = split_as(&inner[..end]).unwrap_or(&inner[..end]);
        return format!("{}{}", resolved(subject, depth_left), resolved(&inner[end + 1..], depth_left));
    }
    let (mut out, mut depth) = (String::new(), 0usize);
    let mut before = ' ';
    for c in function.chars() {
        match c {
            '<' => depth += 1,
            // The arrow of a function type ends no argument.
            '>' if before != '-' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_type_and_function() {
        for (long, name) in [
            ("storage::mvcc::PointGetter<S>::get", "PointGetter::get"),
            ("storage::mvcc::PointGetter<S>::get::{{closure}}::{{closure}}", "PointGetter::get"),
            (
                "<server::raftkv::RaftKv as tikv_kv::Engine>::async_snapshot::{closure#0}",
                "RaftKv::async_snapshot",
            ),
            ("<alloc::boxed::Box<F> as FnOnce<A>>::call_once", "Box::call_once"),
            ("core::ops::function::FnOnce::call_once", "FnOnce::call_once"),
            ("<fn(A) -> B as T>::go", "go"),
            ("std::panicking::catch_unwind", "catch_unwind"),
            ("start_thread", "start_thread"),
            ("{closure#0}", "{closure#0}"),
            ("", ""),
            ("<", "<"),
        ] {
            assert_eq!(short(long), name, "{long}");
        }
    }

    #[test]
    fn names_of_frames_become_types_and_functions() {
        for (name, owner, function) in [
            ("storage::mvcc::point_getter::PointGetter<S>::load_data", Some("PointGetter"), "load_data"),
            ("storage::Storage<E>::get::{{closure}}", Some("Storage"), "get"),
            ("<server::Service as kvproto::Tikv>::kv_get", Some("Service"), "kv_get"),
            ("server::run", None, "run"),
        ] {
            assert_eq!(last_names(name), Some((owner.map(str::to_owned), function.to_owned())), "{name}");
        }
        assert_eq!(last_names("0x7f00"), Some((None, "0x7f00".into())));
        assert_eq!(last_names(""), None);
        assert_eq!(last_names("std::string::string(char const*)"), None);
    }

    #[test]
    fn a_path_has_no_generics_and_closures() {
        for (name, plain) in [
            ("storage::Storage<E,L>::get::{{closure}}::{{closure}}", "storage::Storage::get"),
            ("<tikv::kv::Service<E> as kvproto::Tikv>::kv_get", "tikv::kv::Service::kv_get"),
            ("main", "main"),
            ("{closure#0}<a::B, c::D>", ""),
            ("load_data<a::B<c::D>>", "load_data"),
        ] {
            assert_eq!(path(name), plain);
        }
    }

    #[test]
    fn a_function_names_its_crate() {
        assert_eq!(crate_of("tokio::runtime::Harness::poll"), "tokio");
        assert_eq!(crate_of("<&mut futures_util::Map as Future>::poll"), "futures_util");
        assert_eq!(crate_of("start_thread"), "start_thread");
    }
}
