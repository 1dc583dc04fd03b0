//! The claims' JSON: member names, what may be left out, and which members have to agree.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::{ClaimedNid, from_object};
use super::{Claims, RESERVED_CLAIMS};

const PUBLIC: &str = "public";
const SECRET: &str = "secret";

#[derive(Deserialize, Serialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    iss: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<OneOrMany>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    akid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tty: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scp: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vis: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acl: Option<Vec<String>>,
    #[serde(flatten)]
    custom: Map<String, Value>,
}

/// RFC 7519 §4.1.3: one audience may stand without brackets.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) fn read(json: &[u8]) -> Option<Claims> {
    let wire: Wire = from_object(json)?;
    let key_id = the_same([wire.akid, wire.sub, wire.pid])?;
    let scopes = scopes(wire.scp, wire.scope.as_deref())?;
    let public = match wire.vis.as_deref() {
        Some(PUBLIC) => true,
        Some(SECRET) | None => false,
        Some(_) => return None,
    };
    let audiences = match wire.aud {
        Some(OneOrMany::One(audience)) => vec![audience],
        Some(OneOrMany::Many(audiences)) => audiences,
        None => Vec::new(),
    };
    Some(Claims {
        id: wire.jti,
        issuer: wire.iss,
        key_id,
        actor_id: wire.oid,
        nid: wire.nid.as_deref().map(ClaimedNid::parse),
        token_type: wire.tty,
        issued_at_s: wire.iat,
        not_before_s: wire.nbf,
        expires_at_s: wire.exp,
        scopes,
        audiences,
        metadata: wire.meta.unwrap_or_default(),
        public,
        allowed_cidrs: wire.acl.unwrap_or_default(),
        custom: wire.custom,
    })
}

/// The one value of those that are there; the outer `None` when two of them differ.
fn the_same(values: [Option<String>; 3]) -> Option<Option<String>> {
    let mut present = values.into_iter().flatten();
    let first = present.next();
    present.all(|other| Some(&other) == first.as_ref()).then_some(first)
}

/// The scopes of either member. Both have to say the same: a third party that reads only one of them must not see
/// other rights than we do.
fn scopes(scp: Option<Vec<String>>, scope: Option<&str>) -> Option<Vec<String>> {
    let words = || scope.unwrap_or_default().split_ascii_whitespace();
    match scp {
        Some(scopes) if scope.is_none() || words().eq(scopes.iter().map(String::as_str)) => Some(scopes),
        Some(_) => None,
        None => Some(words().map(str::to_owned).collect()),
    }
}

/// The text for readers of `scope`; none when a scope would read as two, or as nothing.
fn scope_text(scopes: &[String]) -> Option<String> {
    let one_word = |scope: &String| !scope.is_empty() && !scope.contains(|c: char| c.is_ascii_whitespace());
    (!scopes.is_empty() && scopes.iter().all(one_word)).then(|| scopes.join(" "))
}

pub(super) fn write(claims: &Claims) -> Vec<u8> {
    let nid = match claims.nid {
        Some(ClaimedNid::Nid(nid)) => Some(nid.to_string()),
        Some(ClaimedNid::Junk) | None => None,
    };
    let mut custom = claims.custom.clone();
    custom.retain(|name, _| !RESERVED_CLAIMS.contains(&name.as_str()));
    let wire = Wire {
        jti: claims.id.clone(),
        iss: claims.issuer.clone(),
        sub: claims.key_id.clone(),
        aud: (!claims.audiences.is_empty()).then(|| OneOrMany::Many(claims.audiences.clone())),
        iat: claims.issued_at_s,
        nbf: claims.not_before_s,
        exp: claims.expires_at_s,
        nid,
        akid: claims.key_id.clone(),
        pid: claims.key_id.clone(),
        tty: claims.token_type.clone(),
        oid: claims.actor_id.clone(),
        scp: Some(claims.scopes.clone()),
        scope: scope_text(&claims.scopes),
        meta: (!claims.metadata.is_empty()).then(|| claims.metadata.clone()),
        vis: Some(if claims.public { PUBLIC } else { SECRET }.to_owned()),
        acl: (!claims.allowed_cidrs.is_empty()).then(|| claims.allowed_cidrs.clone()),
        custom,
    };
    // A tree of texts, numbers and maps with text keys always serialises.
    serde_json::to_vec(&wire).unwrap_or_default()
}
