//! jemalloc, as in TiKV: for Rust and for RocksDB, with a heap profile that is always on (one sample in 512 KiB).
use std::{
    ffi::{CStr, CString, c_char, c_void},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use tikv_jemalloc_sys::{mallctl, malloc_stats_print};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc reads this text before `main` starts, and the environment's `MALLOC_CONF` after it.
// SAFETY: jemalloc looks for a pointer to a text that ends with a zero under this name, and only reads it.
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &[u8; 45] = b"prof:true,prof_active:true,lg_prof_sample:19\0";

/// Writes the live allocations to a file, as `heap_v2`.
pub fn dump(path: &Path) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut pointer = name.as_ptr();
    // SAFETY: the name and the path end with a zero; jemalloc reads one pointer, and the path during the call.
    let failed = unsafe {
        mallctl(
            c"prof.dump".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut pointer).cast(),
            size_of_val(&pointer),
        )
    };
    match failed {
        0 => Ok(()),
        n => Err(format!("jemalloc: {}", std::io::Error::from_raw_os_error(n))),
    }
}

/// Returns jemalloc's statistics. TiKV adds the bytes of each thread.
pub fn stats() -> String {
    let mut text: Vec<u8> = Vec::with_capacity(64 << 10);
    // SAFETY: jemalloc calls `append` during this call only, with the pointer to `text`.
    unsafe { malloc_stats_print(Some(append), (&raw mut text).cast(), std::ptr::null()) };
    format!("Memory stats summary: {}\n", String::from_utf8_lossy(&text))
}

/// Appends a part of the statistics to the vector that `text` points to.
unsafe extern "C" fn append(text: *mut c_void, part: *const c_char) {
    // SAFETY: `stats` passes a pointer to its vector, which it does not use during the call. The part ends with a zero.
    let (text, part) = unsafe { (&mut *text.cast::<Vec<u8>>(), CStr::from_ptr(part)) };
    text.extend_from_slice(part.to_bytes());
}
