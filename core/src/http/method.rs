//! Which requests the rules are for: [`Methods`] and [`KeyRequirement`].

use thiserror::Error;

use super::token::is_token;

/// The methods that are made idempotent; requests with any other pass untouched.
///
/// POST and PATCH by default. Names are compared without regard to case.
///
/// ```
/// use idemp::http::Methods;
///
/// let methods = Methods::new(["POST", "PUT"])?;
/// assert!(methods.contains("put"));
/// assert!(!methods.contains("GET"));
/// # Ok::<(), idemp::http::MethodError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methods(Vec<Box<str>>);

impl Methods {
    /// Checks the names and takes them over.
    ///
    /// # Errors
    /// [`MethodError`] where there is no name, one is not a token, or one is a method that is
    /// never made idempotent.
    pub fn new<M: AsRef<str>>(names: impl IntoIterator<Item = M>) -> Result<Self, MethodError> {
        let mut methods = Self(Vec::new());
        for name in names {
            let name = name.as_ref();
            if !is_token(name) {
                return Err(MethodError::Name);
            }
            if PASSES
                .iter()
                .any(|passes| passes.eq_ignore_ascii_case(name))
            {
                return Err(MethodError::Passes);
            }
            if !methods.contains(name) {
                methods.0.push(name.to_ascii_uppercase().into());
            }
        }
        if methods.0.is_empty() {
            return Err(MethodError::Empty);
        }
        Ok(methods)
    }

    /// Whether requests with this method are made idempotent.
    #[must_use]
    pub fn contains(&self, method: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(method))
    }

    /// The names, in upper case.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl Default for Methods {
    fn default() -> Self {
        Self(vec!["POST".into(), "PATCH".into()])
    }
}

/// What becomes of a request without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyRequirement {
    /// The handler runs, and nothing is stored.
    #[default]
    Optional,
    /// The request is refused, see [`Refusal::KeyMissing`](super::Refusal::KeyMissing).
    Required,
}

/// Why a set of methods was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MethodError {
    /// No method was given.
    #[error("no method is given")]
    Empty,
    /// A name is not a token of RFC 9110, section 5.6.2.
    #[error("a method name is not an http token")]
    Name,
    /// A safe method (RFC 9110, section 9.2.1), which has no effect to repeat, or CONNECT, whose
    /// answer is a tunnel.
    #[error("get, head, options, trace and connect always pass untouched")]
    Passes,
}

const PASSES: [&str; 5] = ["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_and_patch_are_the_default_and_others_pass() {
        let methods = Methods::default();
        for name in ["POST", "PATCH", "post", "Patch"] {
            assert!(methods.contains(name), "{name}");
        }
        for name in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "", "POSTS"] {
            assert!(!methods.contains(name), "{name}");
        }
        assert_eq!(KeyRequirement::default(), KeyRequirement::Optional);
    }

    #[test]
    fn names_are_kept_once_whatever_their_case() {
        let methods = Methods::new(["put", "PUT", "Delete"]).unwrap();
        assert_eq!(methods.iter().collect::<Vec<_>>(), ["PUT", "DELETE"]);
    }

    #[test]
    fn a_set_that_could_not_work_is_refused() {
        assert_eq!(Methods::new(Vec::<&str>::new()), Err(MethodError::Empty));
        for name in ["", "PO ST", "PÖST", "POST,PUT"] {
            assert_eq!(Methods::new([name]), Err(MethodError::Name), "{name}");
        }
        for name in ["GET", "head", "Options", "TRACE", "connect"] {
            assert_eq!(
                Methods::new(["POST", name]),
                Err(MethodError::Passes),
                "{name}"
            );
        }
    }
}
