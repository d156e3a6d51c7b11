//! [`Draws`]: what is drawn at random, so that it can be drawn again.

use idemp::{Entropy, SystemEntropy};

/// Whether there is time for more rounds.
pub(crate) fn nightly() -> bool {
    std::env::var("IDEMP_NIGHTLY").is_ok_and(|set| set == "1")
}

/// Numbers that follow from a seed: SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) const SEED: &str = "IDEMP_CONFORMANCE_SEED";

    /// The seed that is asked for, or a new one.
    pub(crate) fn seed() -> u64 {
        let asked_for = std::env::var(Self::SEED).ok();
        asked_for
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| {
                let bytes = SystemEntropy.bytes();
                u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            })
    }

    pub(crate) fn from(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}
