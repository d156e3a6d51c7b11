//! [`Body`]: bytes that are shared.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hex::{from_hex, hex};

/// Bytes that are shared, never copied: an outcome, or interim state. `Debug` shows the length.
#[derive(Default)]
pub struct Body {
    shared: Option<Arc<[u8]>>,
    start: u32,
    end: u32,
}

impl Body {
    /// A part of shared bytes.
    ///
    /// # Panics
    /// Where the range lies outside of `shared`, or `shared` is 4 GiB long or longer.
    #[must_use]
    pub fn part(shared: Arc<[u8]>, range: std::ops::Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= shared.len(),
            "the range lies outside"
        );
        assert!(
            u32::try_from(shared.len()).is_ok(),
            "a body is shorter than 4 GiB"
        );
        Self {
            shared: Some(shared),
            start: range.start as u32,
            end: range.end as u32,
        }
    }

    /// Whether it is all of what it shares.
    pub(crate) fn is_whole(&self) -> bool {
        self.shared
            .as_ref()
            .is_none_or(|shared| self.len() == shared.len())
    }
}

#[cfg(not(idemp_small))]
impl Body {
    /// Whether both are the same place in memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }
}

impl Clone for Body {
    #[cfg_attr(idemp_small, inline(never))]
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            ..*self
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.shared.as_ref().map_or(&[], |shared| {
            &shared[self.start as usize..self.end as usize]
        })
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Body {}

impl From<Arc<[u8]>> for Body {
    fn from(shared: Arc<[u8]>) -> Self {
        let all = 0..shared.len();
        Self::part(shared, all)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            Self::default()
        } else {
            Arc::<[u8]>::from(bytes).into()
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

impl Serialize for Body {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(self))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from_hex(from).map(Self::from)
    }
}

/// The parts behind each other, in one allocation.
pub(crate) fn joined(parts: &[&[u8]]) -> Arc<[u8]> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut shared: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
    if let Some(mut rest) = Arc::get_mut(&mut shared) {
        for part in parts {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
    }
    shared
}
