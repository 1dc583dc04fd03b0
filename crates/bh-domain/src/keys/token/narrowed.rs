//! Claims, and the limits that caveats put on them.
//!
//! A list of a caveat is kept as it is, and a question has to pass every list: patterns are never intersected, so no
//! mistake of that arithmetic can widen a right.

use std::net::IpAddr;

use super::caveat::{Caveat, CaveatError, Pattern};
use super::{ClaimedNid, Claims, Leeway, TokenFault};
use crate::keys::permission::{Permission, PermissionQuery, grants};
use crate::money::NanoUsd;
use crate::network::Network;
use crate::tenant::Nid;
use crate::time::Timestamp;

/// What a token allows in the end. A JWT's limits are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Narrowed {
    claims: Claims,
    /// `Some` once a caveat has named audiences: those that are left, possibly none.
    audiences_left: Option<Vec<String>>,
    networks: Vec<Vec<Network>>,
    models: Vec<Vec<Pattern>>,
    tools: Vec<Vec<Pattern>>,
    methods: Vec<Vec<String>>,
    paths: Vec<Vec<Pattern>>,
    permissions: Vec<Vec<Permission>>,
    budget: Option<NanoUsd>,
}

impl From<Claims> for Narrowed {
    fn from(claims: Claims) -> Self {
        Self { claims, ..Self::default() }
    }
}

impl Narrowed {
    /// Adds a caveat's limits.
    pub(super) fn apply(&mut self, caveat: Caveat) -> Result<(), CaveatError> {
        self.confirm(&caveat)?;
        self.budget = match (self.budget, caveat.budget()?) {
            (Some(held), Some(new)) => Some(held.min(new)),
            (held, new) => held.or(new),
        };
        let claims = &mut self.claims;
        claims.expires_at_s = caveat.exp.map_or(claims.expires_at_s, |exp| exp.min(claims.expires_at_s));
        claims.not_before_s = claims.not_before_s.max(caveat.nbf);
        let words = |text: String| text.split_ascii_whitespace().map(str::to_owned).collect();
        for keep in [caveat.scp, caveat.scope.map(words)].into_iter().flatten() {
            self.keep_scopes(&keep)?;
        }
        if let Some(keep) = caveat.aud {
            let left = self.audiences_left.get_or_insert_with(|| self.claims.audiences.clone());
            left.retain(|audience| keep.contains(audience));
        }
        if let Some(list) = caveat.acl {
            let networks: Option<Vec<Network>> = list.iter().map(|text| Network::parse(text)).collect();
            self.networks.push(networks.ok_or(CaveatError::Network)?);
        }
        if let Some(list) = caveat.permissions {
            let list: Result<Vec<_>, _> = list.iter().map(|text| Permission::parse(text)).collect();
            self.permissions.push(list.map_err(|_| CaveatError::Permission)?);
        }
        self.methods.extend(caveat.methods);
        add(&mut self.models, "models", caveat.models)?;
        add(&mut self.tools, "tools", caveat.tools)?;
        add(&mut self.paths, "paths", caveat.paths)
    }

    /// A token that is narrowed to no scope is refused: nobody must read "none" as "not restricted".
    fn keep_scopes(&mut self, keep: &[String]) -> Result<(), CaveatError> {
        self.claims.scopes.retain(|scope| keep.contains(scope));
        if self.claims.scopes.is_empty() { Err(CaveatError::NoScope) } else { Ok(()) }
    }

    /// A caveat may repeat whose token it is, and nothing else.
    fn confirm(&self, caveat: &Caveat) -> Result<(), CaveatError> {
        if caveat.iss.as_ref().is_some_and(|issuer| *issuer != self.claims.issuer) {
            return Err(CaveatError::Mismatch("iss"));
        }
        let nid = caveat.nid.as_deref().map(ClaimedNid::parse);
        if nid.is_some() && (nid != self.claims.nid || nid == Some(ClaimedNid::Junk)) {
            return Err(CaveatError::Mismatch("nid"));
        }
        Ok(())
    }

    /// The claims, with times and scopes as narrowed.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Checks times, issuer, type and tenant: [`Claims::check`].
    ///
    /// # Errors
    /// The first [`TokenFault`] found.
    pub fn check<I: AsRef<str>>(
        &self,
        now: Timestamp,
        leeway: Leeway,
        issuers: &[I],
        nid: Nid,
    ) -> Result<(), TokenFault> {
        self.claims.check(now, leeway, issuers, nid)
    }

    /// The most it may spend over its life; `None` is no limit of its own.
    #[must_use]
    pub fn budget(&self) -> Option<NanoUsd> {
        self.budget
    }

    /// Whether it may be used from this address. An unknown address passes only where nothing restricts it.
    #[must_use]
    pub fn admits_address(&self, address: Option<IpAddr>) -> bool {
        let by_claims = &self.claims.allowed_cidrs;
        if by_claims.is_empty() && self.networks.is_empty() {
            return true;
        }
        let Some(address) = address else { return false };
        let parsed = by_claims.iter().filter_map(|text| Network::parse(text));
        let by_claims = by_claims.is_empty() || parsed.into_iter().any(|network| network.contains(address));
        by_claims && self.networks.iter().all(|list| list.iter().any(|network| network.contains(address)))
    }

    /// The rule of audiences (dossier §4.1, step 10): with expectations the token names one of them, without any it
    /// names none. A token narrowed to no audience passes neither way.
    #[must_use]
    pub fn admits_audience<A: AsRef<str>>(&self, expected: &[A]) -> bool {
        let named = match &self.audiences_left {
            None if self.claims.audiences.is_empty() => return expected.is_empty(),
            None => &self.claims.audiences,
            Some(left) => left,
        };
        expected.iter().any(|wanted| named.iter().any(|audience| audience == wanted.as_ref()))
    }

    /// The audiences it names.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        self.audiences_left.as_ref().unwrap_or(&self.claims.audiences)
    }

    /// Whether it may call this model.
    #[must_use]
    pub fn admits_model(&self, model: &str) -> bool {
        every_list_covers(&self.models, model)
    }

    /// Whether it may call this tool.
    #[must_use]
    pub fn admits_tool(&self, tool: &str) -> bool {
        every_list_covers(&self.tools, tool)
    }

    /// Whether it may be used with this HTTP method. Methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub fn admits_method(&self, method: &str) -> bool {
        self.methods.iter().all(|list| list.iter().any(|entry| entry == method))
    }

    /// Whether it may be used on this path, as the request line has it. A path that could be read as another one (dot
    /// segments, encoded separators) passes only where nothing restricts paths.
    #[must_use]
    pub fn admits_path(&self, path: &str) -> bool {
        self.paths.is_empty() || (is_plain(path) && every_list_covers(&self.paths, path))
    }

    /// Whether it has the permissions of a query, given those that its key has now. It has a permission when its key
    /// and every caveat do.
    #[must_use]
    pub fn admits_permissions(&self, query: &PermissionQuery, of_key: &[Permission]) -> bool {
        let lists = &self.permissions;
        query.is_met_where(&|name| grants(of_key, name) && lists.iter().all(|list| grants(list, name)))
    }

    /// Whether a caveat limits its permissions.
    #[must_use]
    pub fn limits_permissions(&self) -> bool {
        !self.permissions.is_empty()
    }

    /// Whether a caveat limits which models may be called.
    #[must_use]
    pub fn limits_models(&self) -> bool {
        !self.models.is_empty()
    }

    /// Whether a caveat limits which tools may be called.
    #[must_use]
    pub fn limits_tools(&self) -> bool {
        !self.tools.is_empty()
    }

    /// Whether any caveat limits what may be called, so that a door which cannot judge it has to refuse.
    #[must_use]
    pub fn limits_calls(&self) -> bool {
        let Self { models, tools, methods, paths, permissions, budget, .. } = self;
        !models.is_empty()
            || !tools.is_empty()
            || !methods.is_empty()
            || !paths.is_empty()
            || !permissions.is_empty()
            || budget.is_some()
    }
}

fn add(
    lists: &mut Vec<Vec<Pattern>>,
    name: &'static str,
    entries: Option<Vec<String>>,
) -> Result<(), CaveatError> {
    let Some(entries) = entries else { return Ok(()) };
    let patterns: Option<Vec<Pattern>> = entries.iter().map(|entry| Pattern::parse(entry)).collect();
    lists.push(patterns.ok_or(CaveatError::Wildcard(name))?);
    Ok(())
}

fn every_list_covers(lists: &[Vec<Pattern>], text: &str) -> bool {
    lists.iter().all(|list| list.iter().any(|pattern| pattern.covers(text)))
}

fn is_plain(path: &str) -> bool {
    let dots = path.split('/').any(|segment| segment == "." || segment == "..");
    let lower = path.to_ascii_lowercase();
    let encoded = ["%2e", "%2f", "%5c", "\\", "//"].iter().any(|mark| lower.contains(mark));
    path.starts_with('/') && !dots && !encoded
}

#[cfg(test)]
mod tests;
