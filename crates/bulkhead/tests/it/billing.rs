//! What a month comes to, whoever asks for it and whenever: the same prices, and never the sum of a part.

use bh_domain::time::Timestamp;
use bh_domain::webhook::Month;
use bh_testkit::{Answer, Call, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::money::{ADMIN, APP, CALL_TOKENS, call, config, gateway, read, tamper};
use crate::usage::{FIRST, SECOND, emptied, policies, provider, tariff, two_days, until};
use crate::webhooks_setup::{self, QUICK, local, receiver, yaml};

const TENANTS: &str = "/api/v1/admin/tenants";

/// Makes a tenant at run time; its key.
async fn made(gateway: &Gateway, settings: &Value) -> String {
    let answer = Call::post(gateway.at(TENANTS), settings).bearer(ADMIN).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["data"]["apiKey"].as_str().unwrap().to_owned()
}

/// This month of a tenant, as the API prices it.
async fn month(gateway: &Gateway, tenant: &str) -> Value {
    read(gateway, ADMIN, &format!("{TENANTS}/{tenant}/usage")).await["data"].take()
}

/// This month of a tenant, as the command line prices it.
fn invoice(gateway: &Gateway, tenant: &str) -> Value {
    let ran = gateway.cli(&["invoice", "--tenant", tenant, "--json"]);
    assert!(ran.ok(), "{ran}");
    serde_json::from_str(&ran.stdout).unwrap()
}

on_both_stores! {
    async fn an_invoice_of_a_tenant_that_was_made_at_run_time_has_the_prices_of_its_plan(store) {
        let provider = provider();
        let plans = "plans: {pro: {prices: {api_calls_per_1k: 250}, included: {api_calls: 1}}}\n";
        let yaml = config(&provider, policies(), &format!("{}{plans}", tariff("0.5")));
        let gateway = gateway(&yaml).store(store).start().await;
        let key = made(&gateway, &json!({"id": "made", "plan": "pro"})).await;
        for _ in 0..3 {
            assert_eq!(call(&gateway, &key).send().await.status, 200);
        }
        made(&gateway, &json!({"id": "plain"})).await;
        until(|| async { month(&gateway, "made").await["apiCalls"] == 3 }).await;
        let told = month(&gateway, "made").await;
        // One is included, two are at a quarter; and three at a cent each are passed on.
        assert_eq!(["apiCallsCost", "totalCost"].map(|name| &told[name]), ["0.5", "0.53"], "{told}");
        assert_eq!(told["tokens"]["output"], 3 * CALL_TOKENS);
        assert_eq!(invoice(&gateway, "made"), told);
        assert_eq!(invoice(&gateway, "plain"), month(&gateway, "plain").await);
        assert_eq!(invoice(&gateway, "acme"), month(&gateway, "acme").await);

        let gone = Call::new("DELETE", gateway.at(&format!("{TENANTS}/made?confirm=true"))).bearer(ADMIN).send().await;
        assert!(gone.status < 300, "{}", gone.text());
        assert_eq!(month(&gateway, "made").await, told, "what it used before is owed");
        assert_eq!(invoice(&gateway, "made"), told);
    }

    async fn a_month_of_which_days_were_forgotten_is_refused_by_everybody_and_never_told_too_small(store) {
        let provider = provider();
        let kept = |days: u32| {
            config(&provider, policies(), &format!("{}usage: {{retention_days: {days}}}\n", tariff("0.5")))
        };
        let mut gateway = gateway(&kept(36_500)).store(store).start().await;
        two_days(&gateway).await;
        let days = format!("{TENANTS}/acme/metrics?startDate={FIRST}&endDate={SECOND}");
        let whole = read(&gateway, ADMIN, &days).await;
        assert_eq!((&whole["data"]["keptFrom"], &whole["data"]["requests"]["total"]), (&Value::Null, &json!(15)));

        gateway.try_restart_as(|setup| setup.config(&kept(1))).await.unwrap();
        for table in ["usage_hours", "usage_days"] {
            emptied(&gateway, table).await;
        }
        let rest = read(&gateway, ADMIN, &days).await["data"].take();
        let since = rest["keptFrom"].as_str().unwrap().to_owned();
        assert_eq!(rest["requests"]["total"], 0);
        let today = format!("{TENANTS}/acme/metrics?startDate={since}");
        assert_eq!(read(&gateway, ADMIN, &today).await["data"]["keptFrom"], Value::Null);
        refused_everywhere(&gateway, &since).await;
        let table = gateway.cli(&["usage", "--tenant", "acme", "--from", FIRST, "--to", SECOND]);
        assert!(table.ok() && table.stderr.contains(&format!("kept from {since} on")), "{table}");

        // A tenant is shown with its month, as far as that is known whole.
        let month = ask(&gateway, "GET", "/usage").await;
        let shown = read(&gateway, ADMIN, &format!("{TENANTS}/acme")).await["data"]["usage"].take();
        assert_eq!(shown, if month.status == 200 { month.json()["data"].clone() } else { Value::Null });

        // What was forgotten does not come back when more is kept from now on.
        gateway.try_restart_as(|setup| setup.config(&kept(36_500))).await.unwrap();
        refused_everywhere(&gateway, &since).await;
    }
}

on_both_stores! {
    async fn a_month_once_closed_stays_closed_when_the_event_that_told_of_it_is_forgotten(store) {
        let receiver = receiver();
        let config = yaml(&[local("billing", &receiver, ", events: [billing.*]")], QUICK);
        let mut gateway = webhooks_setup::gateway(store, &config).start().await;
        let last = last_month();
        let close = async |gateway: &Gateway| {
            let path = format!("{TENANTS}/acme/billing/close");
            let closed = webhooks_setup::ops(gateway, "POST", &path).json(&json!({"month": last.to_string()})).send().await;
            (closed.status, closed.json()["data"].take())
        };
        let (status, first) = close(&gateway).await;
        assert_eq!((status, &first["created"]), (201, &json!(true)), "{first}");
        let delivered = webhooks_setup::delivery(&gateway, first["id"].as_str().unwrap(), "delivered").await;
        assert_eq!(delivered["attempts"], 1);
        until(|| async { progress(&gateway) == last.to_string() }).await;

        // As when `retention_days` are over.
        tamper(&gateway, "DELETE FROM outbox_deliveries");
        tamper(&gateway, "DELETE FROM outbox_events");
        let (status, again) = close(&gateway).await;
        assert_eq!((status, &again["created"], &again["deliveries"]), (200, &json!(false), &json!([])), "{again}");
        assert_eq!(["id", "type", "tenantId", "timestamp", "payload"].map(|name| &again[name]),
            ["id", "type", "tenantId", "timestamp", "payload"].map(|name| &first[name]));
        // The months are gone through again: the others' is closed, this one's is.
        let before = last.previous();
        tamper(&gateway, &format!("UPDATE meta SET value = '{before}' WHERE name = 'billing closed through'"));
        gateway.restart().await;
        until(|| async { progress(&gateway) == last.to_string() }).await;
        let mut told: Vec<String> = webhooks_setup::hits(&receiver, 4).await.iter()
            .map(|request| request.json()["tenantId"].as_str().unwrap().to_owned()).collect();
        told.sort_unstable();
        assert_eq!(told, ["acme", "default", "globex", "gone"]);
        let listed = webhooks_setup::event_ids(&gateway, "").await;
        assert!(listed.len() == 3 && !listed.contains(&first["id"].as_str().unwrap().to_owned()), "{listed:?}");
    }
}

fn last_month() -> Month {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Month::of(Timestamp(i64::try_from(since.as_millis()).unwrap())).previous()
}

/// The last month that was closed for everybody.
fn progress(gateway: &Gateway) -> String {
    tamper(gateway, "SELECT value FROM meta WHERE name = 'billing closed through'")
}

async fn ask(gateway: &Gateway, method: &str, path: &str) -> Answer {
    Call::new(method, gateway.at(&format!("{TENANTS}/acme{path}"))).bearer(ADMIN).send().await
}

/// A month that reaches back before this day has no price at any door, and cannot be closed.
async fn refused_everywhere(gateway: &Gateway, since: &str) {
    let said = [&format!("kept from {since} on"), "2026-03", "usage.retention_days"];
    let close =
        Call::post(gateway.at(&format!("{TENANTS}/acme/billing/close")), &json!({"month": "2026-03"}));
    let own = Call::get(gateway.at("/api/v1/usage?month=2026-03")).bearer(APP);
    for answer in [
        ask(gateway, "GET", "/usage?month=2026-03").await,
        own.send().await,
        close.bearer(ADMIN).send().await,
    ] {
        let told = answer.json();
        assert_eq!((answer.status, &told["error"]["code"]), (400, &json!("VALIDATION_ERROR")), "{told}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(said.iter().all(|word| message.contains(*word)), "{message}");
        assert_eq!(told["error"]["context"]["field"], "month", "{told}");
    }
    for args in [
        ["invoice", "--tenant", "acme", "--month", "2026-03"],
        ["usage", "--tenant", "acme", "--month", "2026-03"],
    ] {
        let ran = gateway.cli(&args);
        assert!(!ran.ok() && said.iter().all(|word| ran.stderr.contains(*word)), "{args:?}: {ran}");
        assert_eq!(ran.stdout, "");
    }
}
