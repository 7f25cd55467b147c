//! Looks up addresses of one file, on all cores.
use std::{collections::HashMap, path::Path};

use addr2line::Loader;
use ahash::RandomState;
use object::{Object as _, ObjectSymbol as _};
use tracepoints::symbolize::demangle;

/// One function at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolFrame {
    /// The demangled name.
    pub function: String,
    /// The source file; empty if unknown.
    pub file: String,
    /// 0 if unknown.
    pub line: u32,
    /// 0 if unknown.
    pub column: u32,
    /// Whether it was inlined into the previous one.
    pub inlined: bool,
}

/// Names of the frames of one module, by the address in the process.
pub type Names = HashMap<u64, Vec<SymbolFrame>, RandomState>;

/// Minimum number of addresses per thread, since each thread reads the headers of all units again.
const WORTH_A_THREAD: usize = 4096;

/// Returns the frames at each of the linker's addresses, the outermost first; empty for unknown ones. Sorted
/// addresses are fastest: then each unit is read by one thread.
///
/// # Errors
/// A description of the file's error.
pub fn lookup(path: &Path, addresses: &[u64]) -> Result<Vec<Vec<SymbolFrame>>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(addresses.len() / WORTH_A_THREAD + 1);
    let share = addresses.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let mut shares = addresses.chunks(share);
        let first = shares.next().unwrap_or_default();
        let others: Vec<_> = shares.map(|share| scope.spawn(move || look_up(path, share))).collect();
        let mut found = look_up(path, first)?;
        for other in others {
            found.extend(
                other.join().unwrap_or_else(|_| Err("a thread that looked up symbols panicked".into()))?,
            );
        }
        Ok(found)
    })
}

fn look_up(path: &Path, addresses: &[u64]) -> Result<Vec<Vec<SymbolFrame>>, String> {
    let loader = Loader::new(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut resolver = Resolver { loader: &loader, demangled: HashMap::default(), dynamic: None, path };
    Ok(addresses.iter().map(|address| resolver.at(*address)).collect())
}

struct Resolver<'a> {
    loader: &'a Loader,
    /// Cache, since a function occurs at many addresses.
    demangled: HashMap<String, String, RandomState>,
    /// Exported symbols of a stripped library; read when nothing else has the address.
    dynamic: Option<Vec<(u64, u64, String)>>,
    path: &'a Path,
}

impl Resolver<'_> {
    fn at(&mut self, address: u64) -> Vec<SymbolFrame> {
        let mut frames = Vec::new();
        if let Ok(mut found) = self.loader.find_frames(address) {
            while let Ok(Some(frame)) = found.next() {
                let name = frame.function.as_ref().and_then(|f| f.raw_name().ok());
                let function = name.map_or_else(|| "??".to_owned(), |name| self.readable(&name));
                let location = frame.location.as_ref();
                frames.push(SymbolFrame {
                    function,
                    file: location.and_then(|l| l.file).unwrap_or_default().to_owned(),
                    line: location.and_then(|l| l.line).unwrap_or(0),
                    column: location.and_then(|l| l.column).unwrap_or(0),
                    inlined: true,
                });
            }
        }
        // Line tables may have only the last part of a function's name; the symbol has its full path.
        let symbol = match self.loader.find_symbol(address) {
            Some(symbol) => Some(self.readable(symbol)),
            None if frames.is_empty() => self.exported(address),
            None => None,
        };
        match (frames.last_mut(), symbol) {
            (Some(host), symbol) => {
                host.inlined = false;
                if let Some(symbol) = symbol {
                    host.function = symbol;
                }
            }
            (None, Some(function)) => frames.push(SymbolFrame { function, ..SymbolFrame::default() }),
            (None, None) => {}
        }
        frames.reverse();
        frames
    }

    fn readable(&mut self, name: &str) -> String {
        if let Some(known) = self.demangled.get(name) {
            return known.clone();
        }
        let readable = demangle(name);
        self.demangled.insert(name.to_owned(), readable.clone());
        readable
    }

    fn exported(&mut self, address: u64) -> Option<String> {
        let path = self.path;
        let symbols = self.dynamic.get_or_insert_with(|| dynamic(path).unwrap_or_default());
        let after = symbols.partition_point(|(start, _, _)| *start <= address);
        let (start, size, name) = symbols.get(after.checked_sub(1)?)?;
        (address - start < *size).then(|| demangle(name))
    }
}

fn dynamic(path: &Path) -> Option<Vec<(u64, u64, String)>> {
    let map = tracepoints_input::map_file(path).ok()?;
    let object = object::File::parse(&*map).ok()?;
    let known = object.dynamic_symbols().filter(|s| s.is_definition() && s.size() > 0);
    let mut symbols: Vec<_> =
        known.filter_map(|s| Some((s.address(), s.size(), s.name().ok()?.to_owned()))).collect();
    symbols.sort();
    Some(symbols)
}
