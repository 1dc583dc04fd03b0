//! Every way Bulkhead says no: one table, rendered by each door in its own dialect.

use crate::limit::RateVerdict;
use crate::tenant::Nid;

/// A stable reason to refuse. The text forms are contract (see [`Code::as_str`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No credential, or one that means nothing here.
    Unauthorized,
    /// The identities on the request do not agree.
    CrossTenantAccessDenied,
    /// The tenant is suspended or being deleted.
    TenantInactive,
    /// The body or a parameter cannot be understood.
    InvalidRequest,
    /// The body is larger than `server.body_bytes_max`.
    RequestTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The body's content type is not one this route reads.
    UnsupportedMediaType,
    /// No such object, or not the caller's.
    NotFound,
    /// The host leads to no tenant.
    NetworkNotFound,
    /// What is asked for is there, or done, already.
    Conflict,
    /// The object is not in a state that allows this.
    FailedPrecondition,
    /// What this caller may do does not include it.
    Forbidden,
    /// There is no such tenant.
    TenantNotFound,
    /// There is a tenant of that name.
    TenantExists,
    /// The host name leads to another tenant.
    HostnameTaken,
    /// The tenant is changed elsewhere: in a file.
    TenantReadOnly,
    /// The function is switched off for the tenant.
    FeatureDisabled,
    /// The caller's address is not one it may call from.
    IpNotAllowed,
    /// The API key's life is over.
    ApiKeyExpired,
    /// The API key was revoked.
    ApiKeyRevoked,
    /// The token's signature, issuer or time is not good.
    SignatureInvalid,
    /// The key that the token was derived from is over.
    ParentKeyInvalid,
    /// A credential is what the request is about, and there is none.
    CredentialRequired,
    /// Derived tokens end with their key, not by themselves.
    DerivedTokenNotRevocable,
    /// As many things as the tenant may have.
    QuotaExceeded,
    /// The tenant has a server of that name.
    ServerExists,
    /// The tenant has no server of that name.
    ServerNotFound,
    /// The tenant has no such deployment.
    DeploymentNotFound,
    /// The tenant has no such tool.
    ToolNotFound,
    /// A server was reached, and did not do what was asked.
    ToolFailed,
    /// A server takes no more for now.
    ToolBusy,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The route's function is not part of this release.
    NotImplemented,
    /// `/v1/proxy/{provider}` names no configured provider.
    ProviderUnknown,
    /// The caller may not use this provider.
    ProviderNotAllowed,
    /// A model rule applies and the request names no model.
    ModelRequired,
    /// No provider serves this model.
    ModelNotFound,
    /// The caller may not use this model.
    ModelNotAllowed,
    /// The path's price cannot be known beforehand, and a budget or a model rule applies.
    UnmeteredPath,
    /// A daily or monthly budget does not hold this call.
    BudgetExceeded,
    /// The session's budget does not hold this call.
    SessionBudgetExceeded,
    /// Too many requests.
    RateLimited,
    /// Requests cannot be counted right now, and uncounted ones are not let in.
    LimitsUnavailable,
    /// No credential for the provider.
    UpstreamCredentialMissing,
    /// Evidence cannot be written, so nothing is forwarded.
    EvidenceUnavailable,
    /// The store lives, but did not answer in its time.
    StoreTimeout,
    /// A master key is in use that this process does not have.
    MasterKeyUnknown,
    /// What is sealed in the store is not what was sealed.
    SecretUnreadable,
    /// The gateway is stopping.
    ShuttingDown,
    /// No provider could be reached.
    UpstreamUnreachable,
    /// The provider did not answer in time.
    UpstreamTimeout,
    /// Something in the gateway broke; the log has the cause under the request id.
    Internal,
}

/// One row of the table of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The reason.
    pub code: Code,
    /// Its text in bodies, evidence and metrics.
    pub text: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Whether the same request may succeed later without being changed.
    pub retriable: bool,
}

const fn row(code: Code, text: &'static str, status: u16, retriable: bool) -> Row {
    Row { code, text, status, retriable }
}

/// The table. Documents and clients are generated from it.
pub const TABLE: &[Row] = &[
    row(Code::Unauthorized, "unauthorized", 401, false),
    row(Code::CrossTenantAccessDenied, "CROSS_TENANT_ACCESS_DENIED", 403, false),
    row(Code::TenantInactive, "tenant_inactive", 403, false),
    row(Code::InvalidRequest, "invalid_request", 400, false),
    row(Code::RequestTooLarge, "request_too_large", 413, false),
    row(Code::RequestTimeout, "request_timeout", 408, true),
    row(Code::UnsupportedMediaType, "unsupported_media_type", 415, false),
    row(Code::NotFound, "not_found", 404, false),
    row(Code::NetworkNotFound, "network_not_found", 404, false),
    row(Code::Conflict, "conflict", 409, false),
    row(Code::FailedPrecondition, "failed_precondition", 409, false),
    row(Code::Forbidden, "forbidden", 403, false),
    row(Code::TenantNotFound, "tenant_not_found", 404, false),
    row(Code::TenantExists, "tenant_already_exists", 409, false),
    row(Code::HostnameTaken, "hostname_taken", 409, false),
    row(Code::TenantReadOnly, "tenant_read_only", 409, false),
    row(Code::FeatureDisabled, "feature_disabled", 403, false),
    row(Code::IpNotAllowed, "ip_not_allowed", 403, false),
    row(Code::ApiKeyExpired, "api_key_expired", 401, false),
    row(Code::ApiKeyRevoked, "api_key_revoked", 401, false),
    row(Code::SignatureInvalid, "signature_invalid", 401, false),
    row(Code::ParentKeyInvalid, "parent_key_invalid", 401, false),
    row(Code::CredentialRequired, "credential_required", 400, false),
    row(Code::DerivedTokenNotRevocable, "derived_token_not_revocable", 400, false),
    row(Code::QuotaExceeded, "quota_exceeded", 429, false),
    row(Code::ServerExists, "server_already_exists", 409, false),
    row(Code::ServerNotFound, "server_not_found", 404, false),
    row(Code::DeploymentNotFound, "deployment_not_found", 404, false),
    row(Code::ToolNotFound, "tool_not_found", 404, false),
    row(Code::ToolFailed, "tool_failed", 502, false),
    row(Code::ToolBusy, "tool_busy", 503, true),
    row(Code::MethodNotAllowed, "method_not_allowed", 405, false),
    row(Code::NotImplemented, "not_implemented", 501, false),
    row(Code::ProviderUnknown, "provider_unknown", 400, false),
    row(Code::ProviderNotAllowed, "provider_not_allowed", 403, false),
    row(Code::ModelRequired, "model_required_for_policy_evaluation", 400, false),
    row(Code::ModelNotFound, "model_not_found", 404, false),
    row(Code::ModelNotAllowed, "model_not_allowed", 403, false),
    row(Code::UnmeteredPath, "unmetered_path_not_allowed", 403, false),
    row(Code::BudgetExceeded, "budget_exceeded", 403, true),
    row(Code::SessionBudgetExceeded, "session_budget_exceeded", 403, false),
    row(Code::RateLimited, "rate_limited", 429, true),
    row(Code::LimitsUnavailable, "rate_limit_unavailable", 503, true),
    row(Code::UpstreamCredentialMissing, "upstream_credential_missing", 401, false),
    row(Code::EvidenceUnavailable, "evidence_unavailable", 503, true),
    row(Code::StoreTimeout, "gateway_timeout", 504, true),
    row(Code::MasterKeyUnknown, "master_key_unknown", 503, true),
    row(Code::SecretUnreadable, "secret_unreadable", 500, false),
    row(Code::ShuttingDown, "shutting_down", 503, true),
    row(Code::UpstreamUnreachable, "upstream_unreachable", 502, true),
    row(Code::UpstreamTimeout, "upstream_timeout", 504, true),
    row(Code::Internal, "internal_error", 500, true),
];

impl Code {
    /// This reason's row.
    #[must_use]
    pub fn row(self) -> Row {
        let found = TABLE.iter().find(|row| row.code == self);
        found.copied().unwrap_or(row(self, "internal_error", 500, true))
    }

    /// This reason's text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().text
    }

    /// This reason's HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }
}

/// A refusal on its way to a door: the reason, a sentence for the caller, and what helps to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub code: Code,
    /// What was wrong, where, and what to do. Never holds a secret.
    pub message: String,
    /// Whole seconds after which a retry makes sense.
    pub retry_after_s: Option<u64>,
    /// The limit that refused, for rate headers.
    pub rate: Option<Box<RateVerdict>>,
    /// Further facts for the error object, such as the remaining budget.
    pub details: Vec<(&'static str, String)>,
    /// The tenant whose trail it belongs to, where that is known and nobody was let in. Never told.
    pub whose: Option<Nid>,
}

impl Refusal {
    /// A refusal with nothing but its reason and sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_s: None,
            rate: None,
            details: Vec::new(),
            whose: None,
        }
    }

    /// Adds a fact to the error object.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// Says whose trail it belongs to.
    #[must_use]
    pub fn of(mut self, nid: Nid) -> Self {
        self.whose = Some(nid);
        self
    }

    /// Says when a retry makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_exactly_one_row() {
        for row in TABLE {
            assert_eq!(
                TABLE.iter().filter(|other| other.code == row.code || other.text == row.text).count(),
                1,
                "{row:?}"
            );
            assert_eq!(row.code.row(), *row);
        }
    }
}
