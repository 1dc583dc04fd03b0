//! Which providers may serve a call, in order. Pure: one configuration snapshot, no I/O.

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_wire::Family;

use super::Entry;
use super::read::Asked;
use super::ticket::Ticket;
use crate::snapshot::{Caller, Candidate, Provider, Snapshot, UnmeteredPaths};

/// One provider to try, and the model to ask of it.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) provider: Arc<Provider>,
    /// The model, when it differs from what the client wrote.
    pub(super) model: Option<String>,
    pub(super) chain_position: u32,
}

impl Choice {
    /// The model the provider is asked for.
    pub(super) fn model<'a>(&'a self, requested: Option<&'a str>) -> Option<&'a str> {
        self.model.as_deref().or(requested)
    }
}

/// The choices for a call: the first that rules allow, then its fallbacks of the same family.
pub(super) fn candidates(ticket: &Ticket, asked: &Asked) -> Result<Vec<Choice>, Refusal> {
    let snapshot = &ticket.snapshot;
    let requested = ticket.requested_model.as_deref();
    let first = match &asked.entry {
        Entry::Proxy { provider, .. } => {
            let provider =
                snapshot.providers.get(provider).ok_or_else(|| unknown_provider(snapshot, provider))?;
            vec![(Arc::clone(provider), None)]
        }
        Entry::Quickstart(_) => match &snapshot.quickstart {
            Some(quickstart) => vec![(Arc::clone(&quickstart.provider), None)],
            None => return Err(Refusal::new(Code::ProviderUnknown, "The quickstart has no provider")),
        },
        Entry::Native(endpoint) => {
            let family = endpoint.family().unwrap_or(Family::OpenAi);
            for_model(snapshot, family, requested)?
        }
    };
    permitted(ticket, chain(snapshot, first))
}

fn unknown_provider(snapshot: &Snapshot, id: &str) -> Refusal {
    let mut known: Vec<&str> = snapshot.providers.keys().map(String::as_str).collect();
    known.sort_unstable();
    let message = format!("No provider `{id}` is configured; there are: {}", known.join(", "));
    Refusal::new(Code::ProviderUnknown, message)
}

type Pair = (Arc<Provider>, Option<String>);

/// A native call's providers: an alias, `provider/model`, or whoever of the family serves the model.
fn for_model(snapshot: &Snapshot, family: Family, requested: Option<&str>) -> Result<Vec<Pair>, Refusal> {
    let Some(model) = requested else {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "`model` is missing: it decides which provider serves the call",
        ));
    };
    let resolve = |candidate: &Candidate| -> Option<Pair> {
        let provider = snapshot.providers.get(&candidate.provider)?;
        (provider.family == family).then(|| (Arc::clone(provider), candidate.model.clone()))
    };
    if let Some(candidates) = snapshot.models.get(model) {
        let pairs: Vec<Pair> = candidates.iter().filter_map(resolve).collect();
        if !pairs.is_empty() {
            return Ok(pairs);
        }
    }
    if let Some((id, name)) = model.split_once('/') {
        let candidate = Candidate { provider: id.to_owned(), model: Some(name.to_owned()) };
        if let Some(pair) = resolve(&candidate) {
            return Ok(vec![pair]);
        }
    }
    let mut serving: Vec<&Arc<Provider>> =
        snapshot.providers.values().filter(|p| p.family == family && serves(p, model)).collect();
    // Whoever lists a price for the model comes first; ids break ties, so that every replica decides alike.
    serving.sort_by_key(|p| (!snapshot.prices.find(&p.id, model).1, p.id.clone()));
    serving.first().map(|p| vec![(Arc::clone(p), None)]).ok_or_else(|| {
        Refusal::new(
            Code::ModelNotFound,
            format!("No configured provider serves the model `{model}` on this endpoint"),
        )
    })
}

/// Whether a provider's own lists admit a model.
pub(super) fn serves(provider: &Provider, model: &str) -> bool {
    let allowed = provider.allowed_models.is_empty() || provider.allowed_models.iter().any(|m| m == model);
    // Deployments are the same in any case, so what is blocked is blocked in any case.
    allowed && !provider.blocked_models.iter().any(|m| m.eq_ignore_ascii_case(model))
}

fn chain(snapshot: &Snapshot, first: Vec<Pair>) -> Vec<Choice> {
    let fallbacks = first.first().map(|(provider, _)| (provider.family, provider.fallback.clone()));
    let (family, fallbacks) = fallbacks.unwrap_or((Family::OpenAi, Vec::new()));
    let follow = fallbacks.into_iter().filter_map(|candidate| {
        let provider = snapshot.providers.get(&candidate.provider)?;
        (provider.family == family).then(|| (Arc::clone(provider), candidate.model))
    });
    let numbered = first.into_iter().chain(follow).zip(0_u32..);
    numbered.map(|((provider, model), chain_position)| Choice { provider, model, chain_position }).collect()
}

/// Drops what the rules forbid. When that leaves nothing, the first choice's reason is the refusal.
fn permitted(ticket: &Ticket, choices: Vec<Choice>) -> Result<Vec<Choice>, Refusal> {
    let mut reason = None;
    let mut kept = Vec::with_capacity(choices.len());
    for choice in choices {
        match check(ticket, &choice) {
            Ok(()) => kept.push(choice),
            // A forbidden first choice is not rescued by its fallback: the rule is the answer.
            Err(refusal) if choice.chain_position == 0 => return Err(refusal),
            Err(refusal) => reason = reason.or(Some(refusal)),
        }
    }
    if kept.is_empty() {
        return Err(
            reason.unwrap_or_else(|| Refusal::new(Code::ProviderUnknown, "No provider is configured"))
        );
    }
    Ok(kept)
}

/// Where somebody rules money or models, nothing passes whose price or model cannot be told, unless the provider's
/// configuration says so.
fn unmetered(ticket: &Ticket, provider: &Provider) -> Result<(), Refusal> {
    let ruled = ticket.caller.capped_by_choice || ticket.has_model_rule(provider);
    match provider.unmetered_paths {
        UnmeteredPaths::Refuse if ticket.unmetered && ruled => {
            let message = format!(
                "What this path costs is not known beforehand, and a budget or a model rule is set for this caller; \
                 gateway.providers.{}.unmetered_paths: allow lets such requests pass",
                provider.id
            );
            Err(Refusal::new(Code::UnmeteredPath, message))
        }
        UnmeteredPaths::Refuse | UnmeteredPaths::Allow => Ok(()),
    }
}

fn check(ticket: &Ticket, choice: &Choice) -> Result<(), Refusal> {
    let caller: &Caller = &ticket.caller;
    let provider = &choice.provider;
    if !caller.allowed_providers.is_empty() && !caller.allowed_providers.contains(&provider.id) {
        let message = format!("Caller not allowed for this provider: `{}`", provider.id);
        return Err(Refusal::new(Code::ProviderNotAllowed, message));
    }
    unmetered(ticket, provider)?;
    if !ticket.has_model_rule(provider) {
        return Ok(());
    }
    let Some(model) = choice.model(ticket.requested_model.as_deref()) else {
        // Only calls that name a model can be judged by it; the others carry none (files, catalogues).
        return if ticket.endpoint.names_model() {
            Err(Refusal::new(
                Code::ModelRequired,
                "A model rule applies to this caller, and the request names no `model`",
            ))
        } else {
            Ok(())
        };
    };
    let callers_own = caller.allowed_models.is_empty() || caller.allowed_models.iter().any(|m| m == model);
    if callers_own
        && caller.token_admits_model(model)
        && !caller.blocked_models.iter().any(|m| m.eq_ignore_ascii_case(model))
        && serves(provider, model)
    {
        return Ok(());
    }
    Err(Refusal::new(Code::ModelNotAllowed, format!("Model `{model}` is not allowed for this caller")))
}
