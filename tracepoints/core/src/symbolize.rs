//! Turns return addresses of this process into functions, files and lines, inlined frames included.
use std::{collections::HashMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// One frame as a person reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub function: String,
    pub file: String,
    pub line: u32,
    /// Compiled into the frame below it.
    pub inlined: bool,
}

/// A linker's name as a person reads it, of Rust or C++; any other as it is.
pub fn demangle(symbol: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(symbol) {
        return format!("{rust:#}");
    }
    addr2line::demangle_auto(symbol.into(), None).into_owned()
}

/// Below this function there is only what starts a thread: the standard library hides it from its backtraces, too.
pub const THREAD_START: &str = "__rust_begin_short_backtrace";

#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    #[error("cannot find this program's own file: {0}")]
    Exe(std::io::Error),
    #[error("cannot read debug information from {0}: {1}")]
    Load(PathBuf, String),
}

/// Resolves addresses with the debug information of the running binary; remembers what it resolved.
pub struct Symbolizer {
    loader: addr2line::Loader,
    base: u64,
    cache: HashMap<usize, Vec<Frame>>,
}

impl Symbolizer {
    pub fn for_this_process() -> Result<Self, SymbolError> {
        let exe = std::env::current_exe().map_err(SymbolError::Exe)?;
        let loader =
            addr2line::Loader::new(&exe).map_err(|e| SymbolError::Load(exe.clone(), e.to_string()))?;
        Ok(Self { loader, base: load_base(), cache: HashMap::new() })
    }

    /// Frames of a stack, innermost first; an address without symbols is shown as hex.
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

    /// The whole path of the function, inlined ones aside, at an address as it is in the program's file.
    pub fn function_in_file(&self, address: u64) -> Option<String> {
        self.symbol(address)
    }

    fn symbol(&self, probe: u64) -> Option<String> {
        self.loader.find_symbol(probe).map(demangle)
    }

    fn lookup(&self, address: usize) -> Vec<Frame> {
        // A return address points behind its call.
        let probe = (address as u64).wrapping_sub(1).wrapping_sub(self.base);
        let mut frames = Vec::new();
        if let Ok(mut found) = self.loader.find_frames(probe) {
            while let Ok(Some(frame)) = found.next() {
                frames.push(to_frame(&frame));
            }
        }
        // Line tables know a function's last name only; the symbol has its whole path.
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

/// The function, or at least the shared library, that the dynamic loader knows at an address.
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
    // SAFETY: names that dladdr gives belong to loaded objects and end with a zero.
    let text = |p: *const libc::c_char| {
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
        Some(l) => (l.file.unwrap_or_default().to_owned(), l.line.unwrap_or(0)),
        None => Default::default(),
    };
    let function = raw.map(|name| demangle(&name));
    Frame { function: function.unwrap_or_else(|| "??".into()), file, line, inlined: false }
}

/// Where the main program was loaded: 0 unless it is position independent.
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

#[cfg(not(target_os = "linux"))]
fn load_base() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    #[test]
    fn symbols_of_both_languages_are_read() {
        for (symbol, name) in [
            ("_ZN11tracepoints5stack7capture17h0123456789abcdefE", "tracepoints::stack::capture"),
            ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
            ("_ZN7rocksdb6DBImpl11CloseHelperEv", "rocksdb::DBImpl::CloseHelper()"),
            ("memcpy", "memcpy"),
        ] {
            assert_eq!(super::demangle(symbol), name);
        }
    }
}
