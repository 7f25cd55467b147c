//! Resolves the frames of a profile with addresses only, from their programs and libraries.
mod cache;
mod file;
mod lookup;
mod options;

use std::collections::{BTreeMap, BTreeSet};

use self::lookup::Names;
use crate::model::{Frame, FrameId, ModuleId, Profile};

pub use cache::default_dir as default_cache_dir;
pub(crate) use file::{hex, program};
pub use lookup::{SymbolFrame, lookup};
pub use options::SymbolOptions;

/// Resolves frames that have an address and no function; inlined functions become separate frames. Also
/// returns notes on missing symbols: such frames stay `module+offset`.
pub fn resolve(profile: &Profile, options: &SymbolOptions) -> (Profile, Vec<String>) {
    let mut wanted: BTreeMap<ModuleId, BTreeSet<u64>> = BTreeMap::new();
    for frame in profile.frames().filter(|frame| is_bare(frame)) {
        if let Some(module) = frame.module {
            wanted.entry(module).or_default().insert(frame.address);
        }
    }
    let (mut names, mut notes) = (BTreeMap::new(), Vec::new());
    for (id, addresses) in wanted {
        let Some(module) = profile.module_of(id) else { continue };
        let (path, build_id) = (profile.text(module.path), profile.text(module.build_id));
        if path.starts_with('[') || path.starts_with("//") {
            continue;
        }
        let offsets: Vec<u64> = addresses.iter().map(|a| module.file_offset(*a)).collect();
        match of_module(path, build_id, &offsets, options, &mut notes) {
            Ok(found) => {
                let found: Names = addresses.into_iter().zip(found).filter(|(_, f)| !f.is_empty()).collect();
                names.insert(id, found);
            }
            // A module without a name is in no file.
            Err(what) if !path.is_empty() => notes.push(format!("no symbols of {path}: {what}")),
            Err(_) => {}
        }
    }
    let named = profile.map_frames(|profile, id| {
        let frame = *profile.frame(id);
        let found = frame.module.filter(|_| is_bare(&frame)).and_then(|m| names.get(&m)?.get(&frame.address));
        match found {
            Some(found) => found.iter().map(|f| add(profile, &frame, f)).collect(),
            None => vec![id],
        }
    });
    (named, notes)
}

fn is_bare(frame: &Frame) -> bool {
    frame.function.index() == 0 && frame.address != 0
}

fn add(profile: &mut Profile, frame: &Frame, found: &SymbolFrame) -> FrameId {
    let function = profile.intern(&found.function);
    let file = profile.intern(&found.file);
    profile.add_frame(Frame {
        function,
        file,
        line: found.line,
        column: found.column,
        inlined: found.inlined,
        ..*frame
    })
}

/// Resolves the frames at each file offset, the outermost first.
fn of_module(
    path: &str,
    build_id: &str,
    offsets: &[u64],
    options: &SymbolOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Vec<SymbolFrame>>, String> {
    let file = file::locate(path, build_id, options)?;
    if !file.has_debug_info {
        notes.push(format!(
            "{path} has no debug information: its functions are known by its symbol table only"
        ));
    }
    let addresses: Vec<u64> =
        offsets.iter().map(|offset| file.address(*offset).unwrap_or(u64::MAX)).collect();
    let mut known = options.cache.as_ref().and_then(|dir| cache::open(dir, &file));
    let is_known = |a: &u64| known.as_ref().is_some_and(|known| known.has(*a));
    let mut missing: Vec<u64> =
        addresses.iter().copied().filter(|a| *a != u64::MAX && !is_known(a)).collect();
    missing.sort_unstable();
    missing.dedup();
    let found = if missing.is_empty() { Vec::new() } else { lookup(&file.debug, &missing)? };
    let found: Names = missing.into_iter().zip(found).collect();
    if let Some(known) = known.as_mut()
        && let Err(e) = known.add(&found)
    {
        notes.push(format!("cannot write symbols to the cache: {e}"));
    }
    let of = |a: &u64| found.get(a).or_else(|| known.as_ref()?.get(*a)).cloned().unwrap_or_default();
    Ok(addresses.iter().map(of).collect())
}

#[cfg(test)]
mod tests;
