//! Answers of the usage and cost APIs: pages of buckets of results.

use bh_domain::time::Timestamp;
use bh_domain::usage::UtcDay;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Bill, BillError, BillLine, amount, model_of_item};

/// Anthropic tells cents.
const CENTS: i32 = -2;

#[derive(Deserialize)]
struct Page {
    data: Vec<Bucket>,
}

/// A span of time.
#[derive(Deserialize)]
struct Bucket {
    /// OpenAI: seconds since 1970.
    start_time: Option<i64>,
    /// Anthropic: RFC 3339.
    starting_at: Option<String>,
    #[serde(alias = "result")]
    results: Vec<Row>,
}

/// What was used in it by what the answer is grouped by.
#[derive(Deserialize)]
struct Row {
    model: Option<String>,
    /// OpenAI, costs.
    line_item: Option<String>,
    /// OpenAI; with what came from a cache.
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    /// Anthropic; without what came from a cache or went there.
    uncached_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    /// OpenAI: `{value, currency}`. Anthropic: a text, in cents.
    amount: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct CacheCreation {
    #[serde(default)]
    ephemeral_5m_input_tokens: u64,
    #[serde(default)]
    ephemeral_1h_input_tokens: u64,
}

#[derive(Deserialize)]
struct OpenAiAmount {
    value: Box<RawValue>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Bill, BillError> {
    let is_list = bytes.trim_ascii_start().starts_with(b"[");
    let pages: Vec<Page> =
        if is_list { serde_json::from_slice(bytes)? } else { vec![serde_json::from_slice(bytes)?] };
    let mut bill = Bill::default();
    for (number, bucket) in pages.into_iter().flat_map(|page| page.data).enumerate() {
        let place = format!("data[{number}]");
        let day = day(&bucket, &place)?;
        bill.provider = Some(if bucket.start_time.is_some() { "openai" } else { "anthropic" });
        bill.cover(day);
        for (row, result) in bucket.results.iter().enumerate() {
            add(&mut bill, day, result, &format!("{place}.results[{row}]"))?;
        }
    }
    Ok(bill)
}

fn day(bucket: &Bucket, place: &str) -> Result<UtcDay, BillError> {
    let (value, at) = match (bucket.start_time, &bucket.starting_at) {
        (Some(seconds), _) => (seconds.to_string(), Some(Timestamp(seconds.saturating_mul(1_000)))),
        (None, Some(text)) => (text.clone(), Timestamp::parse(text).ok()),
        (None, None) => (String::new(), None),
    };
    let what = "start of a day (`start_time` or `starting_at`)";
    at.map(UtcDay::of).ok_or_else(|| BillError::Value { place: place.to_owned(), what, value })
}

fn add(bill: &mut Bill, day: UtcDay, row: &Row, place: &str) -> Result<(), BillError> {
    let written = row.cache_creation.as_ref();
    let written = written
        .map_or(0, |made| made.ephemeral_5m_input_tokens.saturating_add(made.ephemeral_1h_input_tokens));
    let parts = [row.input_tokens, row.uncached_input_tokens, row.cache_read_input_tokens, Some(written)];
    let line = BillLine {
        input: parts.into_iter().flatten().fold(0, u64::saturating_add),
        output: row.output_tokens.unwrap_or_default(),
        cost: row.amount.as_deref().map(|raw| cost(raw, place)).transpose()?.unwrap_or_default(),
    };
    bill.tells_tokens |= row.output_tokens.is_some();
    bill.tells_cost |= row.amount.is_some();
    let model = row.model.as_deref().or_else(|| row.line_item.as_deref().map(model_of_item));
    match model {
        Some(model) => bill.add(day, model, line),
        // What costs nothing and uses nothing is nobody's.
        None if line == BillLine::default() => {}
        None => return Err(BillError::NoModel { place: place.to_owned() }),
    }
    Ok(())
}

fn cost(raw: &RawValue, place: &str) -> Result<bh_domain::money::NanoUsd, BillError> {
    let text = raw.get();
    let read = if text.starts_with('{') {
        let amount: OpenAiAmount = serde_json::from_str(text)?;
        amount::parse(amount.value.get().trim_matches('"'), 0)
    } else {
        amount::parse(text.trim_matches('"'), CENTS)
    };
    let value =
        || BillError::Value { place: format!("{place}.amount"), what: "amount", value: text.to_owned() };
    read.ok_or_else(value)
}
