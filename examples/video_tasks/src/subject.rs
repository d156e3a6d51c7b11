//! [`Subject`]: what a request for an analysis is about, which is its key.

use idemp::{Fingerprint, Key, KeyError, Scope};

/// A natural key: two requests with the same one are about the same thing.
#[derive(Debug, Clone)]
pub struct Subject {
    pub(crate) scope: Scope,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
}

impl Subject {
    /// The tenant's videos are its own: it stands in the scope. A file name may be long or odd,
    /// so the key is always its digest; were some taken as they are, a file named like another's
    /// digest would share its key.
    ///
    /// # Errors
    /// [`KeyError`] where the tenant cannot stand in a scope.
    pub fn new(tenant: &str, filename: &str) -> Result<Self, KeyError> {
        Ok(Self {
            scope: Scope::new([tenant, "track"])?,
            key: Key::digest([tenant, filename])?,
            fingerprint: Fingerprint::of_value(&[tenant, filename])
                .expect("two texts are always json"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_and_file_name_do_not_run_together() {
        let keys = [("ab", "c"), ("a", "bc")].map(|(tenant, file)| {
            let subject = Subject::new(tenant, file).unwrap();
            idemp::SlotKey::new(&subject.scope, &subject.key)
        });
        assert_ne!(keys[0], keys[1]);
        let long = Subject::new("a", &"ü / \u{202e}".repeat(300));
        assert!(long.is_ok());
    }
}
