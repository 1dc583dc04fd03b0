//! What is told, and which of it an endpoint wants.

use std::fmt;

/// What an event tells of. The words are contract: receivers switch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A tenant's month is over and can be billed.
    BillingPeriodClosed,
    /// A budget has reached a part of its cap.
    BudgetThreshold,
    /// A budget is used up, or has refused a call that its cap would have admitted.
    BudgetExceeded,
    /// A tenant was made.
    TenantCreated,
    /// A tenant was changed.
    TenantUpdated,
    /// A tenant may not call any more, for now.
    TenantSuspended,
    /// A tenant may call again.
    TenantResumed,
    /// A tenant was removed.
    TenantDeleted,
    /// A key was issued or imported.
    KeyCreated,
    /// A key was changed, enabled or disabled.
    KeyUpdated,
    /// A key was replaced by a new one.
    KeyRotated,
    /// A key was revoked for good.
    KeyRevoked,
    /// A key's row was removed.
    KeyDeleted,
    /// Nothing happened: somebody tries an endpoint.
    WebhookTest,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::BillingPeriodClosed,
        Self::BudgetThreshold,
        Self::BudgetExceeded,
        Self::TenantCreated,
        Self::TenantUpdated,
        Self::TenantSuspended,
        Self::TenantResumed,
        Self::TenantDeleted,
        Self::KeyCreated,
        Self::KeyUpdated,
        Self::KeyRotated,
        Self::KeyRevoked,
        Self::KeyDeleted,
        Self::WebhookTest,
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BillingPeriodClosed => "billing.period_closed",
            Self::BudgetThreshold => "budget.threshold",
            Self::BudgetExceeded => "budget.exceeded",
            Self::TenantCreated => "tenant.created",
            Self::TenantUpdated => "tenant.updated",
            Self::TenantSuspended => "tenant.suspended",
            Self::TenantResumed => "tenant.resumed",
            Self::TenantDeleted => "tenant.deleted",
            Self::KeyCreated => "key.created",
            Self::KeyUpdated => "key.updated",
            Self::KeyRotated => "key.rotated",
            Self::KeyRevoked => "key.revoked",
            Self::KeyDeleted => "key.deleted",
            Self::WebhookTest => "webhook.test",
        }
    }

    /// What comes before the point.
    fn family(self) -> &'static str {
        let word = self.as_str();
        word.split_once('.').map_or(word, |(family, _)| family)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which events an endpoint wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventPattern {
    /// `*`
    All,
    /// `key.*`
    Family(&'static str),
    /// `key.revoked`
    One(EventKind),
}

impl EventPattern {
    /// Reads `*`, `family.*` or a kind; `None` for what no event matches.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let of_family = |family: &str| EventKind::ALL.into_iter().find(|kind| kind.family() == family);
        if let Some(family) = text.strip_suffix(".*") {
            return of_family(family).map(|kind| Self::Family(kind.family()));
        }
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == text).map(Self::One)
    }

    /// Whether an event of this kind is wanted.
    #[must_use]
    pub fn matches(&self, kind: EventKind) -> bool {
        match self {
            Self::All => true,
            Self::Family(family) => kind.family() == *family,
            Self::One(one) => *one == kind,
        }
    }

    /// Every pattern but `*`, for suggestions.
    pub fn known() -> impl Iterator<Item = &'static str> {
        ["billing.*", "budget.*", "tenant.*", "key.*"]
            .into_iter()
            .chain(EventKind::ALL.map(EventKind::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_everything_a_family_or_one_kind() {
        let matched = |text: &str| {
            let pattern = EventPattern::parse(text).unwrap();
            EventKind::ALL
                .into_iter()
                .filter(|kind| pattern.matches(*kind))
                .map(EventKind::as_str)
                .collect::<Vec<_>>()
        };
        assert_eq!(matched("*").len(), EventKind::ALL.len());
        assert_eq!(matched("budget.*"), ["budget.threshold", "budget.exceeded"]);
        assert_eq!(matched("key.revoked"), ["key.revoked"]);
        for stranger in ["", "key", "key.", "keys.*", "key.*.x", "**", "Key.revoked"] {
            assert_eq!(EventPattern::parse(stranger), None, "{stranger}");
        }
        assert!(EventPattern::known().all(|known| EventPattern::parse(known).is_some()));
    }
}
