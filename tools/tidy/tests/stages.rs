//! Every stage of the catalogue is stamped, and names a function that TiKV has.
use std::path::PathBuf;

use tidy::sources;
use tikv_tui::state::tikv::{Place, find};
use tracepoints::catalogue::STAGES;

#[test]
fn every_stage_is_stamped_somewhere() {
    let all: String = sources().unwrap().into_iter().map(|(_, text)| text).collect();
    for stage in STAGES {
        let name = stage.name.to_uppercase();
        let macros = ["stamp!(", "step!(", "step_thread!("];
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

/// `TIKV_SRC` is a checkout of tikv/tikv 8e964719: `TIKV_SRC=DIR cargo test -p tidy -- --ignored`.
#[test]
#[ignore = "needs TIKV_SRC, a checkout of tikv/tikv"]
fn every_anchor_resolves_in_tikv() {
    let root = PathBuf::from(std::env::var_os("TIKV_SRC").expect("TIKV_SRC names a checkout of tikv/tikv"));
    let ours = anchors().filter(|(_, place)| place.repository.is_none());
    let lost: Vec<String> = ours
        .filter_map(|(stage, place)| find(&root, &place).err().map(|why| format!("{stage}: {why}")))
        .collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}
