//! Names similar to a mistyped one, for the hints of errors.
use std::cmp::Reverse;

/// Maximum number of similar names.
const MAX_NAMES: usize = 5;

/// The way in which a known name is similar, the best first, with a rank within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Differs in this number of letters.
    Letters(usize),
    /// Contains the whole mistyped name, from this byte on.
    Contains(usize),
    /// Shares this number of words.
    Words(Reverse<usize>),
}

/// Finds up to five names similar to a mistyped one, the most similar first. Names that share a part are left out if
/// others differ in a few letters only.
pub fn names<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let ranked = all.into_iter().filter_map(|known| Some((likeness(&name, known)?, known)));
    let mut ranked: Vec<(Likeness, &str)> = ranked.collect();
    ranked.sort_unstable();
    ranked.dedup();
    let Some((best, _)) = ranked.first().copied() else { return Vec::new() };
    let as_similar =
        |(like, _): &(Likeness, &str)| std::mem::discriminant(like) == std::mem::discriminant(&best);
    ranked.into_iter().take_while(as_similar).map(|(_, known)| known).take(MAX_NAMES).collect()
}

/// Suggests the similar names, or lists all of them: `did you mean raft_ready?`, `the stages are ..`.
pub fn hint<'a>(plural: &str, name: &str, all: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match names(name, all.clone()).as_slice() {
        [] => format!("the {plural} are {}", all.into_iter().collect::<Vec<_>>().join(", ")),
        near => format!("did you mean {}?", near.join(", ")),
    }
}

fn likeness(name: &str, known: &str) -> Option<Likeness> {
    let letters = strsim::damerau_levenshtein(name, known);
    if letters <= 1 + name.len() / 3 {
        return Some(Likeness::Letters(letters));
    }
    if name.len() > 2
        && let Some(at) = known.find(name)
    {
        return Some(Likeness::Contains(at));
    }
    let shared = name.split(['_', '-']).filter(|word| word.len() > 2 && known.contains(word)).count();
    (shared > 0).then_some(Likeness::Words(Reverse(shared)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 5] = ["point_get", "point_get_locked", "raw_put", "txn_2pc", "point_lookup"];

    #[test]
    fn a_mistyped_name_finds_those_of_few_other_letters() {
        assert_eq!(names("piont_get", ALL), ["point_get"]);
        assert_eq!(names("RAW_PTU", ALL), ["raw_put"]);
    }

    #[test]
    fn a_part_of_a_name_finds_those_that_contain_it() {
        assert_eq!(names("locked", ALL), ["point_get_locked"]);
        assert_eq!(names("point", ALL), ["point_get", "point_get_locked", "point_lookup"]);
    }

    #[test]
    fn a_name_of_other_words_finds_those_that_share_most() {
        assert_eq!(names("locked_point_reads", ALL), ["point_get_locked", "point_get", "point_lookup"]);
    }

    #[test]
    fn without_a_similar_name_the_hint_lists_all() {
        assert_eq!(hint("names", "zzzzzz", ["a", "b"]), "the names are a, b");
        assert_eq!(hint("names", "raw_pet", ALL), "did you mean raw_put?");
        assert!(names("", ALL).is_empty());
    }
}
