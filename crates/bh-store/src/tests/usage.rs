//! The usage ledger: exact sums, whoever writes them and however old they are.

use std::sync::Arc;

use bh_app::ports::{
    Batch, EvidenceStore as _, ModelDay, OutboxEvent, OutboxStore as _, TenantUsage, UsageDays, UsageDelta,
    UsageKey, UsageStore as _, UsageSums,
};
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::usage::{Hour, Latency, UsageKind, UtcDay};
use bh_domain::webhook::{EventKind, Month, id_of_period};
use bh_testkit::on_both_stores;

use super::fixture::{Fixture, holder, nid, system};
use crate::SqlStore;
use crate::usage::statements;

const DAY: UtcDay = UtcDay(20_000);
const MODELS_MAX: u32 = 10;

/// A row of tenant `nid`: so many requests in an hour of [`DAY`] (or after it), each with its cost.
fn used(tenant: Nid, hour: i64, kind: UsageKind, model: &str, requests: u64) -> UsageDelta {
    let key = UsageKey::new(tenant, Hour(DAY.first_hour().0 + hour), kind, ["web", "openai", model]);
    UsageDelta { key, sums: counts(requests) }
}

fn counts(requests: u64) -> UsageSums {
    let mut latency = Latency::default();
    (0..requests).for_each(|_| latency.add(&Latency::one(100_000)));
    UsageSums {
        requests,
        denied: 2 * requests,
        failed: 3 * requests,
        units: 4 * requests,
        tokens: TokenCounts {
            input: 5 * requests,
            output: 6 * requests,
            cache_read: 7 * requests,
            cache_write: 8 * requests,
            reasoning: 9 * requests,
        },
        cost: NanoUsd(10).times(i64::try_from(requests).unwrap()),
        latency,
    }
}

/// The same without latency, as models are told.
fn plain(requests: u64) -> UsageSums {
    UsageSums { latency: Latency::default(), ..counts(requests) }
}

async fn append(store: &SqlStore, process: u128, usage: Vec<UsageDelta>) {
    store.append(Arc::new(Batch { holder: holder(process), usage, ..Batch::default() })).await.unwrap();
}

async fn read(store: &SqlStore, tenant: Nid, first: i64, last: i64) -> TenantUsage {
    let days = UsageDays { first: DAY.plus(first), last: DAY.plus(last) };
    store.usage(Scope::tenant(tenant), tenant, days, MODELS_MAX).await.unwrap()
}

/// Two processes write two days of two tenants.
async fn written(fixture: &Fixture) {
    use UsageKind::{Llm, Servers};
    let (acme, globex) = (nid(1), nid(2));
    let first =
        vec![used(acme, 0, Llm, "gpt", 1), used(acme, 23, Llm, "mini", 2), used(globex, 23, Llm, "gpt", 64)];
    append(&fixture.store, 1, first.clone()).await;
    append(&fixture.store, 1, first).await;
    append(&fixture.another_process().await, 2, vec![used(acme, 23, Llm, "gpt", 16)]).await;
    let servers = vec![
        used(acme, 24, Llm, "gpt", 5),
        used(acme, 24, Servers, "s1", 1),
        used(acme, 25, Servers, "s2", 1),
    ];
    append(&fixture.store, 1, servers).await;
}

on_both_stores! {
    async fn every_process_adds_to_the_same_days_and_no_tenant_to_anothers(kind) {
        let fixture = Fixture::new(kind).await;
        written(&fixture).await;
        let both = read(&fixture.store, nid(1), 0, 1).await;
        let days = [
            (DAY, UsageKind::Llm, counts(22)),
            (DAY.plus(1), UsageKind::Llm, counts(5)),
            (DAY.plus(1), UsageKind::Servers, counts(2)),
        ];
        assert_eq!(both.days, days);
        let model = |name: &str, requests| ("openai".to_owned(), name.to_owned(), plain(requests));
        assert_eq!(both.models, [model("gpt", 23), model("mini", 4)], "the dearest first, and no servers");
        assert_eq!(both.servers, 2);
        assert_eq!(read(&fixture.store, nid(1), 0, 0).await.days, days[..1], "the last hour belongs to its day");
        assert_eq!(read(&fixture.store, nid(1), 2, 9).await, TenantUsage::default());
        let days = UsageDays { first: DAY, last: DAY };
        let dearest = fixture.store.usage(system(), nid(1), days, 1).await.unwrap();
        assert_eq!(dearest.models, [model("gpt", 18)]);
        let foreign = fixture.store.usage(Scope::tenant(nid(1)), nid(2), days, MODELS_MAX).await.unwrap();
        assert_eq!(foreign, TenantUsage::default(), "a tenant's scope reaches no other");
    }

    async fn what_a_process_has_counted_is_set_and_not_added(kind) {
        let fixture = Fixture::new(kind).await;
        let row = |requests| vec![used(nid(1), 0, UsageKind::Keys, "", requests)];
        for requests in [1, 3, 3] {
            fixture.store.put_usage(holder(1), row(requests)).await.unwrap();
        }
        fixture.another_process().await.put_usage(holder(2), row(2)).await.unwrap();
        let days = read(&fixture.store, nid(1), 0, 0).await.days;
        let [(DAY, UsageKind::Keys, sums)] = days.as_slice() else { panic!("{days:?}") };
        assert_eq!((sums.requests, sums.denied), (5, 10), "two processes' own");
    }

    async fn rolling_up_changes_no_sum_and_forgetting_takes_whole_days(kind) {
        let fixture = Fixture::new(kind).await;
        let store = &fixture.store;
        written(&fixture).await;
        let before = [read(store, nid(1), 0, 1).await, read(store, nid(2), 0, 1).await];
        assert_eq!(store.roll_usage_up(DAY).await.unwrap(), 0, "nothing is that old");
        assert_eq!(store.roll_usage_up(DAY.plus(1)).await.unwrap(), 4);
        assert_eq!([read(store, nid(1), 0, 1).await, read(store, nid(2), 0, 1).await], before);
        // A record that comes late adds to a day that has been rolled up.
        append(store, 1, vec![used(nid(1), 0, UsageKind::Llm, "gpt", 1)]).await;
        assert_eq!(read(store, nid(1), 0, 0).await.days, [(DAY, UsageKind::Llm, counts(23))]);
        assert_eq!(store.roll_usage_up(DAY.plus(1)).await.unwrap(), 1);
        assert_eq!(read(store, nid(1), 0, 0).await.days, [(DAY, UsageKind::Llm, counts(23))]);
        assert_eq!(fixture.count("SELECT COUNT(*) FROM usage_hours").await, 3, "those of the second day");
        assert_eq!(fixture.count("SELECT COUNT(*) FROM usage_days").await, 3, "two models and another tenant's");

        assert_eq!(store.usage_kept_from().await.unwrap(), None);
        assert_eq!(store.forget_usage(DAY).await.unwrap(), 0);
        assert_eq!(store.usage_kept_from().await.unwrap(), Some(DAY));
        assert_eq!(store.forget_usage(DAY.plus(1)).await.unwrap(), 3);
        assert_eq!(store.forget_usage(DAY.plus(-9)).await.unwrap(), 0);
        assert_eq!(store.usage_kept_from().await.unwrap(), Some(DAY.plus(1)), "what is gone stays gone");
        assert_eq!(read(store, nid(1), 0, 1).await.days, before[0].days[1..]);
    }

    async fn what_comes_after_a_month_was_closed_counts_in_the_one_that_runs(kind) {
        use UsageKind::Llm;
        let fixture = Fixture::new(kind).await;
        let store = &fixture.store;
        let (acme, globex) = (nid(1), nid(2));
        let month = Month::of(DAY.first_hour().start());
        let close = |tenant, month| OutboxEvent {
            nid: tenant,
            id: id_of_period(tenant, month),
            kind: EventKind::BillingPeriodClosed,
            at: month.end(),
            payload: "{}".to_owned(),
            endpoints: Vec::new(),
        };
        store.close_periods(system(), vec![close(acme, month)]).await.unwrap();
        let today = UtcDay::of(crate::now());
        let mut running = used(acme, 0, Llm, "gpt", 8);
        running.key.hour = Hour::of(Month::of(crate::now()).start());
        let next_month = 24 * 31;
        let usage = vec![
            used(acme, 0, Llm, "gpt", 1),
            used(acme, 23, Llm, "gpt", 2),
            used(acme, next_month, Llm, "gpt", 32),
            used(globex, 0, Llm, "gpt", 4),
            running,
        ];
        append(store, 1, usage).await;
        assert_eq!(read(store, acme, 0, 0).await, TenantUsage::default(), "closed");
        assert_eq!(read(store, acme, 31, 31).await.days, [(DAY.plus(31), Llm, counts(32))], "not closed");
        assert_eq!(read(store, globex, 0, 0).await.days, [(DAY, Llm, counts(4))], "another tenant's");
        let days = UsageDays { first: DAY.plus(32), last: today };
        let moved = store.usage(Scope::tenant(acme), acme, days, MODELS_MAX).await.unwrap();
        let first = UtcDay::of(Month::of(crate::now()).start());
        assert_eq!(moved.days, [(first, Llm, counts(11))]);
        assert_eq!(moved.models, [("openai".to_owned(), "gpt".to_owned(), plain(11))], "at their own prices");
    }

    async fn models_of_every_tenant_are_told_by_day_to_a_system_scope_alone(kind) {
        let fixture = Fixture::new(kind).await;
        let store = &fixture.store;
        written(&fixture).await;
        store.roll_usage_up(DAY.plus(1)).await.unwrap();
        let days = UsageDays { first: DAY, last: DAY.plus(1) };
        let told = async |scope, provider: &str| store.usage_by_model_day(scope, provider.to_owned(), days).await.unwrap();
        let row = |day, model: &str, requests| ModelDay { day, model: model.to_owned(), sums: plain(requests) };
        let next = DAY.plus(1);
        let all = [
            row(DAY, "gpt", 146), row(DAY, "mini", 4), row(next, "gpt", 5), row(next, "s1", 1), row(next, "s2", 1),
        ];
        assert_eq!(told(system(), "openai").await, all);
        assert_eq!(told(system(), "anthropic").await, []);
        assert_eq!(told(Scope::tenant(nid(1)), "openai").await, []);
    }
}

/// Statements about usage, and the range of an index that each reads.
const RANGES: [(&str, &str); 7] = [
    (statements::BY_DAY, "(nid=? AND hour>? AND hour<?)"),
    (statements::BY_DAY, "(nid=? AND day>? AND day<?)"),
    (statements::BY_MODEL, "(nid=? AND hour>? AND hour<?)"),
    (statements::BY_MODEL_DAY, "usage_hours_by_hour (hour>? AND hour<?)"),
    (statements::ROLL_UP, "usage_hours_by_hour"),
    (statements::NEXT_HOURS, "usage_hours_by_hour (hour<?)"),
    (statements::FORGET_DAYS, "usage_days_by_day"),
];

#[tokio::test]
async fn usage_is_a_range_of_a_tenants_own_rows() {
    let fixture = Fixture::new(bh_testkit::Store::Sqlite).await;
    for (text, range) in RANGES {
        let steps = fixture.store.0.explain(text).await.unwrap();
        assert!(steps.iter().any(|step| step.contains(range)), "{steps:?}\n{text}");
    }
}

/// Rows of many tenants and hours, as PostgreSQL's planner would meet them.
const MANY_HOURS: &str = "INSERT INTO usage_hours SELECT 'tenant-' || n % 50, n / 50, 'llm', 'web', 'openai', 'gpt', 'p', \
    1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 FROM generate_series(1, 60000) AS n; \
    ANALYZE usage_hours";

#[tokio::test]
async fn postgresql_reads_a_tenants_month_by_index() {
    let fixture = Fixture::new(bh_testkit::Store::Postgres).await;
    let database = fixture.database.as_ref().unwrap();
    assert_eq!(database.sql(MANY_HOURS), "");
    let month = "'tenant-7', 100, 120, 4, 5";
    let asked = [
        (statements::BY_DAY, month.to_owned()),
        (statements::BY_MODEL, format!("{month}, 'llm', 100")),
        (statements::NEXT_HOURS, "100, 4999".to_owned()),
        (statements::FORGET_HOURS, "3, 'tenant-7'".to_owned()),
    ];
    for (text, args) in asked {
        let plan = super::plans::generic_plan(database, text, &args);
        assert!(plan.contains("Index") && !plan.contains("Seq Scan on usage_hours"), "{plan}\n{text}");
    }
}
