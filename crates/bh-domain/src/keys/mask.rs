//! Update masks (Talos dossier §2.5): which members of a key an update may touch, as `update_mask=name,scopes`.

/// The longest mask, in bytes.
pub const MASK_BYTES_MAX: usize = 1_024;

/// A member of a key that can be updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaskPath {
    /// `name`
    Name,
    /// `scopes`
    Scopes,
    /// `metadata`
    Metadata,
    /// `rate_limit_policy`
    RateLimitPolicy,
    /// `ip_restriction`
    IpRestriction,
    /// `policy_overrides`
    PolicyOverrides,
    /// `permissions`
    Permissions,
    /// `rate_limits`
    RateLimits,
}

impl MaskPath {
    /// Every path.
    pub const ALL: [Self; 8] = [
        Self::Name,
        Self::Scopes,
        Self::Metadata,
        Self::RateLimitPolicy,
        Self::IpRestriction,
        Self::PolicyOverrides,
        Self::Permissions,
        Self::RateLimits,
    ];

    /// The path as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Scopes => "scopes",
            Self::Metadata => "metadata",
            Self::RateLimitPolicy => "rate_limit_policy",
            Self::IpRestriction => "ip_restriction",
            Self::PolicyOverrides => "policy_overrides",
            Self::Permissions => "permissions",
            Self::RateLimits => "rate_limits",
        }
    }

    /// The path as JSON writers of proto messages spell it.
    fn camel_case(self) -> &'static str {
        match self {
            Self::Name | Self::Scopes | Self::Metadata | Self::Permissions => self.as_str(),
            Self::RateLimitPolicy => "rateLimitPolicy",
            Self::IpRestriction => "ipRestriction",
            Self::PolicyOverrides => "policyOverrides",
            Self::RateLimits => "rateLimits",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.as_str() == text || path.camel_case() == text)
    }
}

/// The members an update touches: each takes the body's value, or is cleared when the body has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateMask {
    /// One flag for each path, in the order of [`MaskPath::ALL`].
    named: [bool; MaskPath::ALL.len()],
}

/// Why a mask is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A path that does not exist, or that no update may touch.
    #[error("update_mask: `{path}` (path {position}) cannot be updated; the paths are {}", paths())]
    Unknown {
        /// What was asked for, shortened.
        path: String,
        /// Which of the comma-separated paths, from 1.
        position: usize,
    },
    /// `*`.
    #[error("update_mask: path {position} is a wildcard; name the paths: {}", paths())]
    Wildcard {
        /// Which of the comma-separated paths, from 1.
        position: usize,
    },
    /// Nothing between two commas.
    #[error("update_mask: path {position} is empty")]
    Empty {
        /// Which of the comma-separated paths, from 1.
        position: usize,
    },
    /// More than any honest mask needs.
    #[error("update_mask is longer than {MASK_BYTES_MAX} bytes")]
    TooLong,
}

/// How much of an unknown path is repeated.
const PATH_CHARS_SHOWN: usize = 64;

fn paths() -> String {
    MaskPath::ALL.map(MaskPath::as_str).join(", ")
}

impl UpdateMask {
    /// Reads a comma-separated mask; `None` when it is empty, which means: every member the body has.
    ///
    /// # Errors
    /// [`MaskError`] names the first path that is refused.
    pub fn parse(text: &str) -> Result<Option<Self>, MaskError> {
        if text.len() > MASK_BYTES_MAX {
            return Err(MaskError::TooLong);
        }
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let mut mask = Self::default();
        for (index, path) in text.split(',').map(str::trim_ascii).enumerate() {
            let position = index + 1;
            let refusal = || match path {
                "" => MaskError::Empty { position },
                wild if wild.contains('*') => MaskError::Wildcard { position },
                _ => MaskError::Unknown { path: path.chars().take(PATH_CHARS_SHOWN).collect(), position },
            };
            mask.insert(MaskPath::parse(path).ok_or_else(refusal)?);
        }
        Ok(Some(mask))
    }

    /// Whether the update touches this member.
    #[must_use]
    pub fn contains(&self, path: MaskPath) -> bool {
        self.named[path as usize]
    }

    /// Adds a member.
    pub fn insert(&mut self, path: MaskPath) {
        self.named[path as usize] = true;
    }
}

impl FromIterator<MaskPath> for UpdateMask {
    fn from_iter<I: IntoIterator<Item = MaskPath>>(paths: I) -> Self {
        let mut mask = Self::default();
        paths.into_iter().for_each(|path| mask.insert(path));
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_names_what_changes() {
        use MaskPath::{IpRestriction, Metadata, Name, RateLimitPolicy, Scopes};
        let cases: [(&str, &[MaskPath]); 5] = [
            ("name", &[Name]),
            ("name,scopes", &[Name, Scopes]),
            (" scopes , name,name ", &[Name, Scopes]),
            (
                "name,scopes,metadata,rate_limit_policy,ip_restriction,policy_overrides,permissions,rateLimits",
                &MaskPath::ALL,
            ),
            ("rateLimitPolicy,ipRestriction,metadata", &[Metadata, RateLimitPolicy, IpRestriction]),
        ];
        for (text, paths) in cases {
            let mask = UpdateMask::parse(text).unwrap().unwrap();
            assert_eq!(mask, paths.iter().copied().collect(), "{text}");
            for path in MaskPath::ALL {
                assert_eq!(mask.contains(path), paths.contains(&path), "{text} {path:?}");
            }
        }
        assert_eq!(UpdateMask::parse(""), Ok(None));
        assert_eq!(UpdateMask::parse("  "), Ok(None));
    }

    #[test]
    fn what_cannot_be_updated_is_refused_by_name_and_position() {
        let unknown = |path: &str, position| Err(MaskError::Unknown { path: path.to_owned(), position });
        for path in
            ["actor_id", "ttl", "visibility", "status", "Name", "rate_limit_policy.quota", "key_id", "é"]
        {
            assert_eq!(UpdateMask::parse(&format!("name,{path}")), unknown(path, 2));
        }
        for wild in ["*", "metadata.*", "rate_*"] {
            assert_eq!(UpdateMask::parse(wild), Err(MaskError::Wildcard { position: 1 }), "{wild}");
        }
        for (text, position) in [(",", 1), ("name,", 2), ("name,,scopes", 2)] {
            assert_eq!(UpdateMask::parse(text), Err(MaskError::Empty { position }), "{text}");
        }
        assert_eq!(UpdateMask::parse(&"x".repeat(70)), unknown(&"x".repeat(64), 1));
        assert_eq!(UpdateMask::parse(&"name,".repeat(300)), Err(MaskError::TooLong));
        let said = UpdateMask::parse("name,ttl").unwrap_err().to_string();
        let paths = "name, scopes, metadata, rate_limit_policy, ip_restriction, policy_overrides, permissions, rate_limits";
        assert_eq!(said, format!("update_mask: `ttl` (path 2) cannot be updated; the paths are {paths}"));
    }
}
