//! The twin of a frame: TiKV's function in the user's checkout.
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use tracepoints::trace::Step;

use super::types::Source;
use crate::state::{
    function_name::last_names,
    tikv::{self, Place},
};

/// Maximum number of folders that are searched in a checkout.
const MAX_FOLDERS: usize = 20_000;

/// A function in the checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The function, with its type.
    pub name: String,
    /// The file.
    pub source: Source,
    /// The line of the function.
    pub line: u32,
}

/// A checkout of tikv/tikv, and the twins that were searched in it.
#[derive(Debug, Default)]
pub struct Twins {
    root: Option<PathBuf>,
    /// Paths below the root by the file's name.
    files: HashMap<String, Vec<String>>,
    known: HashMap<(String, String), Option<Twin>>,
    /// Sentences that say why a stage has no twin, each once.
    pub missing: Vec<String>,
}

impl Twins {
    /// Takes a checkout.
    ///
    /// # Errors
    /// If there is no such directory, or it has no Rust source.
    pub fn new(root: &Path) -> Result<Self, String> {
        let files = if root.is_dir() { rust_files(root) } else { HashMap::new() };
        if files.is_empty() {
            return Err(format!(
                "tikvSrc: expected a checkout of tikv/tikv, found no Rust source in {}: clone it there",
                root.display()
            ));
        }
        Ok(Self { root: Some(root.to_owned()), files, ..Self::default() })
    }

    /// TiKV's function of a step's stage.
    pub fn of_stage(&mut self, step: &Step) -> Option<Twin> {
        let root = self.root.clone()?;
        let key = (step.tikv.clone(), String::new());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let place = Place::parse(&step.tikv);
        let found = match tikv::find(&root, &place) {
            Ok(found) => Some(twin(&place, &found)),
            Err(why) => {
                self.missing.push(format!("{}: {why}", step.stage));
                None
            }
        };
        self.known.insert(key, found.clone());
        found
    }

    /// TiKV's function of this name in a file of the same name: the engine has TiKV's names.
    pub fn of_frame(&mut self, file: &str, name: &str) -> Option<Twin> {
        let root = self.root.clone()?;
        let file = file.rsplit('/').next()?.to_owned();
        let (owner, function) = last_names(name)?;
        let key = (file.clone(), format!("{owner:?}::{function}"));
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let candidates = self.files.get(&file).cloned().unwrap_or_default();
        let found = candidates.into_iter().find_map(|path| {
            let place =
                Place { repository: None, file: path, owner: owner.clone(), function: function.clone() };
            let found = tikv::find(&root, &place).ok()?;
            is_definition(&found, &place).then(|| twin(&place, &found))
        });
        self.known.insert(key, found.clone());
        found
    }
}

fn twin(place: &Place, found: &tikv::FoundFunction) -> Twin {
    let path = found.path.to_string_lossy().into_owned();
    let source = Source {
        name: found.path.file_name().map(|name| name.to_string_lossy().into_owned()),
        path: Some(path),
        origin: Some("checkout of tikv/tikv".into()),
        ..Source::default()
    };
    Twin { name: place.name(), source, line: found.line }
}

/// Whether the found line defines the function, and the file has its type: a search also finds mere mentions.
fn is_definition(found: &tikv::FoundFunction, place: &Place) -> bool {
    let line = found.text.lines().nth(found.line.saturating_sub(1) as usize).unwrap_or_default();
    line.contains(&format!("fn {}", place.function))
        && place.owner.as_ref().is_none_or(|owner| found.text.contains(owner))
}

fn rust_files(root: &Path) -> HashMap<String, Vec<String>> {
    let (mut out, mut folders): (HashMap<String, Vec<String>>, _) = (HashMap::new(), vec![root.to_owned()]);
    let mut seen = 0;
    while let Some(folder) = folders.pop().filter(|_| seen < MAX_FOLDERS) {
        seen += 1;
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name != "target" && !name.starts_with('.') => folders.push(path),
                Ok(kind) if kind.is_file() && name.ends_with(".rs") => {
                    let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                    out.entry(name).or_default().push(below);
                }
                _ => {}
            }
        }
    }
    out.values_mut().for_each(|paths| paths.sort());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_is_a_definition_in_a_file_of_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Twins::new(dir.path()).unwrap_err().contains("found no Rust source"));
        std::fs::create_dir_all(dir.path().join("src/mvcc")).unwrap();
        let text = "struct A;\nimpl PointGetter {\n    fn get(&self) {}\n}\n// load_data\n";
        std::fs::write(dir.path().join("src/mvcc/point_getter.rs"), text).unwrap();
        let mut twins = Twins::new(dir.path()).unwrap();
        let file = "engine/storage/src/mvcc/reader/point_getter.rs";
        let twin = twins.of_frame(file, "PointGetter::get").unwrap();
        assert_eq!((twin.name.as_str(), twin.line), ("PointGetter::get", 3));
        assert_eq!(twins.of_frame(file, "PointGetter::load_data"), None, "a mention is no definition");
        let step = Step {
            stage: "mvcc_get".into(),
            tikv: "src/mvcc/point_getter.rs::PointGetter::get".into(),
            ..Step::default()
        };
        assert_eq!(twins.of_stage(&step).unwrap().line, 3);
        let lost = Step { stage: "x".into(), tikv: "src/gone.rs::f".into(), ..Step::default() };
        assert_eq!(twins.of_stage(&lost), None);
        assert!(twins.missing[0].contains("gone.rs"), "{:?}", twins.missing);
    }
}
