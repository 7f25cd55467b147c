//! Turns return addresses of this process into functions, files and lines, inlined frames included.
use std::{collections::HashMap, fmt::Write as _, path::PathBuf};

use serde::{Deserialize, Serialize};

/// One frame with its readable names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The function's demangled name.
    pub function: String,
    /// The source file; empty if unknown.
    pub file: String,
    /// The line; 0 if unknown.
    pub line: u32,
    /// Whether it was inlined into the next frame.
    pub inlined: bool,
}

/// Maximum length of a demangled name in bytes: in a malicious symbol each substitution may double the name.
const MAX_NAME: usize = 64 << 10;

/// Demangles a symbol of Rust (`_R...`, `_ZN...17h<hash>E`) or C++ (`_Z...`); returns any other name
/// unchanged. Names without the prefix are excluded because C names such as `f`, `St` or `ZN1aE` would be
/// read as types.
pub fn demangle(symbol: &str) -> String {
    // Mach-O puts an underscore before each name.
    let name = symbol.strip_prefix('_').filter(|rest| rest.starts_with("_Z") || rest.starts_with("_R"));
    let name = name.unwrap_or(symbol);
    if !name.starts_with("_Z") && !name.starts_with("_R") {
        return symbol.to_owned();
    }
    // `name@plt`, `name@@GLIBCXX_3.4`: the version is not part of the name.
    let (name, version) = name.split_at(name.find('@').unwrap_or(name.len()));
    match rust(name).or_else(|| cpp(name)) {
        Some(readable) => readable + version,
        None => symbol.to_owned(),
    }
}

fn rust(name: &str) -> Option<String> {
    let mut out = Bounded::default();
    write!(out, "{:#}", rustc_demangle::try_demangle(name).ok()?).ok()?;
    Some(out.0)
}

fn cpp(name: &str) -> Option<String> {
    let symbol = cpp_demangle::Symbol::new(name).ok()?;
    let mut out = Bounded::default();
    symbol.structured_demangle(&mut out, &cpp_demangle::DemangleOptions::default()).ok()?;
    Some(out.0)
}

/// A text of at most [`MAX_NAME`] bytes.
#[derive(Default)]
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_NAME {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The function below which only thread start-up frames are: the standard library hides them from its
/// backtraces, too.
pub const THREAD_START: &str = "__rust_begin_short_backtrace";

/// Why there are no names for addresses.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// The path of this program is unknown.
    #[error("cannot find this program's own file: {0}")]
    Exe(std::io::Error),
    /// The program's debug information cannot be read.
    #[error("cannot read debug information from {0}: {1}")]
    Load(PathBuf, String),
}

/// Resolves addresses with the debug information of the running binary; caches the results.
pub struct Symbolizer {
    loader: addr2line::Loader,
    base: u64,
    cache: HashMap<usize, Vec<Frame>>,
}

impl Symbolizer {
    /// Loads the tables of this program.
    pub fn for_this_process() -> Result<Self, SymbolError> {
        let exe = std::env::current_exe().map_err(SymbolError::Exe)?;
        let loader =
            addr2line::Loader::new(&exe).map_err(|e| SymbolError::Load(exe.clone(), e.to_string()))?;
        Ok(Self { loader, base: load_base(), cache: HashMap::new() })
    }

    /// Returns the frames of a stack, innermost first; an address without symbols is shown as hex.
    pub fn resolve(&mut self, stack: &[usize]) -> Vec<Frame> {
        let mut out = Vec::new();
        for &address in stack {
            if !self.cache.contains_key(&address) {
                let frames = self.lookup(address);
                self.cache.insert(address, frames);
            }
            out.extend(self.cache[&address].iter().cloned());
        }
        out
    }

    /// Returns the full path of the function, ignoring inlined ones, at an address in the program's file.
    pub fn function_in_file(&self, address: u64) -> Option<String> {
        self.symbol(address)
    }

    fn symbol(&self, probe: u64) -> Option<String> {
        self.loader.find_symbol(probe).map(demangle)
    }

    fn lookup(&self, address: usize) -> Vec<Frame> {
        // A return address points after its call.
        let probe = (address as u64).wrapping_sub(1).wrapping_sub(self.base);
        let mut frames = Vec::new();
        if let Ok(mut found) = self.loader.find_frames(probe) {
            while let Ok(Some(frame)) = found.next() {
                frames.push(to_frame(&frame));
            }
        }
        // Line tables have only the last part of a function's name; the symbol has its full path.
        match (frames.split_last_mut(), self.symbol(probe)) {
            (Some((last, inlined)), symbol) => {
                inlined.iter_mut().for_each(|f| f.inlined = true);
                if let Some(function) = symbol {
                    last.function = function;
                }
            }
            (None, symbol) => {
                let function = symbol.unwrap_or_else(|| in_library(address));
                frames.push(Frame { function, ..Frame::default() });
            }
        }
        frames
    }
}

/// Returns the dynamic loader's function at an address, or at least its shared library.
fn in_library(address: usize) -> String {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: dladdr takes any address and fills in `info`.
    if unsafe { libc::dladdr(address as *const libc::c_void, &mut info) } == 0 {
        return format!("{address:#x}");
    }
    let text = |p: *const libc::c_char| {
        // SAFETY: names returned by dladdr belong to loaded objects and end with a zero.
        (!p.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(p) }.to_string_lossy().into_owned())
    };
    let file = text(info.dli_fname).unwrap_or_default();
    let library = file.rsplit('/').next().unwrap_or_default();
    match text(info.dli_sname) {
        Some(name) => format!("{} ({library})", demangle(&name)),
        None => format!("{library}+{:#x}", address.wrapping_sub(info.dli_fbase as usize)),
    }
}

fn to_frame<R: addr2line::gimli::Reader>(frame: &addr2line::Frame<'_, R>) -> Frame {
    let raw = frame.function.as_ref().and_then(|f| f.raw_name().ok());
    let (file, line) = match &frame.location {
        Some(l) => (relative(l.file.unwrap_or_default()).to_owned(), l.line.unwrap_or(0)),
        None => Default::default(),
    };
    let function = raw.map(|name| demangle(&name));
    Frame { function: function.unwrap_or_else(|| "??".into()), file, line, inlined: false }
}

/// Path of this program's workspace at build time.
const WORKSPACE: &str = env!("CARGO_MANIFEST_DIR");

/// Shortens a source path to the part below its project, equal on every machine: `engine/pd/src/x.rs` of this
/// project, `tokio-1.40.0/src/x.rs` of a crate, `library/std/src/x.rs` of Rust. Any other path is unchanged.
fn relative(path: &str) -> &str {
    let root = WORKSPACE.trim_end_matches("tracepoints/core");
    if let Some(rest) = path.strip_prefix(root) {
        return rest;
    }
    for (folder, skip) in [("/registry/src/", true), ("/git/checkouts/", false), ("/rustc/", true)] {
        if let Some((_, rest)) = path.split_once(folder) {
            // The registry's name, or the compiler's commit.
            return if skip { rest.split_once('/').map_or(rest, |(_, rest)| rest) } else { rest };
        }
    }
    path
}

/// Returns the load address of the main program: 0 unless it is position independent.
#[cfg(target_os = "linux")]
fn load_base() -> u64 {
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        out: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader passes a valid info, and `out` is the u64 below.
        unsafe { *out.cast::<u64>() = (*info).dlpi_addr };
        1
    }
    let mut base = 0u64;
    // SAFETY: the callback only writes to `base`, which outlives the call; the first object is the program.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut base).cast()) };
    base
}

/// Returns the offset by which the loader moved the main program.
#[cfg(target_vendor = "apple")]
fn load_base() -> u64 {
    unsafe extern "C" {
        // From macOS's <mach-o/dyld.h>; the crate libc has it as deprecated.
        fn _dyld_get_image_vmaddr_slide(image: u32) -> isize;
    }
    // SAFETY: the loader accepts any index of a loaded image; image 0 is the program.
    unsafe { _dyld_get_image_vmaddr_slide(0) as u64 }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn load_base() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_below_their_project() {
        for (path, short) in [
            (format!("{WORKSPACE}/src/symbolize.rs"), "tracepoints/core/src/symbolize.rs"),
            (
                "/h/.cargo/registry/src/index.crates.io-1949cf8c/tokio-1.40.0/src/a.rs".into(),
                "tokio-1.40.0/src/a.rs",
            ),
            ("/h/.cargo/git/checkouts/raft-rs-1a2b/3c4d/src/a.rs".into(), "raft-rs-1a2b/3c4d/src/a.rs"),
            ("/rustc/59807616e1fa/library/std/src/panicking.rs".into(), "library/std/src/panicking.rs"),
            ("/usr/include/c++/12/a.h".into(), "/usr/include/c++/12/a.h"),
            ("a.rs".into(), "a.rs"),
        ] {
            assert_eq!(relative(&path), short);
        }
    }

    /// Returns this function's path in its own debug information.
    #[test]
    fn frames_of_this_project_have_relative_paths() {
        let stack = crate::stack::capture();
        let frames = Symbolizer::for_this_process().unwrap().resolve(&stack);
        let ours = frames.iter().find(|f| f.function.contains("frames_of_this_project"));
        if let Some(frame) = ours {
            assert_eq!(frame.file, "tracepoints/core/src/symbolize.rs");
        }
        assert!(frames.iter().all(|f| !f.file.starts_with(WORKSPACE)), "{frames:?}");
    }

    #[test]
    fn symbols_of_both_languages_are_read() {
        for (symbol, name) in [
            ("_ZN11tracepoints5stack7capture17h0123456789abcdefE", "tracepoints::stack::capture"),
            ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
            ("_ZN7rocksdb6DBImpl11CloseHelperEv", "rocksdb::DBImpl::CloseHelper()"),
            ("__ZN7rocksdb6DBImpl11CloseHelperEv", "rocksdb::DBImpl::CloseHelper()"),
            ("__RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
            ("_ZNSsC1ERKSs@plt", "std::string::string(std::string const&)@plt"),
            ("_Z1fv", "f()"),
        ] {
            assert_eq!(super::demangle(symbol), name);
        }
    }

    #[test]
    fn names_of_other_languages_are_unchanged() {
        let c = [
            "memcpy",
            "f",
            "v",
            "z",
            "St",
            "Kc",
            "ZN1aE",
            "RNvC3foo3bar",
            "_",
            "_Z",
            "_R",
            "__Z",
            "_Zebra",
            "_Reset",
            "",
        ];
        let others = [
            "main.main",
            "Lcom/acme/Main;::run",
            "LazyCompile:~f a.js:1",
            "$s4main1fyyF",
            "_D4main1fFZv",
            "@plt",
            "größe",
        ];
        let letters = ('a'..='z').chain('A'..='Z').map(String::from);
        for name in c.into_iter().chain(others).map(str::to_owned).chain(letters) {
            assert_eq!(super::demangle(&name), name);
        }
    }

    #[test]
    fn a_name_that_would_fill_the_memory_is_unchanged() {
        // Each argument is a pair of the previous one.
        let pairs: String = (0..26)
            .map(|i| {
                format!(
                    "St4pairI{0}{0}E",
                    if i == 0 { "i".into() } else { format!("S{}_", (b'0' + (i - 1).min(9)) as char) }
                )
            })
            .collect();
        let name = format!("_Z1f{pairs}");
        assert!(super::demangle(&name).len() <= super::MAX_NAME.max(name.len()));
    }
}
