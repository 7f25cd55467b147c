//! The loaded code: its addresses and its unwind tables, copied so that an unload does no harm.
use std::ops::Range;

use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindContext, UnwindSection, UnwindTableRow};

use super::memory;

/// The program, a shared library, or the kernel's vdso.
pub struct Module {
    /// Name of the file.
    pub name: String,
    /// Address ranges of its executable segments in the process.
    code: Vec<Range<usize>>,
    tables: Option<Tables>,
}

/// `.eh_frame_hdr` and `.eh_frame`, with their addresses in the process.
struct Tables {
    header: Vec<u8>,
    header_at: usize,
    frames: Vec<u8>,
    frames_at: usize,
}

impl Module {
    pub fn holds(&self, pc: usize) -> bool {
        self.code.iter().any(|range| range.contains(&pc))
    }

    /// Finds the row of the unwind table for `pc`; `None` if there is none.
    pub fn row<T>(
        &self,
        pc: usize,
        ctx: &mut UnwindContext<usize>,
        see: impl FnOnce(&UnwindTableRow<usize>) -> T,
    ) -> Option<T> {
        let tables = self.tables.as_ref()?;
        let bases = tables.bases();
        let header = EhFrameHdr::new(&tables.header, LittleEndian).parse(&bases, 8).ok()?;
        let frames = EhFrame::new(&tables.frames, LittleEndian);
        let row = header.table()?.unwind_info_for_address(
            &frames,
            &bases,
            ctx,
            pc as u64,
            EhFrame::cie_from_offset,
        );
        row.ok().map(see)
    }
}

impl Tables {
    fn read(header: Range<usize>, segments: &[Range<usize>]) -> Option<Self> {
        let header_at = header.start;
        let header = memory::read(header_at, header.len())?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(header_at as u64);
        let parsed = EhFrameHdr::new(&header, LittleEndian).parse(&bases, 8).ok()?;
        let gimli::Pointer::Direct(frames_at) = parsed.eh_frame_ptr() else { return None };
        let frames_at = frames_at as usize;
        // The length of `.eh_frame` is recorded nowhere; it ends within its segment.
        let segment = segments.iter().find(|s| s.contains(&frames_at))?;
        let frames = memory::read(frames_at, segment.end - frames_at)?;
        Some(Self { header, header_at, frames, frames_at })
    }

    fn bases(&self) -> BaseAddresses {
        BaseAddresses::default().set_eh_frame_hdr(self.header_at as u64).set_eh_frame(self.frames_at as u64)
    }
}

/// Returns all modules loaded now.
#[cfg(target_os = "linux")]
pub fn loaded() -> Vec<Module> {
    unsafe extern "C" fn next(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        out: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader passes a valid info whose headers live during the call; `out` is the vector
        // below.
        let (base, name, headers, out) = unsafe {
            let info = &*info;
            let name = match info.dlpi_name.is_null() {
                true => Default::default(),
                false => std::ffi::CStr::from_ptr(info.dlpi_name).to_string_lossy(),
            };
            let headers = match info.dlpi_phdr.is_null() {
                true => &[],
                false => std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)),
            };
            (info.dlpi_addr as usize, name, headers, &mut *out.cast::<Vec<Module>>())
        };
        let name = match name.rsplit('/').next().unwrap_or_default() {
            "" => "the program".to_owned(),
            file => file.to_owned(),
        };
        out.push(module(name, base, headers));
        0
    }
    let mut modules: Vec<Module> = Vec::new();
    // SAFETY: the callback only pushes to the vector, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(next), (&raw mut modules).cast()) };
    modules
}

#[cfg(target_os = "linux")]
fn module(name: String, base: usize, headers: &[libc::Elf64_Phdr]) -> Module {
    let range = |h: &libc::Elf64_Phdr| {
        let from = base.wrapping_add(h.p_vaddr as usize);
        from..from.saturating_add(h.p_memsz as usize)
    };
    let loads = || headers.iter().filter(|h| h.p_type == libc::PT_LOAD);
    let code = loads().filter(|h| h.p_flags & libc::PF_X != 0).map(range).collect();
    let segments: Vec<_> = loads().map(range).collect();
    let header = headers.iter().find(|h| h.p_type == libc::PT_GNU_EH_FRAME).map(range);
    let tables = header.and_then(|header| Tables::read(header, &segments));
    Module { name, code, tables }
}

#[cfg(not(target_os = "linux"))]
pub fn loaded() -> Vec<Module> {
    Vec::new()
}
