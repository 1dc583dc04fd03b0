//! The models a caller may ask for on the native routes.

use std::collections::BTreeMap;

use bh_wire::Family;

use super::route::serves;
use crate::snapshot::{Caller, Snapshot};

/// One model of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name to send as `model`.
    pub id: String,
    /// The provider that serves it.
    pub provider: String,
    /// The dialect it is asked in.
    pub family: Family,
}

/// Aliases first, then every model that a provider lists or the price table knows for it; only what the caller's
/// rules admit. Sorted by name, so that the list is stable.
#[must_use]
pub fn models(snapshot: &Snapshot, caller: &Caller) -> Vec<ModelEntry> {
    let mut entries: BTreeMap<String, ModelEntry> = BTreeMap::new();
    let mut add = |id: &str, provider_id: &str| {
        let Some(provider) = snapshot.providers.get(provider_id) else { return };
        let provider_ok =
            caller.allowed_providers.is_empty() || caller.allowed_providers.contains(&provider.id);
        let allowed = caller.allowed_models.is_empty() || caller.allowed_models.iter().any(|m| m == id);
        let blocked = caller.blocked_models.iter().any(|m| m == id);
        if provider_ok && allowed && !blocked && caller.token_admits_model(id) {
            entries.entry(id.to_owned()).or_insert_with(|| ModelEntry {
                id: id.to_owned(),
                provider: provider.id.clone(),
                family: provider.family,
            });
        }
    };
    for (alias, candidates) in &snapshot.models {
        if let Some(first) = candidates.first() {
            add(alias, &first.provider);
        }
    }
    for provider in snapshot.providers.values() {
        let listed = provider.allowed_models.iter();
        let priced = snapshot.prices.providers.get(&provider.id).into_iter().flat_map(|p| p.models.keys());
        for model in listed.chain(priced).filter(|model| serves(provider, model)) {
            add(model, &provider.id);
        }
    }
    entries.into_values().collect()
}
