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

/// Puts up to four values into a stamp's fields; more do not compile.
#[inline(always)]
pub fn pack<const N: usize>(values: [u64; N]) -> [u64; 4] {
    const { assert!(N <= 4, "a stamp has four fields") };
    let mut fields = [0; 4];
    fields[..N].copy_from_slice(&values);
    fields
}
