//! What a key or a token may open, and what is told of one that is not good.

use bh_domain::keys::verdict::VerificationError;
use bh_domain::refusal::{Code, Refusal};

use super::Access;
use super::gate::{Door, Knock};
use crate::keys::{Denied, Row, TokenSubject};

pub(super) fn admits_scope(door: Door, scopes: &[String]) -> Result<(), Refusal> {
    let scope = door.scope();
    if scopes.iter().any(|held| held == scope) {
        return Ok(());
    }
    let message = format!("This key does not have the scope `{scope}`, which this route needs");
    Err(Refusal::new(Code::Forbidden, message).with("scope", scope))
}

/// Holds a token to its caveats, and to what its key may do by now. A caveat that a door cannot judge closes it.
pub(super) fn admits_token(
    door: Door,
    knock: &Knock<'_>,
    token: &TokenSubject,
    row: &Row,
) -> Result<(), Refusal> {
    let narrowed = &token.narrowed;
    admits_scope(door, &narrowed.claims().scopes)?;
    admits_scope(door, &row.key.scopes)?;
    if !narrowed.admits_method(knock.method.as_str()) {
        return Err(beyond("may not be used with this method"));
    }
    if !narrowed.admits_path(knock.path) {
        return Err(beyond("may not be used on this path"));
    }
    if narrowed.limits_tools() {
        return Err(beyond("is limited to some tools, which this door does not know"));
    }
    if narrowed.limits_permissions() {
        return Err(beyond("is limited to some permissions, which this door does not know"));
    }
    if !door.judges_calls() && (narrowed.limits_models() || narrowed.budget().is_some()) {
        return Err(beyond("is limited to some models or to a budget, which this door does not know"));
    }
    Ok(())
}

pub(super) fn beyond(what: &str) -> Refusal {
    Refusal::new(Code::Forbidden, format!("The token {what}"))
}

/// What is told of a key that is not good. Whoever proved to have one learns what became of it; whoever did not learns
/// nothing.
pub(super) fn refusal_of(denied: Denied, access: Access) -> Refusal {
    let told =
        |code| Refusal::new(code, denied.message.clone()).with("verification_error", denied.code.as_str());
    match denied.code {
        VerificationError::InvalidFormat | VerificationError::NotFound => access.refusal(),
        VerificationError::Internal => {
            Refusal::new(Code::EvidenceUnavailable, "The store does not answer right now; try again")
                .retry_after(1)
        }
        VerificationError::IpNotAllowed => told(Code::IpNotAllowed),
        VerificationError::RateLimited => told(Code::RateLimited),
        // The key API has names of its own for these (Talos dossier §2.6).
        VerificationError::Revoked if access == Access::KeyAdmin => told(Code::ApiKeyRevoked),
        VerificationError::Expired if access == Access::KeyAdmin => told(Code::ApiKeyExpired),
        VerificationError::SignatureInvalid if access == Access::KeyAdmin => told(Code::SignatureInvalid),
        VerificationError::Revoked
        | VerificationError::Expired
        | VerificationError::SignatureInvalid
        | VerificationError::AudienceMismatch => told(Code::Unauthorized),
        VerificationError::InsufficientPermissions => told(Code::Forbidden),
    }
}

/// The same, of a token whose key is not good.
pub(super) fn orphan_refusal(denied: Denied, access: Access) -> Refusal {
    let over = matches!(denied.code, VerificationError::Revoked | VerificationError::Expired);
    if over && access == Access::KeyAdmin {
        let code = denied.code.as_str();
        return Refusal::new(Code::ParentKeyInvalid, denied.message).with("verification_error", code);
    }
    refusal_of(denied, access)
}
