//! The parts of a profile. Ids are indexes into the profile's tables.

/// A text; 0 is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StrId(pub(crate) u32);

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub(crate) u32);

/// A stack: its innermost frame and its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub(crate) u32);

/// A mapped program or library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub(crate) u32);

/// A set of labels; 0 is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelsId(pub(crate) u32);

impl StackId {
    /// The stack without frames.
    pub const ROOT: StackId = StackId(0);
}

macro_rules! index {
    ($($id:ty),*) => {$(
        impl $id {
            /// Index in the profile's table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}
index!(StrId, FrameId, StackId, ModuleId, LabelsId);

/// Type and unit of a value, as in pprof: `cpu` in `nanoseconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// The counted quantity.
    pub kind: StrId,
    /// Unit of the count.
    pub unit: StrId,
}

/// One frame of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Human-readable name, demangled; empty if unknown.
    pub function: StrId,
    /// The linker's name, if it differs.
    pub system_name: StrId,
    /// The source file; empty if unknown.
    pub file: StrId,
    /// 0 if unknown.
    pub line: u32,
    /// 0 if unknown.
    pub column: u32,
    /// The program or library with the address.
    pub module: Option<ModuleId>,
    /// Address in the process; 0 if unknown.
    pub address: u64,
    /// Whether it was inlined into its caller, which has the same address.
    pub inlined: bool,
}

/// A mapped program or shared library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Module {
    /// Path of the file.
    pub path: StrId,
    /// In hex; empty if unknown.
    pub build_id: StrId,
    /// First address in the process.
    pub start: u64,
    /// End address in the process, exclusive.
    pub end: u64,
    /// Offset of the mapping in the file.
    pub offset: u64,
}

impl Module {
    /// Converts an address of the process to an offset in the file.
    pub fn file_offset(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start).wrapping_add(self.offset)
    }
}
