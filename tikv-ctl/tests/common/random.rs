//! Pseudorandom numbers that are the same in every run.

/// Xorshift (Marsaglia, 2003); the seed must not be 0.
pub struct Random(pub u64);

impl Random {
    /// Returns a number below `most`, or 0 if `most` is 0.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}
