//! jemalloc, as in TiKV: for Rust and for RocksDB, with a heap profile that is always on (one sample in 512 KiB).
use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path};

use tikv_jemalloc_sys::mallctl;

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
