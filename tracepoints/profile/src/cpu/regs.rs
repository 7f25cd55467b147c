//! The registers of an interrupted thread that its stack is walked from.

/// Where the thread was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Regs {
    pub pc: usize,
    pub sp: usize,
    /// The frame pointer; anything at all in code that keeps none.
    pub fp: usize,
}

impl Regs {
    /// The first word of the stack that is copied.
    pub fn stack_from(&self) -> usize {
        self.sp & !7
    }

    /// Out of the context that the system gives to a signal handler.
    ///
    /// # Safety
    /// `context` is a handler's third argument.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub unsafe fn of(context: *const libc::c_void) -> Self {
        // SAFETY: the system passes a ucontext that is valid while the handler runs.
        let regs = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let reg = |r: libc::c_int| regs[r as usize] as usize;
        Self { pc: reg(libc::REG_RIP), sp: reg(libc::REG_RSP), fp: reg(libc::REG_RBP) }
    }

    /// As above.
    ///
    /// # Safety
    /// `context` is a handler's third argument.
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    pub unsafe fn of(context: *const libc::c_void) -> Self {
        // SAFETY: the system passes a ucontext that is valid while the handler runs.
        let regs = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        Self { pc: regs.pc as usize, sp: regs.sp as usize, fp: regs.regs[29] as usize }
    }

    /// Not known here.
    ///
    /// # Safety
    /// None needed.
    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    pub unsafe fn of(_: *const libc::c_void) -> Self {
        Self::default()
    }
}
