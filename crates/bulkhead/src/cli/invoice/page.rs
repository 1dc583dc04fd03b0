//! An invoice as one page: no script, nothing loaded, ready to be printed.

use std::fmt::Write as _;

use bh_app::usage::MonthUsage;
use bh_domain::time::Timestamp;

use super::price;
use crate::cli::audit::html::escaped;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto;color:#111}\
    table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #ccc;padding:.4rem .6rem;text-align:right}\
    th:first-child,td:first-child{text-align:left}tfoot td{border-top:2px solid #111;border-bottom:0;font-weight:600}\
    dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dd{margin:0}footer{color:#555;font-size:12px}\
    tr{break-inside:avoid}@media print{@page{margin:16mm}body{margin:0}}";

/// The page.
pub(super) fn html(usage: &MonthUsage, made: Timestamp) -> String {
    let (tenant, month, currency) = (escaped(&usage.tenant_id), &usage.month, escaped(&usage.currency));
    let mut rows = String::new();
    for item in &usage.line_items {
        // Writing to a string cannot fail.
        let _written = writeln!(
            rows,
            "<tr><td>{}</td><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(item.description),
            item.quantity,
            escaped(item.unit),
            item.included,
            escaped(&price(item)),
            item.amount,
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Invoice {month}, {tenant}</title>\
         <style>{STYLE}</style></head><body>\n<h1>Invoice</h1>\n<dl><dt>Tenant</dt><dd>{tenant}</dd>\
         <dt>Month</dt><dd>{month} (UTC)</dd><dt>Made</dt><dd><time>{made}</time></dd></dl>\n\
         <table><thead><tr><th>Item</th><th>Quantity</th><th>Included</th><th>Price</th><th>Amount, {currency}</th></tr>\
         </thead><tbody>\n{rows}</tbody><tfoot><tr><td colspan=\"4\">Total</td><td>{total}</td></tr></tfoot></table>\n\
         <footer><p>Denied requests, {denied} of them, are free. Made by Bulkhead {version} from its usage ledger.</p>\
         </footer>\n</body></html>\n",
        made = made.rfc3339(),
        total = usage.total_cost,
        denied = usage.denied_calls,
        version = env!("CARGO_PKG_VERSION"),
    )
}
