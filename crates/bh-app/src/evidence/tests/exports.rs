//! Exports: tables, and documents that verify offline.

use bh_domain::evidence::export::{Format, verify_export, verify_export_with_hmac};
use futures_util::TryStreamExt;

use super::house::{ACME, House, NOW, acme, draft, key, record_id, signing_key};
use crate::evidence::table::TableFormat;
use crate::evidence::{EXPORT_COLUMNS, ExportFormat, ExportQuery, Reach, ReadFault};

fn query(format: ExportFormat) -> ExportQuery {
    ExportQuery {
        caller: None,
        from: None,
        to: None,
        session_id: None,
        violations_only: false,
        limit: 1_000_000,
        format,
    }
}

async fn try_export(house: &House, reach: &Reach, query: &ExportQuery) -> Result<String, ReadFault> {
    let pieces = house.evidence.export(reach, query, NOW).await?;
    let pieces: Vec<_> = pieces.try_collect().await?;
    Ok(String::from_utf8(pieces.concat()).unwrap())
}

async fn export(house: &House, reach: &Reach, query: &ExportQuery) -> String {
    try_export(house, reach, query).await.unwrap()
}

const CSV: ExportFormat = ExportFormat::Table(TableFormat::Csv);
const JSON: ExportFormat = ExportFormat::Table(TableFormat::Json);
const NDJSON: ExportFormat = ExportFormat::Table(TableFormat::Ndjson);

#[tokio::test]
async fn a_csv_has_the_dossiers_header_and_disarms_formulas() {
    let house = House::with(3).await;
    let text = export(&house, &acme(), &ExportQuery { violations_only: true, ..query(CSV) }).await;
    let header = "id,timestamp,tenant_id,agent_id,invocation_type,allowed,policy_action,cost,model_used,provider,\
        input_tokens,output_tokens,duration_ms,has_error,input_tier,output_tier,pii_detected,pii_redacted,\
        policy_reasons,tools_called,input_hash,output_hash,upstream_auth_mode,upstream_key_source,\
        upstream_key_fingerprint,gateway_annotations,primary_explanation_code,primary_explanation_reason,\
        primary_version_identity,flow_destinations,flow_regions,flow_entity_types";
    let row = format!(
        "gw_acme_000003,2026-11-21T08:30:03.000Z,acme,a,gateway,false,deny,0,gpt-4o-mini,openai,5,7,3,false,,,,,\
         \"'=no, \"\"really\"\"\",,sha256:{},sha256:{},,,,,,,v1,,,",
        "aa".repeat(32),
        "bb".repeat(32)
    );
    assert_eq!(text, format!("{header}\r\n{row}\r\n"));
}

#[tokio::test]
async fn json_is_one_array_and_ndjson_one_object_a_line_over_many_pages() {
    let house = House::with(1_203).await;
    let ids = |values: Vec<serde_json::Value>| -> Vec<String> {
        assert!(values.iter().all(|value| value.as_object().unwrap().keys().eq(EXPORT_COLUMNS)));
        values.iter().map(|value| value["id"].as_str().unwrap().to_owned()).collect()
    };
    let expected: Vec<_> = (1..=1_203).rev().map(|number| record_id("acme", number)).collect();
    let json = export(&house, &acme(), &query(JSON)).await;
    assert_eq!(ids(serde_json::from_str(&json).unwrap()), expected);
    let ndjson = export(&house, &acme(), &query(NDJSON)).await;
    assert_eq!(ids(ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect()), expected);
    let limited = export(&house, &acme(), &ExportQuery { limit: 502, ..query(JSON) }).await;
    assert_eq!(ids(serde_json::from_str(&limited).unwrap()), expected[..502]);
}

#[tokio::test]
async fn nothing_is_an_empty_table() {
    let house = House::with(1).await;
    let nobody = Reach::Nobody { asked: "x".to_owned() };
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&export(&house, &nobody, &query(JSON)).await).unwrap(),
        serde_json::json!([])
    );
    assert_eq!(export(&house, &nobody, &query(NDJSON)).await, "");
}

#[tokio::test]
async fn a_signed_export_verifies_with_the_public_key_alone() {
    let house = House::with(1_100).await;
    for format in [Format::Json, Format::Ndjson] {
        let text = export(&house, &acme(), &query(ExportFormat::Signed(format))).await;
        let report = verify_export_with_hmac(text.as_bytes(), &signing_key().public_key(), &key()).unwrap();
        assert_eq!((report.records, report.groups.len()), (1_100, 1));
        assert_eq!(
            (report.groups[0].tenant_id.as_str(), &report.groups[0].seqs),
            ("acme", &vec![[1, 1_100]])
        );
    }
}

#[tokio::test]
async fn a_filtered_signed_export_of_every_tenant_verifies_with_its_gaps() {
    let house = House::with(1_100).await;
    let violations = ExportQuery { violations_only: true, ..query(ExportFormat::Signed(Format::Ndjson)) };
    let text = export(&house, &Reach::Everywhere, &violations).await;
    let report = verify_export(text.as_bytes(), &signing_key().public_key()).unwrap();
    let groups: Vec<_> =
        report.groups.iter().map(|group| (group.tenant_id.as_str(), group.records)).collect();
    assert_eq!((report.records, groups), (367, vec![("globex", 1), ("acme", 366)]));
    assert_eq!(report.groups[1].seqs[..2], [[3, 3], [6, 6]]);
}

#[tokio::test]
async fn records_that_were_committed_out_of_the_order_of_time_still_export() {
    let house = House::new();
    for number in [5, 1, 4, 2, 3] {
        house.put(draft("acme", ACME, number));
    }
    house.written().await;
    let text = export(&house, &acme(), &query(ExportFormat::Signed(Format::Json))).await;
    assert_eq!(verify_export(text.as_bytes(), &signing_key().public_key()).unwrap().records, 5);
}

#[tokio::test]
async fn a_record_edited_in_the_store_is_named_by_whoever_verifies_the_export() {
    let house = House::with(9).await;
    house.store.edit(&record_id("acme", 4), |row| {
        row.record = row.record.take().map(|text| text.replace("gpt-4o-mini", "gpt-4o-maxi"));
    });
    let text = export(&house, &acme(), &query(ExportFormat::Signed(Format::Ndjson))).await;
    let error = verify_export(text.as_bytes(), &signing_key().public_key()).unwrap_err().to_string();
    assert_eq!(error, "record at index 3, id gw_acme_000004, seq 4: its content or signature was changed");
}

#[tokio::test]
async fn a_signed_export_that_lost_a_record_on_the_way_has_no_end() {
    let house = House::with(9).await;
    let signed = query(ExportFormat::Signed(Format::Json));
    let pieces = house.evidence.export(&acme(), &signed, NOW).await.unwrap();
    house.store.edit(&record_id("acme", 4), |row| row.record = None);
    let outcome: Result<Vec<_>, _> = pieces.try_collect().await;
    assert!(matches!(outcome, Err(ReadFault::Build(_))));
}
