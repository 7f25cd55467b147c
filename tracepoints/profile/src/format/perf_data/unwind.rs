//! Walks copies of stacks by the programs' unwind tables (`perf record --call-graph dwarf`). As in samply,
//! the crate framehop unwinds offline, for x86-64 and aarch64, from `.eh_frame` and `.debug_frame`.
use std::{
    collections::{BTreeMap, HashMap},
    ops::{Deref, Range},
    sync::Arc,
};

use framehop::{
    ExplicitModuleSectionInfo, Unwinder as _,
    aarch64::{CacheAarch64, UnwindRegsAarch64, UnwinderAarch64},
    x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64},
};
use object::{Object as _, ObjectSection as _, ObjectSegment as _};
use tracepoints_input::Mmap;

use super::{bytes::Bytes, record::UserStack};
use crate::{
    format::options::ReadOptions,
    model::{ModuleId, Profile},
    symbols::{self, SymbolOptions},
};

/// Maximum number of frames; further callers are left out.
const MAX_FRAMES: usize = 512;
/// Mappings of a process: end and module, by the first address.
type Maps = BTreeMap<u64, (u64, ModuleId)>;
type Module = framehop::Module<Section>;

/// A part of a mapped file.
#[derive(Clone, Default)]
struct Section {
    map: Option<Arc<Mmap>>,
    range: Range<usize>,
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_ref().and_then(|map| map.get(self.range.clone())).unwrap_or_default()
    }
}

enum Engine {
    X86(UnwinderX86_64<Section>, Box<CacheX86_64>),
    Arm(UnwinderAarch64<Section>, Box<CacheAarch64>),
}

pub struct Unwinder {
    supported: bool,
    options: SymbolOptions,
    /// Unwinders with their mappings, by process.
    engines: HashMap<u32, (Maps, Engine)>,
    /// Mapped programs; `None` if there is no readable file.
    files: HashMap<ModuleId, Option<Arc<Mmap>>>,
}

impl Unwinder {
    /// Creates an unwinder; `arch` is in the form of `uname -m`, empty if unknown.
    pub fn new(arch: &str, options: &ReadOptions) -> Self {
        let supported = matches!(arch, "" | "x86_64" | "aarch64");
        let (engines, files) = Default::default();
        Self { supported, options: options.symbols.clone(), engines, files }
    }

    /// Returns the addresses of the program's functions, innermost first, callers at their calls; `None` if
    /// the walk does not reach the first caller.
    pub fn walk(
        &mut self,
        pid: u32,
        mask: u64,
        user: &UserStack<'_>,
        maps: Option<&Maps>,
        profile: &Profile,
    ) -> Option<Vec<u64>> {
        let regs = Regs::from_sample(mask, user.regs).filter(|_| self.supported)?;
        let maps = maps?;
        if self.engines.get(&pid).is_none_or(|(known, _)| known != maps) {
            let engine = self.engine(&regs, maps, profile);
            self.engines.insert(pid, (maps.clone(), engine));
        }
        let (_, engine) = self.engines.get_mut(&pid)?;
        let mut read = |address: u64| {
            let at = usize::try_from(address.wrapping_sub(regs.sp)).map_err(drop)?;
            let word = user.stack.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(())?;
            Ok(u64::from_le_bytes(*word))
        };
        let mut out = Vec::new();
        // The walk ends at the last caller, or at the end of the copy.
        match engine {
            Engine::X86(unwinder, cache) => {
                let first = UnwindRegsX86_64::new(regs.pc, regs.sp, regs.fp);
                let mut frames = unwinder.iter_frames(regs.pc, first, cache, &mut read);
                while let Ok(Some(frame)) = frames.next() {
                    out.push(frame.address_for_lookup());
                    if out.len() == MAX_FRAMES {
                        break;
                    }
                }
            }
            Engine::Arm(unwinder, cache) => {
                let first = UnwindRegsAarch64::new(regs.lr, regs.sp, regs.fp);
                let mut frames = unwinder.iter_frames(regs.pc, first, cache, &mut read);
                while let Ok(Some(frame)) = frames.next() {
                    out.push(frame.address_for_lookup());
                    if out.len() == MAX_FRAMES {
                        break;
                    }
                }
            }
        }
        (out.len() > 1).then_some(out)
    }

    fn engine(&mut self, regs: &Regs, maps: &Maps, profile: &Profile) -> Engine {
        let modules: Vec<Module> =
            maps.iter().filter_map(|(start, (end, id))| self.module(*start..*end, *id, profile)).collect();
        if regs.arm {
            let mut unwinder = UnwinderAarch64::new();
            modules.into_iter().for_each(|module| unwinder.add_module(module));
            Engine::Arm(unwinder, Box::new(CacheAarch64::new()))
        } else {
            let mut unwinder = UnwinderX86_64::new();
            modules.into_iter().for_each(|module| unwinder.add_module(module));
            Engine::X86(unwinder, Box::new(CacheX86_64::new()))
        }
    }

    fn module(&mut self, range: Range<u64>, id: ModuleId, profile: &Profile) -> Option<Module> {
        let module = profile.module_of(id)?;
        let path = profile.text(module.path);
        let map = self.files.entry(id).or_insert_with(|| {
            let program = symbols::program(path, profile.text(module.build_id), &self.options)?;
            tracepoints_input::map_file(&program).ok().map(Arc::new)
        });
        let map = map.clone()?;
        let object = object::File::parse(&**map).ok()?;
        let of_start = object.segments().find_map(|segment| {
            let (offset, size) = segment.file_range();
            let within = module.offset.checked_sub(offset).filter(|within| *within < size)?;
            segment.address().checked_add(within)
        })?;
        let section = |name: &str| {
            let section = object.section_by_name(name)?;
            let (offset, size) = section.file_range()?;
            let (from, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
            let bytes = Section { map: Some(map.clone()), range: from..from.checked_add(size)? };
            Some((section.address()..section.address().checked_add(section.size())?, bytes))
        };
        let (eh_frame_svma, eh_frame) = section(".eh_frame").unzip();
        let (eh_frame_hdr_svma, eh_frame_hdr) = section(".eh_frame_hdr").unzip();
        let (text_svma, text) = section(".text").unzip();
        let (got_svma, _) = section(".got").unzip();
        let (_, debug_frame) = section(".debug_frame").unzip();
        let info = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma,
            text,
            got_svma,
            eh_frame_svma,
            eh_frame,
            eh_frame_hdr_svma,
            eh_frame_hdr,
            debug_frame,
            ..Default::default()
        };
        // The range may be a part of the mapping.
        let base = module.start.wrapping_sub(of_start);
        Some(Module::new(path.to_owned(), range, base, info))
    }
}

/// The initial registers of a walk.
struct Regs {
    arm: bool,
    pc: u64,
    sp: u64,
    fp: u64,
    lr: u64,
}

impl Regs {
    /// Reads the registers of `mask` from a sample, in order (arch/*/include/uapi/asm/perf_regs.h).
    fn from_sample(mask: u64, regs: Bytes<'_>) -> Option<Self> {
        if regs.big {
            return None;
        }
        // x86-64 has no register 32.
        let arm = mask & (1 << 32) != 0;
        let reg = |n: u32| {
            let before = (mask & ((1 << n) - 1)).count_ones();
            let mut regs = Bytes { ..regs };
            regs.skip_words(before.into()).filter(|()| mask & (1 << n) != 0)?;
            regs.u64()
        };
        let (fp, sp, pc) = if arm { (29, 31, 32) } else { (6, 7, 8) };
        let lr = if arm { reg(30)? } else { 0 };
        Some(Self { arm, pc: reg(pc)?, sp: reg(sp)?, fp: reg(fp)?, lr })
    }
}
