//! The modules of a crate and what they import, read from their `use` items and from paths within their code.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use crate::files;

/// A module's path in its crate: `["store", "peer"]`. The root is empty.
pub type Module = Vec<String>;

/// The modules of one crate, and for each the modules that it imports from.
#[derive(Debug, Default)]
pub struct Modules {
    /// For each module, the modules that it imports from.
    pub imports: BTreeMap<Module, BTreeSet<Module>>,
    /// The imports that should name another module.
    pub detours: Vec<Detour>,
}

/// An import from an enclosing module of what that module itself only imports.
#[derive(Debug, PartialEq, Eq)]
pub struct Detour {
    /// The module with the import.
    pub importer: Module,
    /// The imported path, from the crate's root.
    pub path: Module,
    /// The path that the enclosing module imports.
    pub direct: Module,
}

/// One path of a `use` item, and the name that the item gives it. A path within the code has no name.
#[derive(Clone)]
struct Use {
    path: Module,
    name: String,
    public: bool,
}

impl Modules {
    /// Reads the modules below `src`. Leaves tests and binaries out.
    ///
    /// # Errors
    /// A file or folder cannot be read.
    pub fn read(src: &Path) -> io::Result<Modules> {
        let mut texts = BTreeMap::new();
        for file in files(src, &["rs"])? {
            let relative = file.strip_prefix(src).unwrap_or(&file).with_extension("");
            let mut module: Module =
                relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            let is_test = module.iter().any(|part| part == "tests" || part == "bin" || part == "main");
            if is_test {
                continue;
            }
            module.pop_if(|last| last == "mod" || last == "lib");
            texts.insert(module, without_tests(&fs::read_to_string(&file)?));
        }
        let names: BTreeSet<Module> = texts.keys().cloned().collect();
        let uses: BTreeMap<Module, Vec<Use>> =
            texts.iter().map(|(module, text)| (module.clone(), uses(module, text, &names))).collect();
        let imports = texts.iter().map(|(module, text)| {
            let list = [uses[module].clone(), inline(module, text, &names)].concat();
            (module.clone(), imports(module, &list, &uses))
        });
        let imports = imports.collect();
        let detours = uses.iter().flat_map(|(module, list)| detours(module, list, &uses)).collect();
        Ok(Modules { imports, detours })
    }

    /// Groups of modules that import each other, directly or through others.
    pub fn cycles(&self) -> Vec<Vec<Module>> {
        let reach: BTreeMap<&Module, BTreeSet<&Module>> =
            self.imports.keys().map(|module| (module, self.reachable(module))).collect();
        let mut found: BTreeSet<Vec<Module>> = BTreeSet::new();
        for (module, reached) in &reach {
            let group: Vec<Module> = reached
                .iter()
                .filter(|other| reach[**other].contains(module))
                .map(|m| (*m).clone())
                .collect();
            if group.len() > 1 {
                found.insert(group);
            }
        }
        found.into_iter().collect()
    }

    fn reachable<'a>(&'a self, from: &'a Module) -> BTreeSet<&'a Module> {
        let (mut reached, mut pending) = (BTreeSet::new(), vec![from]);
        while let Some(module) = pending.pop() {
            for next in self.imports.get(module).into_iter().flatten() {
                if reached.insert(next) {
                    pending.push(next);
                }
            }
        }
        reached
    }
}

/// The text without comments and without the unit tests at its end.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The paths in `text` that lead to modules of the same crate.
fn uses(module: &Module, text: &str, names: &BTreeSet<Module>) -> Vec<Use> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = &rest[..at][rest[..at].rfind('\n').map_or(0, |n| n + 1)..];
        rest = &rest[at + 4..];
        let public = line.trim_start().starts_with("pub");
        if !line.trim().is_empty() && !public {
            continue;
        }
        let tree = rest.split(';').next().unwrap_or("");
        let mut paths = Vec::new();
        expand(tree, &[], &mut paths);
        found.extend(paths.into_iter().filter_map(|(path, name)| {
            let path = absolute(module, &path, names)?;
            Some(Use { path, name, public })
        }));
    }
    found
}

/// The paths in the code of `text`, outside of `use` items, that start with `crate` or `super`. The path from a parent
/// to its child is none of them: a parent calls its children, and they may import its types.
fn inline(module: &Module, text: &str, names: &BTreeSet<Module>) -> Vec<Use> {
    let code = text.split(';').flat_map(|item| item.lines().take_while(|line| !is_use(line)));
    let words = code.flat_map(|line| {
        let line = line.replace("(in crate::", "(");
        let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '$');
        line.split(|c: char| !is_path(c)).map(str::to_owned).collect::<Vec<_>>()
    });
    let paths = words.filter(|word| word.starts_with("crate::") || word.starts_with("super::"));
    let found = paths.filter_map(|word| {
        let parts: Module = word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let mut path = absolute(module, &parts, names)?;
        // The last name is an item, also if a module has the same name.
        if names.contains(&path) {
            path.pop();
        }
        Some(Use { path, name: String::new(), public: false })
    });
    found.collect()
}

/// Whether a `use` item begins in the line.
fn is_use(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ")
}

/// `a::{b, c::d as e}` as `a::b` named `b` and `a::c::d` named `e`.
fn expand(tree: &str, prefix: &[String], out: &mut Vec<(Module, String)>) {
    let parts = |text: &str| {
        let parts = text.split("::").map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    match tree.split_once('{') {
        None => {
            let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
            let path = [prefix, &parts(path)].concat();
            let name =
                if alias.is_empty() { path.last().cloned().unwrap_or_default() } else { alias.trim().into() };
            out.push((path, name));
        }
        Some((head, rest)) => {
            let prefix = [prefix, &parts(head)].concat();
            let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
            let (mut depth, mut start) = (0_i32, 0);
            for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        if !inside[start..at].trim().is_empty() {
                            expand(&inside[start..at], &prefix, out);
                        }
                        start = at + 1;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A path from the crate's root; `None` for one that leads into another crate.
fn absolute(module: &Module, path: &[String], names: &BTreeSet<Module>) -> Option<Module> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([module.get(..module.len().checked_sub(supers)?)?, &path[supers..]].concat()),
        first => {
            let child = [module.as_slice(), &[first.to_owned()]].concat();
            names.contains(&child).then(|| [module, path].concat())
        }
    }
}

/// The modules that `list`, the uses of `module`, lead to. A module that only re-exports its children does not
/// import them.
fn imports(module: &Module, list: &[Use], uses: &BTreeMap<Module, Vec<Use>>) -> BTreeSet<Module> {
    let targets = list.iter().filter_map(|item| Some((item, target(&item.path, uses, 0)?)));
    let targets = targets.filter(|(item, target)| !(item.public && target.starts_with(module)));
    targets.map(|(_, target)| target).filter(|target| target != module).collect()
}

/// The module that defines what `path` names: through re-exports.
fn target(path: &Module, uses: &BTreeMap<Module, Vec<Use>>, depth: usize) -> Option<Module> {
    let at = (0..=path.len()).rev().find(|n| uses.contains_key(&path[..*n]))?;
    let module = path[..at].to_vec();
    let Some(name) = path.get(at).filter(|_| depth < 5) else { return Some(module) };
    let exported = uses[&module].iter().find(|item| item.public && item.name == *name);
    exported.and_then(|item| target(&item.path, uses, depth + 1)).or(Some(module))
}

/// The uses of `module` that lead through an enclosing module to a sibling. The crate's root is not a detour:
/// its exports are the crate's interface.
fn detours(module: &Module, list: &[Use], uses: &BTreeMap<Module, Vec<Use>>) -> Vec<Detour> {
    let through = |item: &Use| {
        let at = (1..=item.path.len()).rev().find(|n| uses.contains_key(&item.path[..*n]))?;
        let (exporter, name) = (&item.path[..at], item.path.get(at)?);
        if module.len() <= at || !module.starts_with(exporter) {
            return None;
        }
        let direct = uses[exporter].iter().find(|exported| exported.name == *name)?.path.clone();
        Some(Detour { importer: module.clone(), path: item.path.clone(), direct })
    };
    list.iter().filter_map(through).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn an_import_through_an_enclosing_module_is_found() {
        let dir = std::env::temp_dir().join(format!("tidy-detours-{}", std::process::id()));
        write(&dir, "lib.rs", "mod a;\npub use a::A;\n");
        write(&dir, "a.rs", "mod b;\nmod c;\npub use b::{B, Long as Short};\npub struct A;\n");
        write(&dir, "a/b.rs", "use crate::A;\nuse super::A as Own;\n");
        write(&dir, "a/c.rs", "use super::{b::B, Short};\n");
        let modules = Modules::read(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let path = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
        let expected = Detour { importer: path("a::c"), path: path("a::Short"), direct: path("a::b::Long") };
        assert_eq!(modules.detours, [expected]);
    }

    #[test]
    fn a_cycle_through_a_re_export_is_found() {
        let dir = std::env::temp_dir().join(format!("tidy-{}", std::process::id()));
        write(&dir, "lib.rs", "mod a;\nmod b;\npub use a::{A, Other};\n");
        write(&dir, "a.rs", "use crate::b::{self, B};\n#[cfg(test)]\nmod tests { use crate::c::C; }\n");
        write(&dir, "b.rs", "use super::A;\n");
        write(&dir, "c.rs", "// use crate::a;\nuse std::fmt;\n");
        write(&dir, "d.rs", "use crate::e::{E, self};\npub(in crate::c) fn c() {}\n");
        write(&dir, "e.rs", "pub struct E;\nfn f() -> crate::a::A {\n    crate::d::f(super::c())\n}\n");
        let modules = Modules::read(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let names = |names: &[&str]| names.iter().map(|n| vec![(*n).to_owned()]).collect::<Vec<Module>>();
        assert_eq!(modules.cycles(), [names(&["a", "b"]), names(&["d", "e"])]);
        assert!(modules.imports[&names(&["c"])[0]].is_empty());
    }
}
