//! What a stamp's four fields may hold: anything that has a natural form as a `u64`.

/// A value a stamp can carry.
pub trait Field {
    fn to_u64(self) -> u64;
}

macro_rules! field {
    ($($t:ty),*) => { $(impl Field for $t {
        #[inline(always)]
        fn to_u64(self) -> u64 { self as u64 }
    })* };
}
field!(u64, u32, u16, u8, usize, i64, i32, bool);

impl<T: Field> Field for Option<T> {
    #[inline(always)]
    fn to_u64(self) -> u64 {
        self.map_or(0, Field::to_u64)
    }
}

const LEARNER: u64 = 1 << 32;

/// The store an acknowledgement came from, whether it is a learner's, and the number of entries it is about, in one field,
/// as a stamp has four.
pub const fn from_count(from: u64, learner: bool, count: u64) -> u64 {
    let low = u32::MAX as u64;
    from << 33 | if learner { LEARNER } else { 0 } | if count < low { count } else { low }
}

/// Takes [`from_count`] apart again.
pub(crate) const fn split_from_count(packed: u64) -> (u64, bool, u64) {
    (packed >> 33, packed & LEARNER != 0, packed & u32::MAX as u64)
}

/// Puts up to four values into a stamp's fields; more do not compile.
#[inline(always)]
pub fn pack<const N: usize>(values: [u64; N]) -> [u64; 4] {
    const { assert!(N <= 4, "a stamp has four fields") };
    let mut fields = [0; 4];
    fields[..N].copy_from_slice(&values);
    fields
}
