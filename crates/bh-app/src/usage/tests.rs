use bh_domain::billing::{Tariff, Terms, UnitPrice};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::usage::{UsageKind, UtcDay, UtcMonth};

use super::{Account, DAYS_MAX, DaysError, MonthUsage, days};
use crate::ports::{TenantUsage, UsageDays, UsageSums};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[test]
fn days_that_nobody_names_are_the_last_thirty() {
    let now = at("2026-11-21T23:59:59Z");
    let day = |text| UtcDay::parse(text).unwrap();
    let told = |first, last| days(first, last, now).map(|UsageDays { first, last }| (first, last));
    assert_eq!(told(None, None), Ok((day("2026-10-23"), day("2026-11-21"))));
    assert_eq!(told(Some(day("2026-11-20")), None), Ok((day("2026-11-20"), day("2026-11-21"))));
    let (first, last) = (day("2026-11-22"), day("2026-11-21"));
    assert_eq!(told(Some(first), None), Err(DaysError::Backwards { first, last }));
    let long = last.plus(1 - DAYS_MAX);
    assert_eq!(told(Some(long), None), Ok((long, last)));
    let longer = long.plus(-1);
    assert_eq!(told(Some(longer), None), Err(DaysError::TooMany { first: longer, last }));
}

fn tariff(included: u64, nano: i64, units: u32) -> Tariff {
    Tariff { included, price: UnitPrice { amount: NanoUsd(nano), units } }
}

#[test]
fn a_months_total_is_the_sum_of_its_items_and_denied_requests_are_free() {
    let account = Account { tenant_id: "acme".to_owned(), nid: Nid::SYSTEM, plan: None };
    let month = UtcMonth::parse("2026-11").unwrap();
    let llm = UsageSums { requests: 2_012, denied: 7, failed: 5, cost: NanoUsd(123), ..UsageSums::default() };
    let tools = UsageSums { requests: 10, units: 9, ..UsageSums::default() };
    let servers = UsageSums { units: 2 * 3_600 + 1, ..UsageSums::default() };
    let keys = UsageSums { requests: 40, denied: 4, ..UsageSums::default() };
    let days = vec![
        (month.first, UsageKind::Keys, keys),
        (month.first, UsageKind::Llm, llm),
        (month.first, UsageKind::Tools, tools),
        (month.last, UsageKind::Servers, servers),
    ];
    let used = TenantUsage { days, models: Vec::new(), servers: 1 };
    let terms = Terms {
        api_calls: tariff(1_000, 5_000, 1_000),
        tool_invocations: tariff(0, 100, 1),
        server_hours: tariff(1, 10_000, 1),
        key_verifications: tariff(30, 7, 1),
    };
    let told = MonthUsage::of(&account, month, &used, &terms, "EUR");
    assert_eq!((told.api_calls, told.denied_calls), (2_015, 7));
    let amounts: Vec<i64> = told.line_items.iter().map(|item| item.amount.0).collect();
    assert_eq!(amounts, [5_075, 900, 20_000, 70, 123]);
    assert_eq!(told.key_verifications, 40, "a bad key is verified too");
    assert_eq!(told.custom_server_hours, 3, "a begun hour is one");
    assert_eq!(told.total_cost, NanoUsd(5_075 + 900 + 20_000 + 70 + 123));
    assert_eq!((told.month.as_str(), told.currency.as_str()), ("2026-11", "EUR"));
}
