//! Names of functions, as debug information and symbols have them.

/// The type, if there is one, and the function of a demangled name.
pub fn last_names(name: &str) -> Option<(Option<String>, String)> {
    let plain = without_generics(name);
    let names: Vec<&str> =
        plain.split("::").filter(|part| !part.is_empty() && !part.starts_with('{')).collect();
    let (function, rest) = names.split_last()?;
    let owner = rest.last().filter(|owner| owner.starts_with(|c: char| c.is_ascii_uppercase()));
    let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name(function) && !function.is_empty())
        .then(|| (owner.map(|o| (*o).to_owned()), (*function).to_owned()))
}

/// The path of a demangled function without generics and closures, empty for a closure alone; `<A as B>::f`
/// becomes `A::f`.
pub fn path(name: &str) -> String {
    without_generics(name)
        .split("::")
        .filter(|part| !part.is_empty() && !part.starts_with('{'))
        .collect::<Vec<_>>()
        .join("::")
}

fn without_generics(name: &str) -> String {
    let name = match name.strip_prefix('<').and_then(|rest| rest.split_once(" as ")) {
        Some((of, rest)) => {
            format!("{of}{}", rest.split_once(">::").map_or(String::new(), |(_, f)| format!("::{f}")))
        }
        None => name.to_owned(),
    };
    let mut depth = 0usize;
    name.chars()
        .filter(|c| match c {
            '<' => {
                depth += 1;
                false
            }
            '>' => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => depth == 0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
