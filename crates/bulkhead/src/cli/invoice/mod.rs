//! `bulkhead invoice`: what a tenant owes for a month, for people, for programs, for spreadsheets and for printing.

mod page;

use std::path::PathBuf;

use bh_app::usage::{LineItem, MonthUsage};
use bh_wire::csv::CsvWriter;
use clap::{Args, ValueEnum};

use super::Failure;
use super::audit::output::Output;
use super::audit::table::Table;
use super::costs::Books;
use crate::load::ConfigSource;

#[derive(Debug, Args)]
pub(crate) struct InvoiceArgs {
    /// The tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: String,
    /// The month in UTC, such as 2026-11; without it, this one as far as it goes.
    #[arg(long, value_name = "MONTH")]
    month: Option<String>,
    /// Form: `html` is one page to print, without anything to load.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// File to write, readable by its owner alone; standard output without it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
    Csv,
    Html,
}

/// The columns of an invoice as CSV.
const CSV_COLUMNS: [&str; 11] = [
    "tenant_id",
    "month",
    "description",
    "quantity",
    "unit",
    "included",
    "billable",
    "unit_price",
    "price_units",
    "amount",
    "currency",
];

/// Runs `bulkhead invoice`.
pub(super) async fn run(source: ConfigSource, args: InvoiceArgs) -> Result<(), Failure> {
    let books = Books::open(&source).await?;
    let month = books.usage.month_of(args.month.as_deref())?;
    let accounts = books.accounts(Some(&args.tenant)).await?;
    let [account] = accounts.as_slice() else {
        return Err(Failure::new("an invoice is one tenant's: name it with --tenant"));
    };
    let usage = books.usage.month(account, month).await?;
    let text = match if args.json { Form::Json } else { args.format } {
        Form::Table => table(&usage),
        Form::Json => format!("{}\n", serde_json::to_string_pretty(&usage)?),
        Form::Csv => csv(&usage),
        Form::Html => page::html(&usage, books.reader.now()),
    };
    let mut output = Output::open(args.output.as_deref())?;
    output.write(text.as_bytes())?;
    output.finish()
}

/// `0.5 per 1000`; empty for what is passed on.
fn price(item: &LineItem) -> String {
    match item.unit_price {
        None => String::new(),
        Some(price) if item.price_units == 1 => price.to_string(),
        Some(price) => format!("{price} per {}", item.price_units),
    }
}

fn table(usage: &MonthUsage) -> String {
    let mut table = Table::new(&["ITEM", "QUANTITY", "INCLUDED", "PRICE", "AMOUNT", "CURRENCY"]);
    let currency = || usage.currency.clone();
    for item in &usage.line_items {
        table.row([
            item.description.to_owned(),
            item.quantity.to_string(),
            item.included.to_string(),
            price(item),
            item.amount.to_string(),
            currency(),
        ]);
    }
    let none = String::new;
    table.row(["Total".to_owned(), none(), none(), none(), usage.total_cost.to_string(), currency()]);
    format!("Invoice of {} for {}\n{}\n", usage.tenant_id, usage.month, table.text())
}

fn csv(usage: &MonthUsage) -> String {
    let mut csv = CsvWriter::new();
    csv.row(CSV_COLUMNS);
    for item in &usage.line_items {
        let unit_price = item.unit_price.map(|price| price.to_string()).unwrap_or_default();
        csv.row([
            usage.tenant_id.clone(),
            usage.month.clone(),
            item.description.to_owned(),
            item.quantity.to_string(),
            item.unit.to_owned(),
            item.included.to_string(),
            item.billable.to_string(),
            unit_price,
            item.price_units.to_string(),
            item.amount.to_string(),
            usage.currency.clone(),
        ]);
    }
    csv.take()
}
