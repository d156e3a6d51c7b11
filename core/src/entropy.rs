//! [`Entropy`]: where owner tokens and revisions come from.

/// A source of random bytes. Two owners that draw the same 128 bits would hold the same lease, so
/// it has to be cryptographically strong, and differ between forks of a process.
pub trait Entropy: Send + Sync {
    /// 16 random bytes.
    fn bytes(&self) -> [u8; 16];
}

/// The operating system's randomness, stretched per thread by the `rand` crate.
///
/// A process that forks without `exec` shares the state of the thread that forked: give such a
/// process an [`Entropy`] of its own.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
impl Entropy for SystemEntropy {
    fn bytes(&self) -> [u8; 16] {
        // As one number: an array would be drawn byte by byte, a word of the stream for each.
        rand::random::<u128>().to_ne_bytes()
    }
}
