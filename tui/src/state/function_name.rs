//! Shortens the demangled names of functions.

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

/// The crate of a function: the first part of its path, or of the type's path.
pub fn crate_of(function: &str) -> &str {
    let bare = function.trim_start_matches(['<', '&', '(', '*']);
    let bare = bare.strip_prefix("mut ").or_else(|| bare.strip_prefix("dyn ")).unwrap_or(bare);
    bare.split("::").next().unwrap_or_default()
}

/// Removes generic arguments. Of `<Type as Trait>` the type is kept.
fn without_generics(function: &str) -> String {
    if let Some(inner) = function.strip_prefix('<')
        && let Some(end) = closing(inner)
    {
        let whole = &inner[..end];
        let subject = split_as(whole);
        return format!("{}{}", without_generics(subject), without_generics(&inner[end + 1..]));
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

/// The offset of the `>` that closes an already opened `<`.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut before) = (1, ' ');
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        before = c;
    }
    None
}

/// The type of `Type as Trait`.
fn split_as(text: &str) -> &str {
    let (mut depth, mut before) = (0, ' ');
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            ' ' if depth == 0 && text[at..].starts_with(" as ") => return &text[..at],
            _ => {}
        }
        before = c;
    }
    text
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
    fn a_function_names_its_crate() {
        assert_eq!(crate_of("tokio::runtime::Harness::poll"), "tokio");
        assert_eq!(crate_of("<&mut futures_util::Map as Future>::poll"), "futures_util");
        assert_eq!(crate_of("start_thread"), "start_thread");
    }
}
