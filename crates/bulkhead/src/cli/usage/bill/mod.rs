//! What a provider says was used and what it charges for it: exports of OpenAI's and Anthropic's usage and cost APIs and
//! dashboards, as JSON or CSV, and any table of days, models, tokens and costs.

mod amount;
mod json;
mod table;

use std::collections::BTreeMap;
use std::ops::AddAssign;

use bh_domain::money::NanoUsd;
use bh_domain::usage::UtcDay;

/// What an export says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bill {
    /// Whose export it is, as far as its form tells: `openai` or `anthropic`.
    pub(super) provider: Option<&'static str>,
    /// First and last day it is about, days without use included; `None` when it has none.
    pub(super) days: Option<(UtcDay, UtcDay)>,
    /// Whether it tells tokens.
    pub(super) tells_tokens: bool,
    /// Whether it tells costs.
    pub(super) tells_cost: bool,
    /// By day and model.
    pub(super) lines: BTreeMap<(UtcDay, String), BillLine>,
}

/// What an export says about a model on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BillLine {
    /// Input tokens of every kind.
    pub(super) input: u64,
    /// Output tokens.
    pub(super) output: u64,
    /// What is charged, in the provider's currency.
    pub(super) cost: NanoUsd,
}

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BillError {
    /// It is not JSON of a known form.
    #[error("it is no usage export as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is not CSV.
    #[error("it is no usage export as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A column that must be there is not.
    #[error("it has no column for {what}: one of {known} is needed")]
    NoColumn {
        /// What for.
        what: &'static str,
        /// What it may be called.
        known: String,
    },
    /// A value cannot be read.
    #[error("{place}: `{value}` is no {what}")]
    Value {
        /// Where it stands.
        place: String,
        /// What it should be.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// Use without a model.
    #[error("{place} names no model: export it grouped by model")]
    NoModel {
        /// Where it stands.
        place: String,
    },
}

impl AddAssign for BillLine {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cost += other.cost;
    }
}

impl Bill {
    /// Reads an export, JSON or CSV, whichever it is.
    ///
    /// # Errors
    /// [`BillError`] says what is not as expected, and where.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BillError> {
        let first = bytes.trim_ascii_start().first();
        if matches!(first, Some(b'{' | b'[')) { json::read(bytes) } else { table::read(bytes) }
    }

    /// The export is about this day, used or not.
    fn cover(&mut self, day: UtcDay) {
        let (first, last) = self.days.unwrap_or((day, day));
        self.days = Some((first.min(day), last.max(day)));
    }

    fn add(&mut self, day: UtcDay, model: &str, line: BillLine) {
        self.cover(day);
        *self.lines.entry((day, model.to_owned())).or_default() += line;
    }
}

/// OpenAI's items of costs are called `gpt-4o-mini-2024-07-18, input`.
fn model_of_item(item: &str) -> &str {
    item.split_once(", ").map_or(item, |(model, _)| model)
}

#[cfg(test)]
mod tests;
