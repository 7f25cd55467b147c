//! Every stage of the catalogue is stamped, and names a function that TiKV has.
use std::{fs, path::PathBuf};

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
        assert!(used, "no stamp names the stage {}", stage.name);
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

/// Anchors in the text of the guide, each with its page: `path::function` of a file of TiKV, in backticks.
fn guide_anchors() -> Vec<(String, Place)> {
    let mut found = Vec::new();
    for page in files(&root().unwrap().join("docs/src"), &["md"]).unwrap() {
        let text = fs::read_to_string(&page).unwrap();
        let code = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        let of_tikv = code.filter(|code| {
            let folder = ["src/", "components/", "cmd/", "tests/"].iter().any(|f| code.starts_with(f));
            folder && code.contains(".rs::") && !code.contains(['{', ' '])
        });
        found.extend(of_tikv.map(|code| (page.display().to_string(), Place::parse(code))));
    }
    found
}

#[test]
fn anchors_of_the_guide_name_a_function() {
    let anchors = guide_anchors();
    assert!(anchors.len() > 100, "expected the anchors of all pages, found {}", anchors.len());
    for (page, place) in anchors {
        assert!(!place.function.is_empty() && place.file.ends_with(".rs"), "{page}: {place:?}");
    }
}

/// `TIKV_SRC` is a checkout of tikv/tikv 8e964719: `TIKV_SRC=DIR cargo test -p tidy -- --ignored`.
#[test]
#[ignore = "needs TIKV_SRC, a checkout of tikv/tikv"]
fn every_anchor_resolves_in_tikv() {
    let root = PathBuf::from(std::env::var_os("TIKV_SRC").expect("TIKV_SRC names a checkout of tikv/tikv"));
    let stages = anchors().map(|(stage, place)| (stage.to_owned(), place));
    let ours = stages.chain(guide_anchors()).filter(|(_, place)| place.repository.is_none());
    let lost: Vec<String> = ours
        .filter_map(|(place_of, place)| find(&root, &place).err().map(|why| format!("{place_of}: {why}")))
        .collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}
