use bh_domain::money::NanoUsd;
use bh_domain::usage::UtcDay;

use super::{Bill, BillLine};

fn day(text: &str) -> UtcDay {
    UtcDay::parse(text).unwrap()
}

fn lines(bill: &Bill) -> Vec<(String, &str, BillLine)> {
    bill.lines.iter().map(|((day, model), line)| (day.to_string(), model.as_str(), *line)).collect()
}

fn told(input: u64, output: u64, cost: i64) -> BillLine {
    BillLine { input, output, cost: NanoUsd(cost) }
}

#[test]
fn openais_usage_and_costs_are_read_by_day_and_model() {
    // 2026-03-31 and 2026-04-01, the first in two buckets of an hour.
    let usage = r#"[{"object":"page","data":[
        {"object":"bucket","start_time":1774915200,"end_time":1774918800,"results":[
            {"object":"organization.usage.completions.result","input_tokens":100,"input_cached_tokens":40,"output_tokens":7,
             "num_model_requests":1,"model":"gpt-4o-mini-2024-07-18","project_id":null}]},
        {"start_time":1774918800,"results":[{"input_tokens":1,"output_tokens":2,"model":"gpt-4o-mini-2024-07-18"}]}]},
        {"data":[{"start_time":1775001600,"results":[]}]}]"#;
    let bill = Bill::read(usage.as_bytes()).unwrap();
    assert_eq!(lines(&bill), [("2026-03-31".to_owned(), "gpt-4o-mini-2024-07-18", told(101, 9, 0))]);
    assert_eq!(bill.days, Some((day("2026-03-31"), day("2026-04-01"))), "a day without use is one too");
    assert_eq!((bill.provider, bill.tells_tokens, bill.tells_cost), (Some("openai"), true, false));

    let costs = r#"{"data":[{"start_time":1774915200,"results":[
        {"amount":{"value":0.0600000000000000001,"currency":"usd"},"line_item":"gpt-4o, input"},
        {"amount":{"value":4e-2,"currency":"usd"},"line_item":"gpt-4o, output"}]}]}"#;
    let bill = Bill::read(costs.as_bytes()).unwrap();
    assert_eq!(lines(&bill), [("2026-03-31".to_owned(), "gpt-4o", told(0, 0, 100_000_000))]);
    assert_eq!((bill.tells_tokens, bill.tells_cost), (false, true));
}

#[test]
fn anthropics_usage_and_costs_are_read_with_caches_and_in_cents() {
    let usage = r#"{"data":[{"starting_at":"2026-03-31T00:00:00Z","ending_at":"2026-04-01T00:00:00Z","results":[
        {"uncached_input_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":10,"ephemeral_5m_input_tokens":100},
         "cache_read_input_tokens":1000,"output_tokens":5,"model":"claude-opus-4"}]}],"has_more":false,"next_page":null}"#;
    let bill = Bill::read(usage.as_bytes()).unwrap();
    assert_eq!(lines(&bill), [("2026-03-31".to_owned(), "claude-opus-4", told(1_111, 5, 0))]);
    assert_eq!(bill.provider, Some("anthropic"));
    let costs = r#"{"data":[{"starting_at":"2026-03-31T00:00:00Z","results":[
        {"currency":"USD","amount":"123.45","model":"claude-opus-4","token_type":"output_tokens"}]}]}"#;
    let bill = Bill::read(costs.as_bytes()).unwrap();
    assert_eq!(lines(&bill), [("2026-03-31".to_owned(), "claude-opus-4", told(0, 0, 1_234_500_000))]);
}

#[test]
fn tables_of_both_and_plain_ones_are_read() {
    let console = "\u{feff}usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
        usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,\
        web_search_count\r\n2026-03-31,claude-opus-4,\"a, b\",Default,standard,200k,1,10,100,1000,5,0\r\n\
        2026-03-31,claude-opus-4,other,Default,standard,200k,1,0,0,0,1,0\r\n";
    let bill = Bill::read(console.as_bytes()).unwrap();
    assert_eq!(lines(&bill), [("2026-03-31".to_owned(), "claude-opus-4", told(1_112, 6, 0))]);
    assert_eq!(bill.provider, Some("anthropic"));

    let dashboard = "start_time,end_time,start_time_iso,end_time_iso,model,num_model_requests,input_tokens,output_tokens\n\
        1774915200,1774915260,2026-03-31T00:00:00+00:00,2026-03-31T00:01:00+00:00,gpt-4o,1,20,3\n\
        1775001600,1775001660,2026-04-01T00:00:00+00:00,2026-04-01T00:01:00+00:00,,,,\n";
    let bill = Bill::read(dashboard.as_bytes()).unwrap();
    assert_eq!(lines(&bill), [("2026-03-31".to_owned(), "gpt-4o", told(20, 3, 0))]);
    assert_eq!((bill.provider, bill.days), (Some("openai"), Some((day("2026-03-31"), day("2026-04-01")))));

    let plain = "Date, Model, Input_Tokens, Output_Tokens, Cost\n2026-03-31, m, 1, 2, 0.5\n";
    let bill = Bill::read(plain.as_bytes()).unwrap();
    assert_eq!(lines(&bill), [("2026-03-31".to_owned(), "m", told(1, 2, 500_000_000))]);
    assert_eq!(bill.provider, None);
}

#[test]
fn what_is_no_export_is_named_with_its_place() {
    let cases = [
        ("", "no column for the day"),
        ("date,model\n", "no column for tokens or costs"),
        ("day,output_tokens\n", "no column for the model: one of model_version, model, line_item"),
        ("date,model,output_tokens\n2026-03-31,m,many\n", "line 2: `many` is no number of tokens"),
        ("date,model,cost\nyesterday,m,1\n", "line 2: `yesterday` is no day"),
        ("date,model,cost\n2026-03-31,,1\n", "line 2 names no model"),
        ("date,model,cost\n2026-03-31,m\n", "no usage export as CSV"),
        ("{}", "missing field `data`"),
        (r#"{"data":[{"results":[]}]}"#, "data[0]: `` is no start of a day"),
        (
            r#"{"data":[{"start_time":1,"results":[{"output_tokens":1}]}]}"#,
            "data[0].results[0] names no model",
        ),
        (r#"{"data":[{"start_time":1,"results":[{"amount":{"value":"x"},"model":"m"}]}]}"#, "is no amount"),
    ];
    for (text, words) in cases {
        let said = Bill::read(text.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(words), "{text}: {said}");
    }
}
