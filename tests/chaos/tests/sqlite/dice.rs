//! [`Dice`]: chance that can be repeated.

use idemp::{Entropy, SystemEntropy};

/// `IDEMP_CHAOS_SEED` repeats a run, as far as threads and processes let it.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let drawn = SystemEntropy.bytes();
        let drawn = u64::from_le_bytes(drawn[..8].try_into().unwrap());
        let seed = std::env::var("IDEMP_CHAOS_SEED").ok();
        let seed = seed.map_or(drawn, |seed| seed.parse().unwrap());
        println!("IDEMP_CHAOS_SEED={seed}");
        Self(seed | 1)
    }

    /// A number from 0 to below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
