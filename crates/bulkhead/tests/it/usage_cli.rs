//! `bulkhead usage` and `bulkhead invoice`, beside a running gateway.

use bh_testkit::{CliOutput, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::usage::{FIRST, SECOND, provider, started, two_days};

fn ok(gateway: &Gateway, args: &[&str]) -> String {
    let ran = gateway.cli(args);
    assert!(ran.ok(), "{args:?}: {ran}");
    ran.stdout
}

fn refused(gateway: &Gateway, args: &[&str]) -> String {
    let CliOutput { code, stderr, .. } = gateway.cli(args);
    assert_ne!(code, Some(0), "{args:?}");
    stderr
}

/// The lines of a table, their cells parted by one space.
fn lines(table: &str) -> Vec<String> {
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

on_both_stores! {
    /// Proves: CONN-13
    async fn the_command_line_tells_usage_and_writes_invoices_in_every_form(store) {
        let provider = provider();
        let gateway = started(store, &provider).await;
        two_days(&gateway).await;

        let days = ["--from", FIRST, "--to", SECOND];
        let usage = |more: &[&str]| ok(&gateway, &[&["usage"], &days[..], more].concat());
        assert_eq!(
            lines(&usage(&[])),
            [
                "TENANT REQUESTS SERVED FAILED DENIED TOKENS COST CURRENCY VERIFICATIONS",
                "acme 15 9 2 4 153 0.36 USD 0",
                "default 0 0 0 0 0 0 USD 0",
                "globex 0 0 0 0 0 0 USD 0",
            ]
        );
        let by_day = lines(&usage(&["--by", "day"]));
        assert_eq!(by_day[1..], ["acme 2026-03-31 7 2 68 0.13 USD", "acme 2026-04-01 8 2 85 0.23 USD"]);
        let by_model = lines(&usage(&["--by", "model", "--tenant", "acme"]));
        assert_eq!(by_model[1..3], ["acme openai dime 3 51 0.3 USD", "acme openai penny 6 102 0.06 USD"]);
        assert_eq!(by_model[3], "acme - - 4 0 0 USD", "denied ones reached nobody");
        let march: Value = serde_json::from_str(&ok(&gateway, &["usage", "--month", "2026-03", "--tenant", "acme", "--json"])).unwrap();
        assert_eq!((&march[0]["requests"]["total"], &march[0]["endDate"]), (&json!(7), &json!("2026-03-31")));

        let invoice = |form: &str| ok(&gateway, &["invoice", "--tenant", "acme", "--month", "2026-04", "--format", form]);
        let table = lines(&invoice("table"));
        assert_eq!(table[0], "Invoice of acme for 2026-04");
        assert_eq!(table[2..], ["API calls 6 2 0.5 per 1000 0.002 USD", "Tool invocations 0 0 0 0 USD",
            "Custom servers 0 0 0 0 USD", "Key verifications 0 0 0 0 USD", "LLM usage 85 0 0.23 USD", "Total 0.232 USD"]);
        let json: Value = serde_json::from_str(&invoice("json")).unwrap();
        assert_eq!((&json["totalCost"], &json["month"]), (&json!("0.232"), &json!("2026-04")));
        let csv = invoice("csv");
        assert!(csv.contains("\r\nacme,2026-04,API calls,6,call,2,4,0.5,1000,0.002,USD\r\n"), "{csv}");
        let html = invoice("html");
        assert!(html.contains("<title>Invoice 2026-04, acme</title>") && html.contains("<td>0.232</td>"), "{html}");
        for outside in ["http", "src=", "<script", "url("] {
            assert!(!html.contains(outside), "{outside}: the page loads nothing");
        }
        let file = gateway.data_dir().join("invoice.html");
        ok(&gateway, &["invoice", "--tenant", "acme", "--format", "html", "--output", file.to_str().unwrap()]);
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("<!doctype html>"));
    }
}

/// A provider's export of the two days, with so many output tokens of `dime` on the second one.
fn export(gateway: &Gateway, output: u64) -> String {
    let rows = [
        format!("{FIRST},dime,7,10,0.1"),
        format!("{FIRST},penny,21,30,0.03"),
        format!("{SECOND},dime,14,{output},0.204"),
        format!("{SECOND},penny,21,30,0.03"),
    ];
    let file = gateway.data_dir().join(format!("export-{output}.csv"));
    std::fs::write(&file, format!("date,model,input_tokens,output_tokens,cost\n{}\n", rows.join("\n")))
        .unwrap();
    file.to_str().unwrap().to_owned()
}

on_both_stores! {
    async fn a_difference_from_what_a_provider_says_is_named_by_day_and_model(store) {
        let provider = provider();
        let gateway = started(store, &provider).await;
        two_days(&gateway).await;
        let reconcile = |export: &str, more: &[&str]| {
            gateway.cli(&[&["usage", "reconcile", "--provider-export", export, "--provider", "openai"], more].concat())
        };
        let same = export(&gateway, 20);
        let agreed = reconcile(&same, &[]);
        assert!(agreed.ok(), "half a cent is rounding: {agreed}");
        assert_eq!(lines(&agreed.stdout), ["openai, 2026-03-31 to 2026-04-01: 6 days of models agree"], "{agreed}");

        let planted = reconcile(&export(&gateway, 21), &[]);
        assert_eq!(planted.code, Some(1), "{planted}");
        let told = lines(&planted.stdout);
        assert_eq!(told, ["DAY MODEL WHAT OURS THEIRS DIFFERENCE", "2026-04-01 dime output_tokens 20 21 -1"]);
        assert!(planted.stderr.contains("1 numbers differ"), "{planted}");

        let strict = reconcile(&same, &["--cost-tolerance", "0.003", "--json"]);
        let report: Value = serde_json::from_str(&strict.stdout).unwrap();
        let dime = json!([{"day": SECOND, "model": "dime", "what": "cost", "ours": "0.2", "theirs": "0.204", "difference": "-0.004"}]);
        assert_eq!((strict.code, &report["differences"], &report["first_day"]), (Some(1), &dime, &json!(FIRST)));

        let nameless = refused(&gateway, &["usage", "reconcile", "--provider-export", &same]);
        assert!(nameless.contains("--provider"), "{nameless}");
        let missing = refused(&gateway, &["usage", "reconcile", "--provider-export", "nowhere.csv"]);
        assert!(missing.contains("nowhere.csv"), "{missing}");
    }
}

#[tokio::test]
async fn what_the_command_line_cannot_tell_is_said() {
    let provider = provider();
    let gateway = started(bh_testkit::Store::Sqlite, &provider).await;
    let asked: [(&[&str], &str); 5] = [
        (&["usage", "--tenant", "nobody"], "there is no tenant `nobody`"),
        (&["usage", "--month", "2026-13"], "`2026-13` is no month"),
        (&["usage", "--from", "2026-03-02", "--to", "2026-03-01"], "is before the first"),
        (&["invoice", "--tenant", "*"], "name it with --tenant"),
        (&["invoice", "--tenant", "acme", "--month", "march"], "`march` is no month"),
    ];
    for (args, words) in asked {
        let said = refused(&gateway, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
