//! Names of secrets.

use bh_domain::refusal::{Code, Refusal};

/// The longest name.
const NAME_BYTES_MAX: usize = 128;

/// The name of a secret: `[a-z0-9][a-z0-9._/-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName(String);

impl SecretName {
    /// Reads a name.
    ///
    /// # Errors
    /// `invalid_request`, saying what a name looks like.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if is_name(text, b"._/-", NAME_BYTES_MAX) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!(
            "The secret's name must have 1 to {NAME_BYTES_MAX} lower-case letters, digits, `.`, `_`, `-` and `/`, and \
             begin with a letter or digit"
        );
        Err(Refusal::new(Code::InvalidRequest, message).with("field", "name"))
    }

    pub(super) fn of(known: String) -> Self {
        Self(known)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is made of lower-case letters, digits and, behind the first character, some others.
pub(super) fn is_name(text: &str, others: &[u8], bytes_max: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= bytes_max
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|byte| plain(byte) || others.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_and_lower_case() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for good in ["a", "0", "oauth/github", "db.password_2-x", &longest] {
            assert_eq!(SecretName::parse(good).unwrap().as_str(), good);
        }
        let longer = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "A", "/a", ".a", "a b", "ä", "a\u{1f}b", &longer] {
            assert_eq!(SecretName::parse(bad).unwrap_err().code, Code::InvalidRequest, "{bad}");
        }
    }
}
