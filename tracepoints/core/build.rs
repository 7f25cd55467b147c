//! Turns `catalogue.toml` into the stage table and one constant per stage.
use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

#[derive(serde::Deserialize)]
struct Catalogue {
    stage: Vec<Stage>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    name: String,
    layer: String,
    class: String,
    meaning: String,
    tikv: String,
    #[serde(default)]
    tikv_of: BTreeMap<String, String>,
    #[serde(default)]
    differs: String,
    #[serde(default)]
    metric: String,
    chapter: String,
    hold: String,
    #[serde(default = "main_lane")]
    lane: String,
    #[serde(default)]
    inside: bool,
}

fn main_lane() -> String {
    "main".into()
}

/// Turns `"fsm"` into `Hold::Fsm`: the TOML's word is the variant's name in lower case.
fn variant(kind: &str, word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
    format!("{kind}::{}{}", first.collect::<String>(), letters.as_str())
}

fn main() {
    println!("cargo:rerun-if-changed=catalogue.toml");
    let text = fs::read_to_string("catalogue.toml").expect("catalogue.toml is next to build.rs");
    let catalogue: Catalogue = toml::from_str(&text).expect("catalogue.toml is a list of [[stage]]");
    let mut table = String::from("/// All stages, by their ids.\npub static STAGES: &[Stage] = &[\n");
    let mut consts = String::new();
    for (id, s) in catalogue.stage.iter().enumerate() {
        writeln!(
            table,
            "Stage {{ id: StageId({id}), name: {:?}, layer: {:?}, class: {}, meaning: {:?}, tikv: {:?}, tikv_of: &{:?}, differs: {:?}, metric: {:?}, chapter: {:?}, hold: {}, lane: {}, inside: {} }},",
            s.name, s.layer, variant("Class", &s.class), s.meaning, s.tikv, s.tikv_of.iter().collect::<Vec<_>>(), s.differs, s.metric, s.chapter,
            variant("Hold", &s.hold), variant("Lane", &s.lane), s.inside,
        )
        .expect("writing to a String");
        writeln!(
            consts,
            "/// {}\npub const {}: super::StageId = super::StageId({id});",
            s.meaning,
            s.name.to_uppercase()
        )
        .expect("writing to a String");
    }
    table.push_str("];\n");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("table.rs"), table).expect("OUT_DIR is writable");
    fs::write(Path::new(&out).join("consts.rs"), consts).expect("OUT_DIR is writable");
}
