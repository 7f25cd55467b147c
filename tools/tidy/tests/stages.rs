//! Every stage of the catalogue is stamped, and names a function that TiKV has.
use std::{
    fs,
    path::{Path, PathBuf},
};

use tidy::{files, root, sources};
use tikv_tui::state::tikv::{Place, find};
use tracepoints::catalogue::STAGES;

#[test]
fn every_stage_is_stamped_somewhere() {
    let all: String = sources().unwrap().into_iter().map(|(_, text)| text).collect();
    for stage in STAGES {
        let name = stage.name.to_uppercase();
        let macros = ["stamp!(", "step!(", "step_thread!(", "step_facts!(", "step_inside!("];
        let used = macros.iter().any(|m| all.contains(&format!("{m}{name},")))
            || all.contains(&format!(" {name}, "))
            || all.contains(&format!(" {name},\n"));
        assert!(
            used,
            "expected a stamp of the stage {}, found none: stamp it, or remove it from the catalogue",
            stage.name
        );
    }
}

/// Anchors of the catalogue: of the stage, and of each kind of request.
fn anchors() -> impl Iterator<Item = (&'static str, Place)> {
    STAGES.iter().flat_map(|stage| {
        let all = std::iter::once(stage.tikv).chain(stage.tikv_of.iter().map(|(_, place)| *place));
        // `{rpc}` stands for the name of each RPC.
        all.filter(|place| !place.contains('{')).map(|place| (stage.name, Place::parse(place)))
    })
}

/// Texts in backticks of the guide's pages that `is_anchor` accepts, each with its page.
fn anchors_in_pages(is_anchor: impl Fn(&str) -> bool) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    for page in files(&root().unwrap().join("docs/src"), &["md"]).unwrap() {
        let text = fs::read_to_string(&page).unwrap();
        let code = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let anchors = code.filter(|code| !code.contains('{') && is_anchor(code));
        found.extend(anchors.map(|code| (page.display().to_string(), Place::parse(code))));
    }
    found
}

/// Anchors in TiKV: `path::function`.
fn guide_anchors() -> Vec<(String, Place)> {
    anchors_in_pages(|code| {
        let folder = ["src/", "components/", "cmd/", "tests/"].iter().any(|f| code.starts_with(f));
        folder && code.contains(".rs::") && !code.contains(' ')
    })
}

/// Anchors in other repositories: `owner/name path::function`.
fn foreign_anchors() -> Vec<(String, Place)> {
    let names_a_function = |code: &str| code.contains(".rs::") || code.contains(".go::");
    let of_pages = anchors_in_pages(|code| code.starts_with("tikv/") && names_a_function(code));
    let of_stages = anchors().map(|(stage, place)| (stage.to_owned(), place));
    of_stages.filter(|(_, place)| place.repository.is_some()).chain(of_pages).collect()
}

#[test]
fn anchors_of_the_guide_name_a_function() {
    let anchors = guide_anchors();
    assert!(anchors.len() > 100, "expected the anchors of all pages, found {}", anchors.len());
    for (page, place) in anchors {
        assert!(!place.function.is_empty() && place.file.ends_with(".rs"), "{page}: {place:?}");
    }
}

/// `TIKV_SRC` is a checkout of tikv/tikv 8e964719: `TIKV_SRC=DIR cargo test -p tidy -- --ignored`. With `REPOSITORIES`,
/// a folder with the checkouts `pd`, `client-go`, `client-rust` and `raft-rs`, also the anchors in these.
#[test]
#[ignore = "needs TIKV_SRC, a checkout of tikv/tikv"]
fn every_anchor_resolves_in_tikv() {
    let root = PathBuf::from(std::env::var_os("TIKV_SRC").expect("TIKV_SRC names a checkout of tikv/tikv"));
    let stages = anchors().map(|(stage, place)| (stage.to_owned(), place));
    let ours = stages.chain(guide_anchors()).filter(|(_, place)| place.repository.is_none());
    let mut lost: Vec<String> = ours
        .filter_map(|(place_of, place)| lost_in(&root, &place).map(|why| format!("{place_of}: {why}")))
        .collect();
    if let Some(folder) = std::env::var_os("REPOSITORIES") {
        lost.extend(lost_in_repositories(&PathBuf::from(folder)));
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

/// The reason why an anchor does not resolve in the checkout. A page may not name a file that only mentions the type.
fn lost_in(root: &Path, place: &Place) -> Option<String> {
    let found = match find(root, place) {
        Ok(found) => found,
        Err(why) => return Some(why),
    };
    let is_type = place.function.starts_with(|c: char| c.is_ascii_uppercase());
    (is_type && !defines(&found.text, &place.function)).then(|| {
        format!(
            "expected the definition of {} in {}, found a mention: name its file",
            place.name(),
            place.file
        )
    })
}

/// Whether the text defines the type or constant.
fn defines(text: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    ["struct", "enum", "trait", "type", "union", "const", "static", "static ref"].iter().any(|kind| {
        let definition = format!("{kind} {name}");
        text.match_indices(definition.as_str()).any(|(at, found)| ends(&text[at + found.len()..]))
    })
}

#[test]
fn a_mention_of_a_type_is_not_its_definition() {
    let text =
        "use super::{FlowController, Other};\npub struct EngineFlowController {}\nenum Kind<T> { A(T) }\n";
    assert!(defines(text, "EngineFlowController"));
    assert!(defines(text, "Kind"));
    assert!(!defines(text, "FlowController"));
    assert!(!defines(text, "EngineFlow"));
}

/// Anchors that do not resolve in the checkouts of the folder, each with its place.
fn lost_in_repositories(folder: &Path) -> Vec<String> {
    let lost = |(place_of, place): (String, Place)| {
        let name = place.repository.as_deref().and_then(|repository| repository.split('/').nth(1));
        let root = folder.join(name.unwrap_or_default());
        // Go writes `Type.Method`; the reader of Rust finds the mention of the method.
        let function = place.function.rsplit('.').next().unwrap_or_default().to_owned();
        let here = Place { repository: None, function, ..place };
        find(&root, &here).err().map(|why| format!("{place_of}: {why}"))
    };
    foreign_anchors().into_iter().filter_map(lost).collect()
}

#[test]
fn anchors_in_other_repositories_name_a_function() {
    let anchors = foreign_anchors();
    assert!(anchors.len() > 20, "expected the anchors in PD and in the clients, found {}", anchors.len());
    for (page, place) in anchors {
        let known =
            ["tikv/pd", "tikv/client-go", "tikv/client-rust", "tikv/raft-rs"].contains(&place.whose());
        assert!(!place.function.is_empty() && known, "{page}: {place:?}");
    }
}
