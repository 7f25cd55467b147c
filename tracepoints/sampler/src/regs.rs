//! The registers of an interrupted thread from which its stack is walked.

/// Registers of the interrupted thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Regs {
    pub pc: usize,
    pub sp: usize,
    /// The frame pointer; any value in code without frame pointers.
    pub fp: usize,
}

impl Regs {
    /// Returns the address of the first copied stack word.
    pub fn stack_from(&self) -> usize {
        self.sp & !7
    }

    /// Reads the context that the system passes to a signal handler.
    ///
    /// # Safety
    /// `context` is a handler's third argument.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub unsafe fn from_context(context: *const libc::c_void) -> Self {
        // SAFETY: the system passes a ucontext that is valid while the handler runs.
        let regs = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let reg = |r: libc::c_int| regs[r as usize] as usize;
        Self { pc: reg(libc::REG_RIP), sp: reg(libc::REG_RSP), fp: reg(libc::REG_RBP) }
    }

    /// Reads the context that the system passes to a signal handler.
    ///
    /// # Safety
    /// `context` is a handler's third argument.
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    pub unsafe fn from_context(context: *const libc::c_void) -> Self {
        // SAFETY: the system passes a ucontext that is valid while the handler runs.
        let regs = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        Self { pc: regs.pc as usize, sp: regs.sp as usize, fp: regs.regs[29] as usize }
    }

    /// Returns empty registers on unsupported processors.
    ///
    /// # Safety
    /// None needed.
    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    pub unsafe fn from_context(_: *const libc::c_void) -> Self {
        Self::default()
    }
}
