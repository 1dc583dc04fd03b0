//! Costs over a ledger in memory.

use std::sync::Arc;

use bh_domain::budget::Owner;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use futures_util::TryStreamExt;
use serde_json::json;

use super::{CostExport, CostReads, Day};
use crate::evidence::Reach;
use crate::evidence::tests::house::{ACME, GLOBEX, House, acme, globex};
use crate::ports::{Clock, Figures, SpendDelta, Store};

fn spent(nid: Nid, caller: &str, day: &str, nano: i64) -> SpendDelta {
    let owner = Owner::Caller(caller.to_owned());
    let (window, cost) = (day.to_owned(), NanoUsd(nano));
    SpendDelta { nid, owner, window, calls: 1, denied: 0, failed: 0, tokens: Default::default(), cost }
}

/// It is the 21st in UTC and already the 21st, late, in Auckland (+13): 22:30.
fn house() -> (House, CostReads) {
    let house = House::new();
    house.store.rows.lock().spend = vec![
        spent(ACME, "a", "2026-11-21", 500_000_000),
        spent(ACME, "b", "2026-11-21", 250_000_000),
        spent(ACME, "a", "2026-11-01", 1_000_000_000),
        spent(ACME, "a", "2026-10-31", 7_000_000_000),
        spent(GLOBEX, "g", "2026-11-21", 3_000_000_000),
    ];
    let store = Arc::clone(&house.store) as Arc<dyn Store>;
    let costs = CostReads::new(store, Arc::clone(&house.clock) as Arc<dyn Clock>, Arc::clone(&house.live));
    (house, costs)
}

async fn body(costs: &CostReads, reach: &Reach, caller: Option<&str>) -> serde_json::Value {
    serde_json::to_value(costs.costs(reach, caller).await.unwrap()).unwrap()
}

#[tokio::test]
async fn costs_are_the_days_and_the_months_sums_of_what_is_in_reach() {
    let (_house, costs) = house();
    let of = |tenant: &str, agent: &str, daily: &str, monthly: &str| json!({"tenant_id": tenant, "agent_id": agent, "daily": daily, "monthly": monthly, "currency": "USD"});
    assert_eq!(body(&costs, &acme(), None).await, of("acme", "", "0.75", "1.75"));
    assert_eq!(body(&costs, &acme(), Some("b")).await, of("acme", "b", "0.25", "0.25"));
    assert_eq!(body(&costs, &acme(), Some("g")).await, of("acme", "g", "0", "0"));
    assert_eq!(body(&costs, &Reach::Everywhere, None).await, of("*", "", "3.75", "4.75"));
    assert_eq!(body(&costs, &Reach::Nobody { asked: "x".into() }, None).await, of("x", "", "0", "0"));
}

#[tokio::test]
async fn a_day_is_the_tenants_own() {
    let (house, costs) = house();
    house
        .clock
        .0
        .store(Timestamp::parse("2026-11-20T12:00:00Z").unwrap().0, std::sync::atomic::Ordering::Relaxed);
    // Past midnight in Auckland, noon in UTC.
    assert_eq!(body(&costs, &globex(), None).await["daily"], "3");
    assert_eq!(body(&costs, &acme(), None).await["daily"], "0");
}

#[tokio::test]
async fn a_report_covers_its_days_and_the_last_thirty_by_default() {
    let (_house, costs) = house();
    let report = costs.report(&acme(), None, None, None).await.unwrap();
    assert_eq!((report.from.as_str(), report.to.as_str()), ("2026-10-23", "2026-11-21"));
    assert_eq!((report.total, report.total_eur), (NanoUsd(8_750_000_000), NanoUsd(8_750_000_000)));
    let agents: Vec<_> = report.by_agent.iter().map(|agent| (agent.agent_id.as_str(), agent.cost)).collect();
    assert_eq!(agents, [("a", NanoUsd(8_500_000_000)), ("b", NanoUsd(250_000_000))]);

    let day = |text| Some(Day::parse(text).unwrap());
    let narrow =
        costs.report(&acme(), Some("a"), day("2026-11-01"), day("2026-11-20T23:59:59Z")).await.unwrap();
    assert_eq!((narrow.to.as_str(), narrow.total), ("2026-11-20", NanoUsd(1_000_000_000)));
    let all = costs.report(&Reach::Everywhere, None, None, None).await.unwrap();
    let whose: Vec<_> =
        all.by_agent.iter().map(|agent| (agent.tenant_id.as_str(), agent.agent_id.as_str())).collect();
    assert_eq!(whose, [("acme", "a"), ("acme", "b"), ("globex", "g")]);
    assert_eq!(all.by_agent.iter().map(|agent| agent.cost).sum::<NanoUsd>(), all.total);
}

#[tokio::test]
async fn a_budget_tells_what_is_used_leased_and_unsettled_and_whose_cap_it_is() {
    let (house, costs) = house();
    let figures =
        Figures { settled: NanoUsd(500_000_000), leased: NanoUsd(20_000_000), unsettled: NanoUsd(3) };
    let key = (ACME, Owner::Caller("a".to_owned()), "2026-11-21".to_owned());
    house.store.rows.lock().figures.insert(key, figures);
    let budget = costs.budget(&acme(), Some("a")).await.unwrap();
    let expected = json!({
        "tenant_id": "acme", "agent_id": "a", "daily_used": "0.5", "monthly_used": "0", "daily_limit": "1",
        "monthly_limit": "10", "daily_leased": "0.02", "monthly_leased": "0",
        "unsettled": {"daily": "0.000000003", "monthly": "0"}, "currency": "USD",
        "window_ends_at": {"daily": "2026-11-22T00:00:00.000Z", "monthly": "2026-12-01T00:00:00.000Z"},
        "budget_source": "agent_effective_cap", "note": "Caps of this agent; the tenant's own caps hold beside them",
    });
    assert_eq!(serde_json::to_value(budget).unwrap(), expected);
}

#[tokio::test]
async fn the_source_of_a_cap_is_named() {
    let (_house, costs) = house();
    let nobody = Reach::Nobody { asked: "x".to_owned() };
    let cases = [
        (acme(), None, "unresolved_multi_agent", None),
        (acme(), Some("g"), "unknown_agent", None),
        (globex(), None, "policy_cost_limits", Some(NanoUsd(9_000_000_000))),
        (globex(), Some("g"), "agent_effective_cap", None),
        (Reach::Everywhere, None, "organization_cap", None),
        (nobody, None, "policy_cost_limits", None),
    ];
    for (reach, caller, source, limit) in cases {
        let budget = costs.budget(&reach, caller).await.unwrap();
        let told = serde_json::to_value(budget.budget_source).unwrap();
        assert_eq!((told.as_str(), budget.daily_limit), (Some(source), limit), "{reach:?} {caller:?}");
    }
    let ends = costs.budget(&globex(), None).await.unwrap().window_ends_at;
    assert_eq!(ends.daily.rfc3339(), "2026-11-21T11:00:00.000Z");
}

#[tokio::test]
async fn an_export_has_a_row_for_each_decision() {
    let house = House::with(3).await;
    let store = Arc::clone(&house.store) as Arc<dyn Store>;
    let costs = CostReads::new(store, Arc::clone(&house.clock) as Arc<dyn Clock>, Arc::clone(&house.live));
    let export = CostExport { caller: Some("a".to_owned()), from: None, to: None, limit: 10, csv: true };
    let pieces: Vec<_> = costs.export(&acme(), export.clone()).try_collect().await.unwrap();
    let expected = "evidence_id,tenant_id,agent_id,timestamp,model,provider,cost_eur,input_tokens,output_tokens,\
        policy_decision,policy_reason\r\n\
        gw_acme_000003,acme,a,2026-11-21T08:30:03.000Z,gpt-4o-mini,openai,0,5,7,deny,\"'=no, \"\"really\"\"\"\r\n\
        gw_acme_000001,acme,a,2026-11-21T08:30:01.000Z,gpt-4o-mini,openai,0.000001,5,7,allow,\r\n";
    assert_eq!(String::from_utf8(pieces.concat()).unwrap(), expected);
    let pieces: Vec<_> =
        costs.export(&acme(), CostExport { csv: false, ..export }).try_collect().await.unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&pieces.concat()).unwrap();
    assert_eq!(
        (rows.as_array().unwrap().len(), &rows[1]["cost_eur"], &rows[1]["input_tokens"]),
        (2, &json!("0.000001"), &json!(5))
    );
}
