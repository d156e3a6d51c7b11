//! [`Fingerprint`]: what a request is, in 33 bytes.

/// A versioned SHA-256 over the canonical request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    version: u8,
    digest: [u8; 32],
}

impl Fingerprint {
    /// The version that this build writes.
    pub const VERSION: u8 = 1;

    /// Puts a stored fingerprint together again. A version that this build does not know is kept
    /// as it is: such a fingerprint equals no fresh one, so its record blocks.
    #[must_use]
    pub const fn from_parts(version: u8, digest: [u8; 32]) -> Self {
        Self { version, digest }
    }

    /// Of a value, as JSON.
    ///
    /// # Errors
    /// Where it cannot be serialised.
    pub fn of_value(value: &(impl serde::Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        use sha2::Digest as _;
        let bytes = serde_json::to_vec(value)?;
        Ok(Self::from_parts(1, sha2::Sha256::digest(bytes).into()))
    }

    /// The version of the rules that made it.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The SHA-256.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}
