//! The recipes that are packed into the program.
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tracepoints::similar;

use crate::scenario::Scenario;

include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// Parses all recipes, in the order of their names.
pub fn all() -> Result<Vec<Scenario>> {
    RECIPES
        .iter()
        .map(|(name, text)| Ok(Scenario::parse(&PathBuf::from(format!("{name}.txt")), text)?))
        .collect()
}

/// Finds a recipe by its name, or reads a scenario file by its path.
///
/// # Errors
/// If there is neither, with similar names; or if the file cannot be read or parsed.
pub fn find(name: &str) -> Result<Scenario> {
    if let Some((name, text)) = RECIPES.iter().find(|(n, _)| *n == name) {
        return Ok(Scenario::parse(&PathBuf::from(format!("{name}.txt")), text)?);
    }
    let path = Path::new(name);
    if path.exists() || name.contains(['/', '.']) {
        return Scenario::read(path);
    }
    let known: Vec<&str> = RECIPES.iter().map(|(n, _)| *n).collect();
    let near = similar::names(name, known.iter().copied());
    let hint = if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) };
    bail!(
        "expected the name of a recipe or the path of a scenario file, found `{name}`.{hint} The recipes are: {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_parses_and_has_a_title_and_an_about() {
        for scenario in all().unwrap() {
            assert!(
                !scenario.title.is_empty() && !scenario.about.is_empty(),
                "{}: title and about",
                scenario.name
            );
            for block in &scenario.blocks {
                crate::directive::parse(&block.words)
                    .unwrap_or_else(|e| panic!("{}:{}: {e}", scenario.name, block.line));
            }
        }
    }

    #[test]
    fn an_unknown_recipe_is_an_error_with_similar_names() {
        let e = find("point_gte").unwrap_err().to_string();
        assert!(e.contains("Did you mean point_get? The recipes are"), "{e}");
        assert!(find("nowhere/x.txt").unwrap_err().to_string().contains("cannot read the scenario file"));
    }
}
