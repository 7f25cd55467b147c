//! Finds the mapped file, and the file with its debug information.
use std::{
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use object::{Object as _, ObjectSegment as _};

use super::options::SymbolOptions;

/// Directory in which distributions install debug information.
const SYSTEM_DEBUG_DIR: &str = "/usr/lib/debug";

/// A program or library, and the file with its debug information.
#[derive(Debug)]
pub struct Located {
    /// The file to look names up in: the program's own, or a split one.
    pub debug: PathBuf,
    /// In hex; empty if it has none.
    pub build_id: String,
    pub has_debug_info: bool,
    /// Offset and size in the file, and the linker's address.
    segments: Vec<(u64, u64, u64)>,
}

impl Located {
    /// Returns the linker's address of a byte of the file; `None` outside of the loaded segments.
    pub fn address(&self, offset: u64) -> Option<u64> {
        let of = |(start, size, address): &(u64, u64, u64)| {
            let within = offset.checked_sub(*start).filter(|within| within < size)?;
            address.checked_add(within)
        };
        self.segments.iter().find_map(of)
    }
}

/// Properties of an object file.
struct ObjectInfo {
    build_id: String,
    has_debug_info: bool,
    link: Option<PathBuf>,
    segments: Vec<(u64, u64, u64)>,
}

fn object_info(path: &Path) -> Result<ObjectInfo, String> {
    let map = tracepoints_input::map_file(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let object = object::File::parse(&*map).map_err(|e| format!("{}: {e}", path.display()))?;
    let link = object.gnu_debuglink().ok().flatten().map(|(name, _)| PathBuf::from(OsStr::from_bytes(name)));
    Ok(ObjectInfo {
        build_id: object.build_id().ok().flatten().map(hex).unwrap_or_default(),
        // Skeletons of split DWARF count: the rest is in .dwo or .dwp.
        has_debug_info: object.section_by_name(".debug_info").is_some()
            || object.section_by_name(".zdebug_info").is_some(),
        link,
        segments: object
            .segments()
            .map(|s| {
                let (offset, size) = s.file_range();
                (offset, size, s.address())
            })
            .collect(),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Finds the file mapped as `path`. A file with another build id is another program, even with the same name.
pub fn locate(path: &str, build_id: &str, options: &SymbolOptions) -> Result<Located, String> {
    let path = Path::new(path);
    let mut refused = None;
    for candidate in candidates(path, build_id, options) {
        match object_info(&candidate) {
            Ok(object_info)
                if build_id.is_empty()
                    || object_info.build_id.is_empty()
                    || same(&object_info.build_id, build_id) =>
            {
                return Ok(with_debug(&candidate, object_info, options));
            }
            Ok(object_info) => {
                let found = object_info.build_id;
                refused = Some(format!(
                    "{} has build id {found}, expected {build_id} as in the profile: give the program that ran as --binary",
                    candidate.display()
                ));
            }
            Err(what) => refused = refused.or(Some(what)),
        }
    }
    Err(refused
        .unwrap_or_else(|| "it is not on this machine; copy it here and give it as --binary".to_owned()))
}

/// Returns the path of the file mapped as `path`, with its code.
pub fn program(path: &str, build_id: &str, options: &SymbolOptions) -> Option<PathBuf> {
    let fits = |object_info: &ObjectInfo| {
        build_id.is_empty() || object_info.build_id.is_empty() || same(&object_info.build_id, build_id)
    };
    let all = candidates(Path::new(path), build_id, options);
    all.into_iter().find(|candidate| object_info(candidate).is_ok_and(|object_info| fits(&object_info)))
}

/// Whether two build ids are equal: perf may pad an id with zeros.
fn same(a: &str, b: &str) -> bool {
    let trim = |id: &str| id.trim_end_matches('0').to_ascii_lowercase();
    trim(a) == trim(b)
}

fn candidates(path: &Path, build_id: &str, options: &SymbolOptions) -> Vec<PathBuf> {
    let given = options.binaries.iter().filter(|binary| {
        let by_id = || object_info(binary).is_ok_and(|f| !build_id.is_empty() && same(&f.build_id, build_id));
        binary.file_name() == path.file_name() || by_id()
    });
    let mut found: Vec<PathBuf> = given.cloned().collect();
    found.push(path.to_path_buf());
    for dir in &options.debug_dirs {
        found.push(dir.join(path.strip_prefix("/").unwrap_or(path)));
        found.extend(path.file_name().map(|name| dir.join(name)));
    }
    found.retain(|candidate| candidate.is_file());
    found
}

fn with_debug(path: &Path, object_info: ObjectInfo, options: &SymbolOptions) -> Located {
    let mut located = Located {
        debug: path.to_path_buf(),
        build_id: object_info.build_id.clone(),
        has_debug_info: object_info.has_debug_info,
        segments: object_info.segments.clone(),
    };
    if !object_info.has_debug_info
        && let Some(split) = split_debug(path, &object_info, options)
    {
        located.debug = split;
        located.has_debug_info = true;
    }
    located
}

/// Finds the file with the split debug information, by build id or by the program's link to it.
fn split_debug(path: &Path, of: &ObjectInfo, options: &SymbolOptions) -> Option<PathBuf> {
    let roots = || options.debug_dirs.iter().cloned().chain([PathBuf::from(SYSTEM_DEBUG_DIR)]);
    let mut found = Vec::new();
    if let Some((head, tail)) = of.build_id.split_at_checked(2) {
        found.extend(roots().map(|root| root.join(".build-id").join(head).join(format!("{tail}.debug"))));
    }
    if let Some(link) = &of.link {
        let dir = path.parent().unwrap_or(Path::new("/"));
        found.extend([dir.join(link), dir.join(".debug").join(link)]);
        let below = dir.strip_prefix("/").unwrap_or(dir);
        found.extend(roots().flat_map(|root| [root.join(below).join(link), root.join(link)]));
    }
    found.into_iter().filter(|candidate| candidate != path && candidate.is_file()).find(|candidate| {
        object_info(candidate)
            .is_ok_and(|f| f.has_debug_info && (f.build_id.is_empty() || f.build_id == of.build_id))
    })
}
