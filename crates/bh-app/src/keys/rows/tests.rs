use bh_domain::keys::key::KeyKind;

use super::*;
use crate::keys::Attributes;
use crate::keys::issue::new_key;

const NID: Nid = Nid(uuid::Uuid::nil());
/// An instant of a day, counted from 1970.
fn at(day: i64, ms: i64) -> Timestamp {
    Timestamp(day * DAY_MS + ms)
}

fn row(last_used: Option<Timestamp>) -> Arc<Row> {
    let id = KeyId::parse("key-1").unwrap();
    let key = new_key(KeyKind::Issued, id, Attributes::default(), at(1, 0), None);
    Arc::new(Row::new(Key { last_used, ..key }))
}

fn keep(rows: &Rows, row: Option<&Arc<Row>>, until: Timestamp, now: Timestamp) {
    let reading = rows.reading(NID, &KeyId::parse("key-1").unwrap());
    rows.keep(vec![reading], row, until, now);
}

fn is_present(rows: &Rows, now: Timestamp) -> bool {
    matches!(rows.known(NID, "key-1", now), Known::Present(_))
}

/// The black-box half is `the_first_use_of_a_day_is_remembered_and_no_other`.
#[test]
fn a_key_is_used_once_a_day() {
    let used = row(None);
    assert!(used.used_first(at(20_000, 5)));
    assert!(!used.used_first(at(20_000, 6)) && !used.used_first(at(20_000, DAY_MS - 1)));
    assert!(used.used_first(at(20_001, 0)), "the next day, from midnight in UTC on");
    assert!(!used.used_first(at(20_001, 1)) && !used.used_first(at(20_000, 7)), "clocks may go back");
    let read_back = row(Some(at(20_000, 5)));
    assert!(!read_back.used_first(at(20_000, 9)) && read_back.used_first(at(20_001, 9)));
}

#[test]
fn a_row_is_kept_until_its_time_or_a_change_and_not_when_it_changed_while_it_was_read() {
    let (rows, row, now) = (Rows::new(false), row(None), at(1, 0));
    let id = KeyId::parse("key-1").unwrap();
    keep(&rows, Some(&row), now.plus_ms(10), now);
    assert!(is_present(&rows, now.plus_ms(9)) && !is_present(&rows, now.plus_ms(10)));
    rows.evict(NID, &id);
    assert!(!is_present(&rows, now));
    let reading = rows.reading(NID, &id);
    rows.evict(NID, &id);
    rows.keep(vec![reading], Some(&row), now.plus_ms(10), now);
    assert!(!is_present(&rows, now), "it was read before the change");
    keep(&rows, Some(&row), now.plus_ms(10), now);
    rows.evict_tenant(Nid(uuid::Uuid::from_u128(7)));
    assert!(is_present(&rows, now), "another tenant's keys changed");
    rows.evict_tenant(NID);
    assert!(!is_present(&rows, now));
    keep(&rows, None, now.plus_ms(10), now);
    assert!(matches!(rows.known(NID, "key-1", now), Known::Absent));
    assert!(matches!(rows.known(NID, "key-1", now.plus_ms(ABSENT_MS)), Known::Unknown));
}

#[test]
fn a_row_under_an_older_id_answers_only_until_the_likeliest_appears() {
    let (rows, row, now) = (Rows::new(false), row(None), at(1, 0));
    let (likeliest, older) = (KeyId::parse("likeliest").unwrap(), &row.key.key_id);
    let reading = || [&likeliest, older].map(|id| rows.reading(NID, id)).into();
    let answers = || matches!(rows.known_by_likeliest(NID, "likeliest", now), Known::Present(_));
    rows.keep(reading(), Some(&row), now.plus_ms(10), now);
    assert!(answers() && is_present(&rows, now));
    assert!(matches!(rows.known(NID, "likeliest", now), Known::Unknown), "it is no row of this id");
    rows.appeared(NID, &likeliest);
    assert!(!answers() && is_present(&rows, now), "the older row is as it was, and silent");
    let before = reading();
    rows.appeared(NID, &likeliest);
    rows.keep(before, Some(&row), now.plus_ms(10), now);
    assert!(!answers(), "it was read before the other appeared");
    rows.keep(reading(), Some(&row), now.plus_ms(10), now);
    assert!(answers());
    rows.evict(NID, older);
    assert!(!answers(), "the older row itself has changed");
}

#[test]
fn memory_is_believed_only_while_changes_are_heard() {
    let rows = Rows::new(false);
    assert!(!rows.hears(), "not before they are");
    rows.hear();
    keep(&rows, Some(&row(None)), at(9, 0), at(1, 0));
    assert!(rows.hears() && is_present(&rows, at(1, 0)));
    rows.distrust();
    assert!(!rows.hears() && !is_present(&rows, at(1, 0)));
}
