//! Tables with a row of names first: what the dashboards let one download, and tables that people make.

use bh_domain::time::Timestamp;
use bh_domain::usage::UtcDay;
use csv::StringRecord;

use super::{Bill, BillError, BillLine, amount, model_of_item};

/// What columns are called: Anthropic's console, OpenAI's, and plainly.
const DAYS: &[&str] = &["usage_date_utc", "start_time_iso", "start_time", "date", "day"];
const MODELS: &[&str] = &["model_version", "model", "line_item"];
/// All of these are input.
const INPUTS: &[&str] = &[
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_read",
    "input_tokens",
];
const OUTPUTS: &[&str] = &["usage_output_tokens", "output_tokens"];
const COSTS: &[&str] = &["cost_usd", "amount_value", "cost", "amount"];

/// Where things stand in a row.
struct Columns {
    day: usize,
    model: usize,
    inputs: Vec<usize>,
    output: Option<usize>,
    cost: Option<usize>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Bill, BillError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let names = reader.headers()?.clone();
    let columns = Columns::of(&names)?;
    let has = |name: &str| names.iter().any(|own| own == name);
    let provider = if has("usage_date_utc") {
        Some("anthropic")
    } else {
        (has("start_time_iso") || has("num_model_requests")).then_some("openai")
    };
    let tells_tokens = columns.output.is_some();
    let mut bill = Bill { provider, tells_tokens, tells_cost: columns.cost.is_some(), ..Bill::default() };
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        columns.add(&mut bill, &row, &format!("line {line}"))?;
    }
    Ok(bill)
}

impl Columns {
    fn of(names: &StringRecord) -> Result<Self, BillError> {
        let place = |name: &&str| names.iter().position(|own| own.eq_ignore_ascii_case(name));
        let first = |known: &[&str]| known.iter().find_map(place);
        let needed = |what, known: &[&str]| {
            first(known).ok_or_else(|| BillError::NoColumn { what, known: known.join(", ") })
        };
        let columns = Self {
            day: needed("the day", DAYS)?,
            model: needed("the model", MODELS)?,
            inputs: INPUTS.iter().filter_map(place).collect(),
            output: first(OUTPUTS),
            cost: first(COSTS),
        };
        if columns.output.is_none() && columns.cost.is_none() {
            let known = [OUTPUTS, COSTS].concat().join(", ");
            return Err(BillError::NoColumn { what: "tokens or costs", known });
        }
        Ok(columns)
    }

    fn add(&self, bill: &mut Bill, row: &StringRecord, place: &str) -> Result<(), BillError> {
        let day = day(cell(row, self.day), place)?;
        let mut line = BillLine::default();
        for column in &self.inputs {
            line.input = line.input.saturating_add(count(cell(row, *column), place)?);
        }
        line.output = self.output.map_or(Ok(0), |column| count(cell(row, column), place))?;
        if let Some(text) = self.cost.map(|column| cell(row, column)).filter(|text| !text.is_empty()) {
            line.cost = amount::parse(text, 0).ok_or_else(|| wrong(place, "amount", text))?;
        }
        let model = model_of_item(cell(row, self.model));
        if !model.is_empty() {
            bill.add(day, model, line);
        } else if line == BillLine::default() {
            // A span without use.
            bill.cover(day);
        } else {
            return Err(BillError::NoModel { place: place.to_owned() });
        }
        Ok(())
    }
}

fn cell(row: &StringRecord, column: usize) -> &str {
    row.get(column).unwrap_or_default()
}

fn count(text: &str, place: &str) -> Result<u64, BillError> {
    if text.is_empty() { Ok(0) } else { text.parse().map_err(|_| wrong(place, "number of tokens", text)) }
}

/// A date, an instant, or seconds since 1970.
fn day(text: &str, place: &str) -> Result<UtcDay, BillError> {
    let seconds = || Some(Timestamp(text.parse::<i64>().ok()?.checked_mul(1_000)?));
    let at = Timestamp::parse(text).ok().or_else(seconds);
    at.map(UtcDay::of).ok_or_else(|| wrong(place, "day", text))
}

fn wrong(place: &str, what: &'static str, value: &str) -> BillError {
    BillError::Value { place: place.to_owned(), what, value: value.to_owned() }
}
