//! The words of the key API: why a credential is not valid, and a key's status, visibility and reason of revocation
//! (Talos dossier §2.3, §4.2). Texts and numbers are contract: clients fail on a text they do not know.

/// A text that is no value of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a value; expected one of {expected}")]
pub struct UnknownValue {
    text: String,
    expected: String,
}

/// Why a credential is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerificationError {
    /// No credential, or not one that can be verified here.
    InvalidFormat,
    /// A stored key past its end.
    Expired,
    /// A stored key that was revoked; beats [`VerificationError::Expired`].
    Revoked,
    /// Nothing here knows it: checksum, age, prefix, row or tenant. Deliberately one answer.
    NotFound,
    /// A token whose signature, issuer or times are wrong.
    SignatureInvalid,
    /// Something broke; the log says what.
    Internal,
    /// The address is outside the key's ranges, or unknown.
    IpNotAllowed,
    /// The key's quota is used up.
    RateLimited,
    /// The audiences asked for and those named do not meet.
    AudienceMismatch,
    /// The permissions that were asked for are not granted: an addition to Talos, told only to those who ask for some.
    InsufficientPermissions,
}

impl VerificationError {
    /// Every value, in the order of the dossier.
    pub const ALL: [Self; 10] = [
        Self::InvalidFormat,
        Self::Expired,
        Self::Revoked,
        Self::NotFound,
        Self::SignatureInvalid,
        Self::Internal,
        Self::IpNotAllowed,
        Self::RateLimited,
        Self::AudienceMismatch,
        Self::InsufficientPermissions,
    ];

    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFormat => "VERIFICATION_ERROR_INVALID_FORMAT",
            Self::Expired => "VERIFICATION_ERROR_EXPIRED",
            Self::Revoked => "VERIFICATION_ERROR_REVOKED",
            Self::NotFound => "VERIFICATION_ERROR_NOT_FOUND",
            Self::SignatureInvalid => "VERIFICATION_ERROR_SIGNATURE_INVALID",
            Self::Internal => "VERIFICATION_ERROR_INTERNAL",
            Self::IpNotAllowed => "VERIFICATION_ERROR_IP_NOT_ALLOWED",
            Self::RateLimited => "VERIFICATION_ERROR_RATE_LIMITED",
            Self::AudienceMismatch => "VERIFICATION_ERROR_AUDIENCE_MISMATCH",
            Self::InsufficientPermissions => "VERIFICATION_ERROR_INSUFFICIENT_PERMISSIONS",
        }
    }

    /// What to say when nothing more precise may be said.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::InvalidFormat => "the credential has no form that is known here",
            Self::Expired => "the API key has expired",
            Self::Revoked => "the API key was revoked",
            Self::NotFound => "API key not found",
            Self::SignatureInvalid => "the token's signature, issuer or times are not valid",
            Self::Internal => "the credential could not be verified; the log has the cause",
            Self::IpNotAllowed => "the client's address is not among those the key allows",
            Self::RateLimited => "the API key's rate limit is used up",
            Self::AudienceMismatch => "the credential's audiences are not those expected",
            Self::InsufficientPermissions => "the API key does not have the permissions asked for",
        }
    }
}

/// Where a key is in its life. Only the first two are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// It works.
    Active,
    /// It was revoked and never works again.
    Revoked,
    /// Its time is over: computed when read.
    Expired,
}

impl KeyStatus {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Active, Self::Revoked, Self::Expired];

    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "KEY_STATUS_ACTIVE",
            Self::Revoked => "KEY_STATUS_REVOKED",
            Self::Expired => "KEY_STATUS_EXPIRED",
        }
    }

    /// The number in a row; 0 stands for "unspecified" and is never stored.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Active => 1,
            Self::Revoked => 2,
            Self::Expired => 3,
        }
    }

    /// The value of this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.number() == number)
    }

    /// Reads the text on the wire; `KEY_STATUS_UNSPECIFIED` is as good as absent.
    ///
    /// # Errors
    /// [`UnknownValue`] for any other text.
    pub fn parse(text: &str) -> Result<Option<Self>, UnknownValue> {
        parse(text, "KEY_STATUS_UNSPECIFIED", &Self::ALL, Self::as_str)
    }
}

/// Who may see a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// It is kept secret.
    #[default]
    Secret,
    /// It stands in browsers and apps: it has its own prefix and cannot revoke itself.
    Public,
}

impl Visibility {
    /// Every value.
    pub const ALL: [Self; 2] = [Self::Secret, Self::Public];

    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "KEY_VISIBILITY_SECRET",
            Self::Public => "KEY_VISIBILITY_PUBLIC",
        }
    }

    /// The number in a row; 0 stands for "unspecified" and is never stored.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Secret => 1,
            Self::Public => 2,
        }
    }

    /// The value of this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.number() == number)
    }

    /// Reads the text on the wire; `KEY_VISIBILITY_UNSPECIFIED` is as good as absent.
    ///
    /// # Errors
    /// [`UnknownValue`] for any other text.
    pub fn parse(text: &str) -> Result<Option<Self>, UnknownValue> {
        parse(text, "KEY_VISIBILITY_UNSPECIFIED", &Self::ALL, Self::as_str)
    }
}

/// Why a key was revoked, numbered as in dossier §2.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// None was given.
    #[default]
    Unspecified,
    /// Somebody else has it.
    KeyCompromise,
    /// Its owner has left.
    AffiliationChanged,
    /// Another took its place.
    Superseded,
    /// Its owner may no longer have it; the one reason that takes a description.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every value.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::PrivilegeWithdrawn,
    ];

    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "REVOCATION_REASON_UNSPECIFIED",
            Self::KeyCompromise => "REVOCATION_REASON_KEY_COMPROMISE",
            Self::AffiliationChanged => "REVOCATION_REASON_AFFILIATION_CHANGED",
            Self::Superseded => "REVOCATION_REASON_SUPERSEDED",
            Self::PrivilegeWithdrawn => "REVOCATION_REASON_PRIVILEGE_WITHDRAWN",
        }
    }

    /// The number in a row.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::AffiliationChanged => 2,
            Self::Superseded => 3,
            Self::PrivilegeWithdrawn => 4,
        }
    }

    /// The value of this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.number() == number)
    }

    /// Reads the text on the wire; `REVOCATION_REASON_UNSPECIFIED` is as good as absent.
    ///
    /// # Errors
    /// [`UnknownValue`] for any other text.
    pub fn parse(text: &str) -> Result<Option<Self>, UnknownValue> {
        parse(text, Self::Unspecified.as_str(), &Self::ALL[1..], Self::as_str)
    }
}

fn parse<T: Copy>(
    text: &str,
    unspecified: &str,
    values: &[T],
    as_str: fn(T) -> &'static str,
) -> Result<Option<T>, UnknownValue> {
    if text == unspecified {
        return Ok(None);
    }
    let found = values.iter().copied().find(|value| as_str(*value) == text);
    found.map(Some).ok_or_else(|| UnknownValue {
        text: text.chars().take(VALUE_CHARS_SHOWN).collect(),
        expected: values.iter().map(|value| as_str(*value)).collect::<Vec<_>>().join(", "),
    })
}

/// How much of an unknown text is repeated.
const VALUE_CHARS_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_and_unspecified_is_absent() {
        for status in KeyStatus::ALL {
            assert_eq!(KeyStatus::parse(status.as_str()), Ok(Some(status)));
            assert_eq!(KeyStatus::from_number(status.number()), Some(status));
        }
        for visibility in Visibility::ALL {
            assert_eq!(Visibility::parse(visibility.as_str()), Ok(Some(visibility)));
            assert_eq!(Visibility::from_number(visibility.number()), Some(visibility));
        }
        for reason in RevocationReason::ALL {
            let given = (reason != RevocationReason::Unspecified).then_some(reason);
            assert_eq!(RevocationReason::parse(reason.as_str()), Ok(given));
            assert_eq!(RevocationReason::from_number(reason.number()), Some(reason));
        }
        assert_eq!(KeyStatus::parse("KEY_STATUS_UNSPECIFIED"), Ok(None));
        assert_eq!(Visibility::parse("KEY_VISIBILITY_UNSPECIFIED"), Ok(None));
        assert_eq!(KeyStatus::from_number(0), None);
        assert_eq!(Visibility::from_number(3), None);
        assert_eq!(RevocationReason::from_number(5), None);
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_known_ones() {
        let refused = Visibility::parse("PUBLIC").unwrap_err().to_string();
        let expected = "KEY_VISIBILITY_SECRET, KEY_VISIBILITY_PUBLIC";
        assert_eq!(refused, format!("`PUBLIC` is not a value; expected one of {expected}"));
        assert!(KeyStatus::parse(&"x".repeat(10_000)).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn errors_say_what_they_are_on_the_wire() {
        let words =
            VerificationError::ALL.map(|error| error.as_str().strip_prefix("VERIFICATION_ERROR_").unwrap());
        let expected = [
            "INVALID_FORMAT",
            "EXPIRED",
            "REVOKED",
            "NOT_FOUND",
            "SIGNATURE_INVALID",
            "INTERNAL",
            "IP_NOT_ALLOWED",
            "RATE_LIMITED",
            "AUDIENCE_MISMATCH",
            "INSUFFICIENT_PERMISSIONS",
        ];
        assert_eq!(words, expected);
        assert!(VerificationError::ALL.iter().all(|error| !error.message().is_empty()));
    }
}
