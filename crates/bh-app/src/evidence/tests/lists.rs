//! Lists, scopes, neighbours and traces.

use std::sync::Arc;

use bh_domain::evidence::record::Failover;
use bh_domain::tenant::Role;

use super::house::{ACME, House, NOW, acme, caller, draft, globex, record_id, tenant};
use crate::evidence::{Found, IndexEntry, Reach};
use crate::identity::{Operator, Principal};
use crate::ports::EvidenceFilter;
use crate::snapshot::Caps;

fn ids(entries: &[IndexEntry]) -> Vec<String> {
    let id = |entry: &IndexEntry| match entry {
        IndexEntry::Record(summary) => summary.id.to_string(),
        IndexEntry::Tombstone(left) => left.id.clone(),
    };
    entries.iter().map(id).collect()
}

fn numbers(tenant: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| record_id(tenant, number)).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_or_an_overlap() {
    let house = House::with(10).await;
    let mut filter = EvidenceFilter { limit: 4, ..Default::default() };
    let mut pages = Vec::new();
    loop {
        let page = house.evidence.page(&acme(), filter.clone()).await.unwrap();
        pages.push(ids(&page.entries));
        let Some(next) = page.next else { break };
        filter.after = Some(next);
    }
    let expected = [numbers("acme", [10, 9, 8, 7]), numbers("acme", [6, 5, 4, 3]), numbers("acme", [2, 1])];
    assert_eq!(pages, expected);
}

#[tokio::test]
async fn a_full_last_page_has_no_next_one() {
    let house = House::with(4).await;
    let filter = EvidenceFilter { limit: 4, ..Default::default() };
    let page = house.evidence.page(&acme(), filter).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (4, None));
}

#[tokio::test]
async fn a_cursor_of_another_tenant_widens_nothing() {
    let house = House::with(4).await;
    let filter = EvidenceFilter { limit: 2, ..Default::default() };
    let next = house.evidence.page(&acme(), filter.clone()).await.unwrap().next;
    let page =
        house.evidence.page(&globex(), EvidenceFilter { after: next, limit: 10, ..filter }).await.unwrap();
    assert_eq!(ids(&page.entries), numbers("globex", [3, 2, 1]));
}

#[tokio::test]
async fn an_entry_has_the_index_fields_and_money_is_text() {
    let house = House::with(1).await;
    let page = house.evidence.page(&acme(), EvidenceFilter { limit: 1, ..Default::default() }).await.unwrap();
    let expected = serde_json::json!({
        "id": "gw_acme_000001", "correlation_id": "corr-acme-0", "session_id": null,
        "timestamp": "2026-11-21T08:30:01.000Z", "tenant_id": "acme", "agent_id": "a", "invocation_type": "gateway",
        "allowed": true, "policy_action": "allow", "status": "completed", "cost": "0.000001", "currency": "USD",
        "model_used": "gpt-4o-mini", "provider": "openai", "duration_ms": 3, "has_error": false, "cache_hit": false,
        "cost_saved": "0", "compliance": {"data_location": "", "frameworks": []},
        "primary_explanation_code": null, "primary_explanation_reason": null, "seq": 1,
    });
    assert_eq!(serde_json::to_value(&page.entries[0]).unwrap(), expected);
}

#[tokio::test]
async fn a_foreign_record_is_as_absent_as_one_that_never_was() {
    let house = House::with(2).await;
    let foreign = record_id("globex", 1);
    for (reach, id) in [
        (acme(), foreign.as_str()),
        (acme(), "gw_never"),
        (Reach::Nobody { asked: "x".into() }, "gw_acme_000001"),
    ] {
        assert_eq!(house.evidence.record(&reach, id).await.unwrap(), None);
        assert_eq!(house.evidence.verify(&reach, id).await.unwrap(), None);
        assert!(house.evidence.trace(&reach, id).await.unwrap().is_none());
        assert_eq!(house.evidence.timeline(&reach, id, 1, 1).await.unwrap(), None);
    }
    let everywhere = house.evidence.record(&Reach::Everywhere, &foreign).await.unwrap();
    let stored =
        house.store.rows.lock().records.iter().find(|row| row.row.id == foreign).unwrap().record.clone();
    assert_eq!(everywhere, stored.map(Found::Record));
}

#[tokio::test]
async fn a_timeline_is_the_record_between_its_neighbours() {
    let house = House::with(9).await;
    let around = |before, after| {
        let evidence = house.evidence.clone();
        async move { ids(&evidence.timeline(&acme(), "gw_acme_000005", before, after).await.unwrap().unwrap()) }
    };
    assert_eq!(around(2, 1).await, numbers("acme", [3, 4, 5, 6]));
    assert_eq!(around(0, 0).await, numbers("acme", [5]));
    assert_eq!(around(100, 100).await, numbers("acme", 1..=9));
}

#[tokio::test]
async fn a_trace_has_the_calls_of_one_correlation_id_and_the_attempts_of_one_call() {
    let house = House::with(6).await;
    let trace = house.evidence.trace(&acme(), "gw_acme_000004").await.unwrap().unwrap();
    assert_eq!((ids(&trace.steps), trace.complete), (numbers("acme", [4, 5]), true));

    let failover = |role: &'static str, attempt| Failover {
        attempt,
        chain_position: 0,
        error_class: None,
        group_id: "fog_gw_call".into(),
        role: role.into(),
        upstream_status: None,
    };
    // The attempts lie far apart in time: only their ids tie them together.
    for (id, number, role) in [("gw_call", 2_000, "fallback_decision"), ("gw_call_a1", 7, "failed_attempt")] {
        let mut attempt = draft("acme", ACME, number);
        (attempt.id, attempt.correlation_id) = (id.into(), format!("only-{id}").into());
        attempt.failover = Some(failover(role, 1));
        house.put(attempt);
    }
    house.written().await;
    for id in ["gw_call", "gw_call_a1"] {
        let trace = house.evidence.trace(&acme(), id).await.unwrap().unwrap();
        assert_eq!(
            (ids(&trace.steps), trace.complete),
            (vec!["gw_call_a1".to_owned(), "gw_call".to_owned()], true)
        );
    }
}

#[tokio::test]
async fn a_trace_says_when_it_could_not_look_at_everything() {
    let house = House::new();
    for number in 1..=2_600 {
        let mut crowded = draft("acme", ACME, number);
        crowded.timestamp = NOW;
        crowded.session_id = [1, 2_600].contains(&number).then(|| "s".into());
        crowded.correlation_id = if [1, 2, 2_600].contains(&number) { "same" } else { "other" }.into();
        house.put(crowded);
    }
    house.written().await;
    let trace = house.evidence.trace(&acme(), "gw_acme_000001").await.unwrap().unwrap();
    // The second lies near, the last far beyond the limit, where the session leads.
    assert_eq!((ids(&trace.steps), trace.complete), (numbers("acme", [1, 2, 2_600]), false));
}

#[tokio::test]
async fn a_tenant_key_reaches_its_own_tenant_whatever_it_asks_for() {
    let house = House::new();
    let snapshot = house.live.load_full();
    let own = Principal::Caller(caller("a", &tenant("acme", ACME, "UTC", Caps::default()), Caps::default()));
    for asked in [None, Some(""), Some("*"), Some("globex"), Some("acme"), Some("no such"), Some("\u{0}")] {
        let reach = Reach::of(Some(&own), asked, &snapshot, house.store.as_ref()).await.unwrap();
        assert_eq!(reach, acme(), "{asked:?}");
        let unknown = Reach::of(None, asked, &snapshot, house.store.as_ref()).await.unwrap();
        assert_eq!(unknown.scope(), None, "nobody asks for {asked:?}");
    }
}

#[tokio::test]
async fn an_operator_reaches_whom_it_names_and_default_when_it_names_nobody() {
    let house = House::new();
    let snapshot = house.live.load_full();
    let operator = Principal::Operator(Arc::new(Operator { name: "ops".to_owned(), role: Role::Viewer }));
    let gone = super::fake::tenant_row("gone", bh_domain::tenant::Nid(uuid::Uuid::from_u128(9)));
    house.store.rows.lock().tenants.push(gone.clone());
    let nobody = |asked: &str| Reach::Nobody { asked: asked.to_owned() };
    let cases = [
        (None, nobody("default")),
        (Some(""), Reach::Everywhere),
        (Some("*"), Reach::Everywhere),
        (Some("globex"), globex()),
        (Some("gone"), Reach::Tenant { id: "gone".to_owned(), nid: gone.nid }),
        (Some("Not A Slug"), nobody("Not A Slug")),
        (Some("unknown"), nobody("unknown")),
    ];
    for (asked, expected) in cases {
        let reach = Reach::of(Some(&operator), asked, &snapshot, house.store.as_ref()).await.unwrap();
        assert_eq!(reach, expected, "{asked:?}");
    }
}

#[tokio::test]
async fn a_filter_narrows_and_an_unknown_tenant_has_nothing() {
    let house = House::with(12).await;
    let of = |reach: Reach, filter: EvidenceFilter| {
        let evidence = house.evidence.clone();
        async move { ids(&evidence.page(&reach, EvidenceFilter { limit: 100, ..filter }).await.unwrap().entries) }
    };
    let all = EvidenceFilter::default;
    assert_eq!(
        of(acme(), EvidenceFilter { allowed: Some(false), ..all() }).await,
        numbers("acme", [12, 9, 6, 3])
    );
    assert_eq!(
        of(acme(), EvidenceFilter { session_id: Some("s-5".into()), ..all() }).await,
        numbers("acme", [10, 5])
    );
    let from = NOW.plus_ms(11_000 - 3_600_000);
    assert_eq!(of(acme(), EvidenceFilter { from: Some(from), ..all() }).await, numbers("acme", [12, 11]));
    assert_eq!(of(Reach::Nobody { asked: "x".into() }, all()).await, Vec::<String>::new());
    assert_eq!(of(Reach::Everywhere, all()).await.len(), 15);
}
