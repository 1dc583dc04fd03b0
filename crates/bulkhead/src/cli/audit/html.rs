//! Evidence as one page for people: no script, nothing loaded, ready to be printed.

use bh_domain::time::Timestamp;
use serde_json::{Map, Value};

/// What a row of the page shows of the columns of an export.
const COLUMNS: [(&str, &str); 12] = [
    ("Time", "timestamp"),
    ("Record", "id"),
    ("Tenant", "tenant_id"),
    ("Agent", "agent_id"),
    ("Type", "invocation_type"),
    ("Action", "policy_action"),
    ("Model", "model_used"),
    ("Provider", "provider"),
    ("Input tokens", "input_tokens"),
    ("Output tokens", "output_tokens"),
    ("Cost", "cost"),
    ("Reason", "primary_explanation_code"),
];

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#111}\
    table{border-collapse:collapse;width:100%;font-size:12px}\
    th,td{border-bottom:1px solid #ccc;padding:.3rem .5rem;text-align:left;overflow-wrap:anywhere}\
    tr.denied td{background:#fdecea}code,pre{font:12px/1.4 ui-monospace,monospace}\
    pre{background:#f4f4f4;padding:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}\
    thead{display:table-header-group}tr{break-inside:avoid}\
    @media print{@page{size:landscape;margin:12mm}body{margin:0}}";

/// A page in the making: [`head`](Self::head), each [`row`](Self::row), [`tail`](Self::tail).
#[derive(Debug)]
pub(super) struct Page {
    tenant: String,
    made: Timestamp,
    public_key: String,
    limit: u32,
    records: u64,
    denied: u64,
}

impl Page {
    /// A page about a tenant (`*` is every tenant) with at most `limit` records.
    pub(super) fn new(tenant: &str, made: Timestamp, public_key: String, limit: u32) -> Self {
        Self { tenant: tenant.to_owned(), made, public_key, limit, records: 0, denied: 0 }
    }

    /// What stands before the rows.
    pub(super) fn head(&self) -> String {
        let whose = if self.tenant == "*" { "every tenant".to_owned() } else { escaped(&self.tenant) };
        let made = self.made.rfc3339();
        let headings: String = COLUMNS.iter().map(|(heading, _)| format!("<th>{heading}</th>")).collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Evidence of {whose}</title>\
             <style>{STYLE}</style></head><body>\n<h1>Evidence of {whose}</h1>\n\
             <p>Made by Bulkhead {} at <time>{made}</time>. Newest first.</p>\n\
             <table><thead><tr>{headings}</tr></thead><tbody>\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Appends one record, given as the members of its row.
    pub(super) fn row(&mut self, record: &Map<String, Value>, to: &mut String) {
        self.records += 1;
        let denied = record.get("allowed") == Some(&Value::Bool(false));
        self.denied += u64::from(denied);
        to.push_str(if denied { "<tr class=\"denied\">" } else { "<tr>" });
        for (_, member) in COLUMNS {
            to.push_str("<td>");
            to.push_str(&escaped(&text(record.get(member))));
            to.push_str("</td>");
        }
        to.push_str("</tr>\n");
    }

    /// What stands after the rows.
    pub(super) fn tail(&self) -> String {
        let Self { records, denied, .. } = self;
        let more = if *records >= u64::from(self.limit) { " Older records are left out." } else { "" };
        let tenant =
            if self.tenant == "*" { String::new() } else { format!(" --tenant {}", escaped(&self.tenant)) };
        let key = escaped(&self.public_key);
        format!(
            "</tbody></table>\n<p>{records} records, {denied} denied.{more}</p>\n<h2>How to verify</h2>\n\
             <p>This page is a copy for reading and proves nothing by itself. The signed form of the same records does; \
             whoever verifies it needs no access to the server, only this public key, obtained from the operator in \
             another way than this page:</p>\n<pre>{key}</pre>\n\
             <pre>bulkhead audit export --format signed-json{tenant} --output evidence.json\n\
             bulkhead audit verify --file evidence.json --public-key {key}</pre>\n</body></html>\n"
        )
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            other.to_string()
        }
    }
}

/// The text as markup that shows it.
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_its_records_and_what_callers_wrote_is_no_markup() {
        let mut page = Page::new("acme", Timestamp(0), "bulkhead+00000000+key".to_owned(), 2);
        let record = serde_json::json!({"id": "gw_1", "allowed": false, "model_used": "<script>alert('x')</script>",
            "input_tokens": 3});
        let mut rows = String::new();
        page.row(record.as_object().unwrap(), &mut rows);
        let wanted = "<tr class=\"denied\"><td></td><td>gw_1</td><td></td><td></td><td></td><td></td>\
            <td>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</td><td></td><td>3</td><td></td><td></td><td></td></tr>\n";
        assert_eq!(rows, wanted);
        assert!(page.tail().contains("<p>1 records, 1 denied.</p>"));
        page.row(&Map::new(), &mut rows);
        assert!(page.tail().contains("<p>2 records, 1 denied. Older records are left out.</p>"));
        assert!(page.head().contains("<title>Evidence of acme</title>"));
    }
}
