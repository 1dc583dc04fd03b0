//! `bulkhead usage reconcile`: where our ledger and a provider's own export differ, by day and model.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bh_app::ports::{UsageDays, UsageStore as _};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Scope;
use bh_domain::usage::UtcDay;
use clap::Args;
use serde::Serialize;

use super::bill::{Bill, BillLine};
use crate::cli::audit::table::Table;
use crate::cli::costs::Books;
use crate::cli::{Failure, print};
use crate::load::ConfigSource;

/// The largest export that is read; a year by day, model and key fits.
const EXPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Providers round their costs: differences of no more than this are none.
const TOLERANCE_DEFAULT: &str = "0.01";

#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// What the provider says was used: an export of OpenAI's or Anthropic's usage or costs by model, JSON or CSV, or a
    /// CSV with the columns date, model, input_tokens, output_tokens and cost.
    #[arg(long, value_name = "FILE")]
    provider_export: PathBuf,
    /// Our id of the provider; without it, `openai` or `anthropic`, as the export's form tells.
    #[arg(long, value_name = "ID")]
    provider: Option<String>,
    /// Costs of a day and model that differ by no more than this agree: providers round.
    #[arg(long, value_name = "AMOUNT", default_value = TOLERANCE_DEFAULT, value_parser = NanoUsd::parse_decimal)]
    cost_tolerance: NanoUsd,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was compared.
#[derive(Debug, Serialize)]
struct Report {
    provider: String,
    first_day: String,
    last_day: String,
    /// Days and models that were compared.
    compared: usize,
    differences: Vec<Difference>,
}

/// A number that both sides tell, and tell differently.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    day: String,
    model: String,
    /// `input_tokens`, `output_tokens` or `cost`.
    what: &'static str,
    ours: String,
    theirs: String,
    /// Ours less theirs.
    difference: String,
}

pub(super) async fn run(source: &ConfigSource, args: ReconcileArgs) -> Result<(), Failure> {
    let bill = read(&args.provider_export)?;
    let named =
        || Failure::new("the export does not tell whose it is: name our id of the provider with --provider");
    let provider = args.provider.or(bill.provider.map(str::to_owned)).ok_or_else(named)?;
    let Some((first, last)) = bill.days else {
        return Err(Failure::new("the export is about no day: there is nothing to compare"));
    };
    let books = Books::open(source).await?;
    let scope = Scope::system("compare with what a provider charges");
    let days = UsageDays { first, last };
    let used = books.reader.store.usage_by_model_day(scope, provider.clone(), days).await?;
    if let Some(kept_from) = books.usage.kept_after(first).await? {
        return Err(Failure::new(format!(
            "the export begins with {first}, and usage is kept from {kept_from} on, as `usage.retention_days` says: export \
             from then on"
        )));
    }
    let ours = used.into_iter().map(|of| {
        let tokens = of.sums.tokens;
        let input = tokens.input + tokens.cache_read + tokens.cache_write;
        ((of.day, of.model), BillLine { input, output: tokens.output, cost: of.sums.cost })
    });
    let ours = Bill { lines: ours.collect(), ..Bill::default() };
    let (compared, differences) = compare(&ours, &bill, args.cost_tolerance);
    let found = differences.len();
    let (first_day, last_day) = (first.to_string(), last.to_string());
    let report = Report { provider, first_day, last_day, compared, differences };
    if args.json {
        print::json(&report)?
    } else {
        tell(&report)?
    }
    match found {
        0 => Ok(()),
        found => Err(Failure::new(format!("{found} numbers differ from the provider's export"))),
    }
}

fn read(path: &Path) -> Result<Bill, Failure> {
    let wrong = |cause: &dyn std::fmt::Display| Failure::new(format!("{}: {cause}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|cause| wrong(&cause))?;
    file.take(EXPORT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|cause| wrong(&cause))?;
    if bytes.len() as u64 > EXPORT_BYTES_MAX {
        return Err(wrong(&format!("larger than {EXPORT_BYTES_MAX} bytes: export a shorter time")));
    }
    Bill::read(&bytes).map_err(|cause| wrong(&cause))
}

/// How many days and models there are on either side, and where the sides differ.
fn compare(ours: &Bill, theirs: &Bill, tolerance: NanoUsd) -> (usize, Vec<Difference>) {
    let keys: BTreeSet<&(UtcDay, String)> = ours.lines.keys().chain(theirs.lines.keys()).collect();
    let of = |bill: &Bill, key| bill.lines.get(key).copied().unwrap_or_default();
    let mut differences = Vec::new();
    for key in &keys {
        let (own, other) = (of(ours, key), of(theirs, key));
        let mut differ = |what, ours: String, theirs: String, difference: String| {
            let (day, model) = (key.0.to_string(), key.1.clone());
            differences.push(Difference { day, model, what, ours, theirs, difference });
        };
        let tokens = [("input_tokens", own.input, other.input), ("output_tokens", own.output, other.output)];
        for (what, own, other) in
            tokens.into_iter().filter(|(_, own, other)| theirs.tells_tokens && own != other)
        {
            differ(
                what,
                own.to_string(),
                other.to_string(),
                (i128::from(own) - i128::from(other)).to_string(),
            );
        }
        let apart = own.cost - other.cost;
        if theirs.tells_cost && apart.0.unsigned_abs() > tolerance.0.unsigned_abs() {
            differ("cost", own.cost.to_string(), other.cost.to_string(), apart.to_string());
        }
    }
    (keys.len(), differences)
}

fn tell(report: &Report) -> Result<(), Failure> {
    let Report { provider, first_day, last_day, compared, differences } = report;
    if differences.is_empty() {
        return print::line(&format!(
            "{provider}, {first_day} to {last_day}: {compared} days of models agree"
        ));
    }
    let mut table = Table::new(&["DAY", "MODEL", "WHAT", "OURS", "THEIRS", "DIFFERENCE"]);
    for Difference { day, model, what, ours, theirs, difference } in differences {
        let what = (*what).to_owned();
        table.row([day.clone(), model.clone(), what, ours.clone(), theirs.clone(), difference.clone()]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(lines: &[(&str, u64, u64, i64)]) -> Bill {
        let day = UtcDay::parse("2026-03-31").unwrap();
        let line = |&(model, input, output, cost): &(&str, u64, u64, i64)| {
            ((day, model.to_owned()), BillLine { input, output, cost: NanoUsd(cost) })
        };
        Bill {
            lines: lines.iter().map(line).collect(),
            tells_tokens: true,
            tells_cost: true,
            ..Bill::default()
        }
    }

    #[test]
    fn each_number_that_differs_is_named_once_and_what_is_rounded_agrees() {
        let ours = bill(&[("a", 1, 2, 1_000), ("b", 5, 5, 50), ("ours", 0, 1, 0), ("failed", 0, 0, 0)]);
        let theirs = bill(&[("a", 1, 2, 1_010), ("b", 7, 5, 39), ("theirs", 0, 0, 11)]);
        let (compared, differences) = compare(&ours, &theirs, NanoUsd(10));
        let told: Vec<_> =
            differences.iter().map(|d| (d.model.as_str(), d.what, d.difference.as_str())).collect();
        let wanted = [
            ("b", "input_tokens", "-2"),
            ("b", "cost", "0.000000011"),
            ("ours", "output_tokens", "1"),
            ("theirs", "cost", "-0.000000011"),
        ];
        assert_eq!((compared, told.as_slice()), (5, &wanted[..]));
        let tokens_alone = Bill { tells_cost: false, ..theirs };
        assert_eq!(compare(&ours, &tokens_alone, NanoUsd(10)).1.len(), 2);
    }
}
