//! The guide is whole: its links lead somewhere, and its generated pages are up to date.
use std::{fmt::Write as _, fs};

use recipes::library::RECIPES;
use tidy::{files, root};
use tracepoints::catalogue::STAGES;

/// Chapters in the order of the table of contents, with their titles.
fn chapters() -> Vec<(String, String, String)> {
    let dir = root().unwrap().join("docs/src");
    let summary = fs::read_to_string(dir.join("SUMMARY.md")).unwrap();
    let link = |line: &str| {
        let (title, rest) = line.split_once('[')?.1.split_once("](")?;
        Some((title.to_owned(), rest.split_once(')')?.0.to_owned()))
    };
    let read = |(title, file): (String, String)| {
        let text = fs::read_to_string(dir.join(&file)).unwrap_or_default();
        (title, file, text)
    };
    summary.lines().filter_map(link).map(read).collect()
}

#[test]
fn links_in_the_guide_and_the_readme_lead_somewhere() {
    let mut pages = files(&root().unwrap().join("docs/src"), &["md"]).unwrap();
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|p| root().unwrap().join(p)));
    for page in pages {
        let (text, dir) = (fs::read_to_string(&page).unwrap(), page.parent().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or("");
            let elsewhere = file.is_empty() || file.contains("://");
            assert!(
                elsewhere || dir.join(file).exists(),
                "{}: expected a file for the link to {link}, found none",
                page.display()
            );
        }
        for include in text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(
                dir.join(include).exists(),
                "{}: expected the included file {include}, found none",
                page.display()
            );
        }
    }
}

#[test]
fn files_that_contributing_names_exist() {
    let text = fs::read_to_string(root().unwrap().join("CONTRIBUTING.md")).unwrap();
    // Words in capitals stand for a name of choice.
    let is_path = |word: &&str| {
        word.contains('/') && !word.contains(' ') && !word.contains("NAME") && !word.contains("GROUP")
    };
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_path).collect();
    assert!(named.len() > 20, "{named:?}");
    for path in named {
        assert!(root().unwrap().join(path).exists(), "CONTRIBUTING.md names {path}, which does not exist");
    }
}

#[test]
fn the_page_of_stages_equals_the_catalogue() {
    check("docs/src/stages.md", &stage_page());
}

#[test]
fn the_page_of_recipes_equals_the_scenarios() {
    check("docs/src/recipe-list.md", &recipe_page());
}

/// Compares a generated page with its file; with `REWRITE=1` in the environment writes the file.
fn check(file: &str, expected: &str) {
    let path = root().unwrap().join(file);
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is out of date; run: REWRITE=1 cargo test -p tidy");
}

/// The catalogue as a page of the guide.
fn stage_page() -> String {
    let mut page = String::from(
        "# The stages\n\nGenerated from `tracepoints/core/catalogue.toml`. TiKV's functions are those of tikv/tikv \
         8e964719.\n*Held* names what waits when a gate holds a request at the stage. *Time* names the cause of the \
         time\nfrom this stage to the next. The sections follow a request: a layer that it passes again has another \
         section.\n",
    );
    let mut layer = "";
    for stage in STAGES {
        if stage.layer != layer {
            layer = stage.layer;
            let head =
                "| stage | what happens | time | in TiKV | TiKV's metric | held |\n|---|---|---|---|---|---|";
            writeln!(page, "\n## {layer}\n\n{head}").unwrap();
        }
        let metric = if stage.metric.is_empty() { String::new() } else { format!("`{}`", stage.metric) };
        let held = format!("{:?}", stage.hold).to_lowercase().replace("await", "task");
        let (name, meaning, class, tikv) = (stage.name, stage.meaning, stage.class.name(), stage.tikv);
        writeln!(page, "| `{name}` | {meaning} | {class} | `{tikv}` | {metric} | {held} |").unwrap();
    }
    page
}

/// A table of all recipes, and the text of those that no other chapter shows.
fn recipe_page() -> String {
    let mut page = String::from(
        "# All recipes\n\nGenerated from `recipes/scenarios`. [Recipes](recipes.md) explains how to read and write one.\n\n\
         | recipe | title | shown in |\n|---|---|---|\n",
    );
    let chapters: Vec<_> = chapters().into_iter().filter(|(_, file, _)| file != "recipe-list.md").collect();
    let mut rest = String::new();
    for (name, text) in RECIPES {
        let title = text.lines().find_map(|l| l.strip_prefix("title: ")).unwrap_or(name);
        let include = format!("scenarios/{name}.txt}}}}");
        let shown = match chapters.iter().find(|(_, _, text)| text.contains(&include)) {
            Some((title, file, _)) => format!("[{title}]({file})"),
            None => {
                let include = format!("{{{{#include ../../recipes/{include}");
                write!(rest, "\n## {title}\n\n```text\n{include}\n```\n").unwrap();
                "below".to_owned()
            }
        };
        writeln!(page, "| `{name}` | {title} | {shown} |").unwrap();
    }
    page + rest.as_str()
}
