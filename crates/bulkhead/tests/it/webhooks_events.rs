//! What webhooks are told that no request tells of: budgets that fill up, months that end.

use bh_domain::money::NanoUsd;
use bh_domain::time::Timestamp;
use bh_domain::webhook::Month;
use bh_testkit::{Gateway, Recorded, Store, on_both_stores};
use serde_json::{Value, json};

use crate::keys_cache::SHARED;
use crate::money::{self, APP, CENT, at_once, call, count_of, provider, tamper};
use crate::webhooks_setup::{
    QUICK, delivery, event_ids, events_become, failing, gateway, hits, id, ids, local, ops, receiver, text,
    yaml,
};

/// What a receiver was told of budgets: kind, whose, period, and how much of it.
fn told(requests: &[Recorded]) -> Vec<(String, String, String, Value)> {
    let one = |request: &Recorded| {
        let body = request.json();
        let data = &body["data"];
        let level = &data["thresholdPercent"];
        (text(&body["type"]), text(&data["scope"]), text(&data["period"]), level.clone())
    };
    let mut told: Vec<_> = requests.iter().map(one).collect();
    told.sort_by_key(|one| format!("{one:?}"));
    told
}

fn wanted(scope: &str) -> Vec<(String, String, String, Value)> {
    let one = |kind: &str, level: Value| (kind.to_owned(), scope.to_owned(), "daily".to_owned(), level);
    vec![
        one("budget.exceeded", Value::Null),
        one("budget.threshold", json!(80)),
        one("budget.threshold", json!(95)),
    ]
}

/// Waits until the ledger says that the caller `app` has spent so much today.
async fn spent(gateway: &Gateway, amount: NanoUsd) {
    let deadline = std::time::Instant::now() + crate::webhooks_setup::PATIENCE;
    while money::day(gateway, APP, "app").await.settled != amount {
        assert!(std::time::Instant::now() < deadline, "{:?}", money::day(gateway, APP, "app").await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

on_both_stores! {
    /// Proves: TALON-47
    async fn a_budget_is_told_of_at_80_and_95_percent_and_when_it_is_used_up_once_each(store) {
        let (receiver, provider) = (receiver(), provider());
        let webhooks = format!(
            "webhooks:\n{QUICK}  endpoints:\n{}",
            local("ops", &receiver, ", events: ['budget.*'], tenants: [acme]")
        );
        // A call costs a cent, and so is a twentieth of the cap.
        let config = money::config(&provider, ["{max_daily_cost: 0.2}", "{}", "{}"], &webhooks);
        let gateway = money::gateway(&config).store(store).start().await;
        let ask = call(&gateway, APP);
        assert_eq!(count_of(&at_once(&ask, 15).await, 200), 15);
        spent(&gateway, CENT.times(15)).await;
        assert_eq!(ask.send().await.status, 200);
        let first = hits(&receiver, 1).await;
        let body = first[0].json();
        assert_eq!((&body["type"], &body["data"]["thresholdPercent"]), (&json!("budget.threshold"), &json!(80)), "{body}");
        assert_eq!(
            ["tenantId", "scope", "caller", "limit", "spent", "currency"].map(|name| text(&body["data"][name])),
            ["acme", "caller", "app", "0.2", "0.16", "USD"]
        );
        for _ in 0..4 {
            assert_eq!(ask.send().await.status, 200);
        }
        for _ in 0..3 {
            assert_eq!(ask.send().await.status, 403);
        }
        let requests = hits(&receiver, 3).await;
        assert_eq!(told(&requests), wanted("caller"));
        // What was told is told no more, also not by a process that knows nothing of it.
        let mut gateway = gateway;
        assert!(gateway.terminate().await);
        gateway.restart().await;
        assert_eq!(call(&gateway, APP).send().await.status, 403);
        spent(&gateway, CENT.times(20)).await;
        let listed = money::read(&gateway, money::ADMIN, "/api/v1/admin/webhooks/events").await;
        assert_eq!(listed["data"].as_array().unwrap().len(), 3, "{listed}");
        assert_eq!(ids(&receiver.requests()).len(), 3);
    }

    /// Proves: CONN-14
    async fn a_month_is_closed_once_by_hand_and_the_receiver_finds_it_where_seed_001_looks(store) {
        let receiver = receiver();
        let gateway = gateway(store, &yaml(&[local("billing", &receiver, ", events: [billing.*]")], QUICK)).start().await;
        let close = async |tenant: &str, month: &str| {
            let path = format!("/api/v1/admin/tenants/{tenant}/billing/close");
            ops(&gateway, "POST", &path).json(&json!({"month": month})).send().await
        };
        let month = Month::of(now()).previous().to_string();
        receiver.then(failing());
        let closed = close("acme", &month).await;
        let body = closed.json();
        assert_eq!((closed.status, &body["data"]["created"]), (201, &json!(true)), "{body}");
        let event = text(&body["data"]["id"]);
        assert_eq!(delivery(&gateway, &event, "delivered").await["attempts"], 2, "again after a failure");
        let request = receiver.last();
        let sent = request.json();
        assert_eq!((&sent["tenantId"], &sent["month"], id(&request)), (&json!("acme"), &json!(month), event.clone()));
        assert_eq!((&sent["type"], &sent["data"]["month"]), (&json!("billing.period_closed"), &json!(month)));
        assert_eq!(sent["data"]["periodStart"], Month::parse(&month).unwrap().start().rfc3339());

        let again = close("acme", &month).await;
        assert_eq!((again.status, &again.json()["data"]["id"]), (200, &json!(event)), "{}", again.text());
        assert_eq!(close("globex", &month).await.status, 201);
        assert_eq!(ids(&hits(&receiver, 3).await).len(), 2);
        let this_month = Month::of(now()).to_string();
        for (tenant, month, status, says) in [
            ("acme", this_month.as_str(), 400, "is not over"),
            ("acme", "October", 400, "such as 2026-10"),
            ("nobody", month.as_str(), 404, "No such tenant"),
        ] {
            let refused = close(tenant, month).await;
            assert_eq!(refused.status, status, "{}", refused.text());
            assert!(text(&refused.json()["error"]["message"]).contains(says), "{}", refused.text());
        }
        assert_eq!(receiver.hits(), 3);
    }

    async fn months_that_ended_while_the_gateway_was_down_are_closed_when_it_is_back(store) {
        let receiver = receiver();
        let wants = ", events: [billing.period_closed], tenants: [acme, globex, gone]";
        let config = yaml(&[local("billing", &receiver, wants)], QUICK);
        let mut gateway = gateway(store, &config).start().await;
        let last = Month::of(now()).previous();
        progress_becomes(&gateway, &last.to_string()).await;
        assert_eq!(event_ids(&gateway, "").await, Vec::<String>::new(), "what was before is not for us to bill");
        let reached = last.previous().previous();
        tamper(&gateway, &format!("UPDATE meta SET value = '{reached}' WHERE name = '{PROGRESS}'"));
        gateway.restart().await;
        let requests = hits(&receiver, 6).await;
        let mut told: Vec<_> = requests.iter().map(Recorded::json).map(|b| (text(&b["tenantId"]), text(&b["month"]))).collect();
        told.sort_unstable();
        let months = [last.previous(), last].map(|month| month.to_string());
        let each = |tenant: &str| months.clone().map(|month| (tenant.to_owned(), month));
        let everybodys = [each("acme"), each("globex"), each("gone")].concat();
        assert_eq!(told, everybodys, "the suspended one too: what it used before is owed");
        progress_becomes(&gateway, &last.to_string()).await;
        // Done over again, nobody is told twice.
        tamper(&gateway, &format!("UPDATE meta SET value = '{reached}' WHERE name = '{PROGRESS}'"));
        gateway.restart().await;
        progress_becomes(&gateway, &last.to_string()).await;
        assert_eq!(events_become(&gateway, "&state=delivered", 6).await.len(), ids(&receiver.requests()).len());
    }
}

#[tokio::test]
async fn two_gateways_tell_of_a_budget_that_they_share_once() {
    let (receiver, provider) = (receiver(), provider());
    let webhooks = format!(
        "{SHARED}webhooks:\n{QUICK}  endpoints:\n{}",
        local("ops", &receiver, ", events: ['budget.*']")
    );
    let config = money::config(&provider, ["{max_daily_cost: 0.2}", "{}", "{}"], &webhooks);
    let one = money::gateway(&config).store(Store::Postgres).start().await;
    let url = one.database().unwrap().url();
    let two = money::gateway(&format!("store: {{url: \"{url}\"}}\n{config}")).start().await;
    // Until neither has anything left: what one has leased the other cannot spend.
    let mut refused = 0;
    for n in 0..200 {
        let gateway = if n % 2 == 0 { &one } else { &two };
        refused = if call(gateway, APP).send().await.status == 200 { 0 } else { refused + 1 };
        if refused == 4 && money::day(&one, APP, "app").await.settled == CENT.times(20) {
            break;
        }
    }
    spent(&one, CENT.times(20)).await;
    let requests = hits(&receiver, 3).await;
    events_are(&two, 3).await;
    assert_eq!(told(&requests), wanted("caller"));
    assert_eq!((receiver.hits(), ids(&receiver.requests()).len()), (3, 3));
}

/// Asserts that so many events are there, and all of them delivered.
async fn events_are(gateway: &Gateway, count: usize) {
    for query in ["", "?state=delivered"] {
        let path = format!("/api/v1/admin/webhooks/events{query}");
        let deadline = std::time::Instant::now() + crate::webhooks_setup::PATIENCE;
        loop {
            let listed = money::read(gateway, money::ADMIN, &path).await;
            if listed["data"].as_array().unwrap().len() == count {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{listed}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

const PROGRESS: &str = "billing closed through";

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

/// Waits until months are closed through this one.
async fn progress_becomes(gateway: &Gateway, month: &str) {
    let deadline = std::time::Instant::now() + crate::webhooks_setup::PATIENCE;
    let reached = || tamper(gateway, &format!("SELECT value FROM meta WHERE name = '{PROGRESS}'"));
    while reached() != month {
        assert!(
            std::time::Instant::now() < deadline,
            "{} rather than {month}\n{}",
            reached(),
            gateway.output()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
