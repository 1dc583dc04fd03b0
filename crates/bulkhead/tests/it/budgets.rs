//! Money through the real binary: what a cap admits, what it refuses, and what the ledger says about it.

use std::time::{Duration, Instant};

use bh_domain::money::NanoUsd;
use bh_domain::time::{DAY_MS, Timestamp};
use bh_testkit::{Reply, Script, Usage, on_both_stores};
use serde_json::{Value, json};

use crate::money::{
    ADMIN, APP, BATCH, CENT, TOKEN, WEB, amount, at_once, call, call_of, config, count_of, day, entries,
    gateway, provider, read, reload, sum,
};
use crate::verify_setup::PATIENCE;

const NO_POLICY: &str = "{}";

fn refused_by(answer: &bh_testkit::Answer, code: &str) -> Value {
    let body = answer.json();
    assert_eq!((answer.status, body["error"]["code"].as_str()), (403, Some(code)), "{body}");
    body["error"].clone()
}

on_both_stores! {
    /// Proves: TALON-05
    async fn a_caller_over_its_daily_cap_is_refused_and_nobody_else_is(store) {
        let provider = provider();
        // A call holds 40 tokens and costs 60: 0.6 of the cap, as the provider reports it.
        provider.reply(Reply::text("ok").using(Usage::of(7, 60)));
        let config = config(&provider, ["{max_daily_cost: 0.1}", "{max_daily_cost: 0.1}", NO_POLICY], "");
        let gateway = gateway(&config).store(store).start().await;
        let ask = call_of(&gateway, APP, "penny", 40);
        assert_eq!([ask.send().await.status, ask.send().await.status], [200, 200]);

        let mut error = refused_by(&ask.send().await, "budget_exceeded");
        // What calls used beyond their holds reaches the store by itself: until then a little seems to be left.
        let deadline = Instant::now() + PATIENCE;
        while error["remaining"] != "0" {
            assert!(Instant::now() < deadline, "{error}");
            error = refused_by(&ask.send().await, "budget_exceeded");
        }
        let told = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(["limit", "remaining", "needed", "currency"].map(told), ["0.1", "0", "0.04", "USD"]);
        let ends = Timestamp::parse(&told("window_ends_at")).unwrap();
        let budget = read(&gateway, APP, "/v1/costs/budget?agent_id=app").await;
        assert_eq!(budget["window_ends_at"]["daily"], told("window_ends_at"));
        assert_eq!(ends.0 % DAY_MS, 0, "the day ends at midnight, UTC");

        assert_eq!(call_of(&gateway, BATCH, "penny", 40).send().await.status, 200, "another caller is unaffected");
        assert_eq!(provider.hits(), 3);
        // What was used beyond the reservation is on the books as well.
        assert_eq!(amount(&budget["daily_used"]), TOKEN.times(120));
        let denied = entries(&gateway, APP).await.into_iter().find(|e| e["agent_id"] == "app" && e["allowed"] == false);
        let denied = read(&gateway, APP, &format!("/v1/evidence/{}", denied.unwrap()["id"].as_str().unwrap())).await;
        assert_eq!((&denied["status"], &denied["failure_reason"]), (&json!("denied"), &json!("budget_exceeded")));
        assert_eq!(denied["cost_budget"], json!({"estimate": "0.04", "limit": "0.1", "period": "daily", "spent": "0.1"}));
        assert_eq!(denied["explanations"][0]["code"], "POLICY_DENIED_COST");
    }

    /// Proves: TALON-05
    async fn a_second_call_that_might_pass_the_cap_is_refused_before_the_provider_is_asked(store) {
        let provider = provider();
        provider.reply(Reply::text("ok").using(Usage::of(7, 60)));
        let config = config(&provider, ["{max_daily_cost: 0.1}", NO_POLICY, NO_POLICY], "");
        let gateway = gateway(&config).store(store).start().await;
        let ask = call_of(&gateway, APP, "penny", 60);
        assert_eq!(ask.send().await.status, 200);
        let error = refused_by(&ask.send().await, "budget_exceeded");
        assert_eq!((&error["remaining"], &error["needed"]), (&json!("0.04"), &json!("0.06")));
        assert_eq!(provider.hits(), 1);
        assert_eq!(call_of(&gateway, APP, "penny", 40).send().await.status, 200, "what fits is still admitted");
    }

    /// Proves: TALON-06
    async fn a_monthly_cap_holds_until_the_month_ends(store) {
        let provider = provider();
        let config = config(&provider, ["{max_monthly_cost: 0.02}", NO_POLICY, NO_POLICY], "");
        let gateway = gateway(&config).store(store).start().await;
        let answers = at_once(&call(&gateway, APP), 5).await;
        assert_eq!((count_of(&answers, 200), provider.hits()), (2, 2));
        let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
        let error = refused_by(refused, "budget_exceeded");
        assert_eq!((&error["budget"], &error["limit"]), (&json!("caller monthly"), &json!("0.02")));
        let ends = error["window_ends_at"].as_str().unwrap();
        assert!(ends.ends_with("-01T00:00:00.000Z"), "{ends}");
        let budget = read(&gateway, APP, "/v1/costs/budget?agent_id=app").await;
        assert_eq!((amount(&budget["monthly_used"]), &budget["monthly_limit"]), (CENT.times(2), &json!("0.02")));
    }

    /// Proves: TALON-06, TALON-38
    async fn a_session_cap_for_three_calls_admits_three_of_five_at_once(store) {
        let provider = provider();
        let config = config(&provider, ["{max_session_cost: 0.03}", NO_POLICY, NO_POLICY], "");
        let gateway = gateway(&config).store(store).start().await;
        provider.on(|_| Some(Script::openai_error(500, "server_error", "down")));
        let in_session = |id: &str| call(&gateway, APP).header("x-talon-session-id", id);
        let failed = at_once(&in_session("s1"), 3).await;
        assert_eq!(count_of(&failed, 500), 3, "failures hold nothing afterwards");
        provider.forget();
        provider.on(|_| None);

        let answers = at_once(&in_session("s1"), 5).await;
        assert_eq!((count_of(&answers, 200), provider.hits()), (3, 3));
        let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
        assert_eq!(refused.header("x-talon-session-id"), Some("s1"));
        let error = refused_by(refused, "session_budget_exceeded");
        assert_eq!((&error["limit"], &error["remaining"]), (&json!("0.03"), &json!("0")));
        assert_eq!(in_session("s2").send().await.status, 200, "another session has its own budget");
        assert_eq!(call(&gateway, APP).send().await.status, 200, "and so has a call without one");

        let denied = read(&gateway, APP, "/v1/evidence?session_id=s1&allowed=false").await;
        let denied = denied["entries"].as_array().unwrap();
        assert_eq!(denied.len(), 2);
        let record = read(&gateway, APP, &format!("/v1/evidence/{}", denied[0]["id"].as_str().unwrap())).await;
        assert_eq!(record["session_budget"], json!({"estimate": "0.01", "limit": "0.03", "spent": "0.03"}));
    }

    /// The session's header may carry our own name, and the session is known again after a restart.
    async fn a_session_that_is_used_up_stays_so_after_a_restart(store) {
        let provider = provider();
        let config = config(&provider, ["{max_session_cost: 0.02}", NO_POLICY, NO_POLICY], "");
        let mut gateway = gateway(&config).store(store).start().await;
        let statuses = async |gateway: &bh_testkit::Gateway| {
            let answers = at_once(&call(gateway, APP).header("x-bulkhead-session-id", "s1"), 4).await;
            (count_of(&answers, 200), count_of(&answers, 403))
        };
        assert_eq!(statuses(&gateway).await, (2, 2));
        assert!(gateway.terminate().await);
        gateway.restart().await;
        assert_eq!((statuses(&gateway).await, provider.hits()), ((0, 4), 2));
    }

    /// The caps of a tenant and of the organisation bind all of their callers together.
    async fn callers_share_what_their_tenant_and_the_organisation_may_spend(store) {
        let provider = provider();
        let more = "tenants: [{id: acme, budgets: {daily: 0.04}}]\nbudgets: {organization: {daily: 0.06}}\n";
        let config = config(&provider, [NO_POLICY; 3], more);
        let gateway = gateway(&config).store(store).start().await;
        let mut admitted = count_of(&at_once(&call(&gateway, APP), 3).await, 200);
        let mixed = at_once(&call(&gateway, BATCH), 3).await;
        admitted += count_of(&mixed, 200);
        assert_eq!(admitted, 4, "acme may spend four cents");
        let refused = mixed.iter().find(|answer| answer.status != 200).unwrap();
        assert_eq!(refused_by(refused, "budget_exceeded")["budget"], "tenant daily");

        let others = at_once(&call(&gateway, WEB), 5).await;
        assert_eq!((count_of(&others, 200), provider.hits()), (2, 6), "and everybody together six");
        let refused = others.iter().find(|answer| answer.status != 200).unwrap();
        assert_eq!(refused_by(refused, "budget_exceeded")["budget"], "organization daily");
        let tenant = read(&gateway, APP, "/v1/costs/budget").await;
        assert_eq!((amount(&tenant["daily_used"]), &tenant["daily_limit"]), (CENT.times(4), &json!("0.04")));
        let all = read(&gateway, ADMIN, "/v1/costs/budget?tenant_id=*").await;
        assert_eq!((amount(&all["daily_used"]), &all["daily_limit"]), (CENT.times(6), &json!("0.06")));
    }

    /// Caps in a new configuration bind at the next call, in both directions.
    async fn a_cap_that_is_lowered_or_raised_by_a_reload_binds_at_once(store) {
        let provider = provider();
        let with = |cap: &str| config(&provider, [&format!("{{max_daily_cost: {cap}}}"), NO_POLICY, NO_POLICY], "");
        let mut gateway = gateway(&with("1.00")).store(store).start().await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 5).await, 200), 5);
        reload(&mut gateway, &with("0.06")).await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 5).await, 200), 1, "one cent is left of six");
        reload(&mut gateway, &with("0.03")).await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 2).await, 403), 2, "less than was spent");
        reload(&mut gateway, &with("0.08")).await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 5).await, 200), 2, "two cents more");
        assert_eq!((provider.hits(), day(&gateway, APP, "app").await.settled), (8, CENT.times(8)));
    }

    /// Acceptance 4, on one process: what fits is admitted, to the last call, and every book says the same.
    /// Proves: TALON-38
    async fn of_200_calls_at_once_a_cap_worth_50_admits_exactly_50(store) {
        let provider = provider();
        provider.on(|request| {
            // Answers come late and out of order, so that holds and settlements overlap.
            let spread = u64::from(request.arrived_at.elapsed().subsec_nanos() % 30);
            let body = json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17}});
            Some(Script::json(200, &body).after(Duration::from_millis(20 + spread)))
        });
        let config = config(&provider, ["{max_daily_cost: 0.50}", NO_POLICY, NO_POLICY], "");
        let gateway = gateway(&config).store(store).start().await;
        let answers = at_once(&call(&gateway, APP), 200).await;
        assert_eq!((count_of(&answers, 200), count_of(&answers, 403), provider.hits()), (50, 150, 50));

        let records = entries(&gateway, APP).await;
        let allowed = records.iter().filter(|record| record["allowed"] == true).count();
        assert_eq!((records.len(), allowed, sum(&records)), (200, 50, CENT.times(50)));
        let day = day(&gateway, APP, "app").await;
        assert_eq!((day.settled, day.leased, day.unsettled), (CENT.times(50), NanoUsd::ZERO, NanoUsd::ZERO));
        let costs = read(&gateway, APP, "/v1/costs").await;
        assert_eq!((amount(&costs["daily"]), amount(&costs["monthly"])), (CENT.times(50), CENT.times(50)));
    }

    /// Calls that cost less than they might leave room for others, so more of them fit in the end.
    async fn what_a_call_did_not_use_is_free_for_the_next(store) {
        let provider = provider();
        let config = config(&provider, ["{max_daily_cost: 0.10}", NO_POLICY, NO_POLICY], "");
        let gateway = gateway(&config).store(store).start().await;
        for _ in 0..6 {
            // Each holds five cents and costs one.
            assert_eq!(call_of(&gateway, APP, "penny", 50).send().await.status, 200);
        }
        let error = refused_by(&call_of(&gateway, APP, "penny", 50).send().await, "budget_exceeded");
        assert_eq!((&error["remaining"], provider.hits()), (&json!("0.04"), 6));
        assert_eq!(day(&gateway, APP, "app").await.settled, CENT.times(6));
    }
}

#[tokio::test]
async fn the_dearest_candidate_is_what_a_call_must_fit() {
    let provider = provider();
    let more = "models: {any: [{provider: openai, model: penny}, {provider: openai, model: dime}]}\n";
    let config = config(&provider, ["{max_daily_cost: 0.05}", NO_POLICY, NO_POLICY], more);
    let gateway = gateway(&config).start().await;
    let ask = |model: &str| {
        let body = json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
        bh_testkit::Call::post(gateway.at("/v1/chat/completions"), &body).bearer(APP)
    };
    let error = refused_by(&ask("any").send().await, "budget_exceeded");
    assert_eq!((&error["needed"], provider.hits()), (&json!("0.1"), 0), "ten tokens of the dearer one");
    assert_eq!(ask("openai/penny").send().await.status, 200, "the cheaper one alone fits");
}

#[tokio::test]
async fn a_day_ends_at_midnight_in_the_tenant_s_own_time_zone() {
    const HOUR_MS: i64 = 3_600_000;
    let provider = provider();
    let more = "tenants: [{id: acme, timezone: Pacific/Kiritimati, budgets: {daily: 0.01}}, {id: globex, timezone: Pacific/Pago_Pago}]\n";
    let config = config(&provider, [NO_POLICY; 3], more);
    let gateway = gateway(&config).start().await;
    // Neither place has summer time: 14 hours ahead of UTC, and 11 behind it.
    let midnight_after = |now: i64, ahead: i64| (now + ahead).div_euclid(DAY_MS) * DAY_MS + DAY_MS - ahead;
    let now = || i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    for (key, ahead) in [(APP, 14 * HOUR_MS), (WEB, -11 * HOUR_MS)] {
        let before = midnight_after(now(), ahead);
        let budget = read(&gateway, key, "/v1/costs/budget").await;
        let ends = Timestamp::parse(budget["window_ends_at"]["daily"].as_str().unwrap()).unwrap();
        assert!([before, midnight_after(now(), ahead)].contains(&ends.0), "{budget}");
    }
    assert_eq!(call(&gateway, APP).send().await.status, 200);
    let error = refused_by(&call(&gateway, BATCH).send().await, "budget_exceeded");
    let ends = Timestamp::parse(error["window_ends_at"].as_str().unwrap()).unwrap();
    assert_eq!((ends.0 + 14 * HOUR_MS).rem_euclid(DAY_MS), 0, "{error}");
}
