use bh_domain::keys::key::JsonObject;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::*;
use crate::keys::Attributes;
use crate::keys::issue::new_key;

type Place = (Nid, KeyKind);
type Lines = super::Lines<Place, FoundKey>;

fn place(number: u128) -> Place {
    (Nid(Uuid::from_u128(number)), KeyKind::Imported)
}

fn question(ids: usize) -> Waiting<FoundKey> {
    let ids = (0..ids).map(|id| KeyId::parse(&format!("id-{id}")).unwrap()).collect();
    Waiting { ids, answer: oneshot::channel().0 }
}

/// The place and the number of questions of the next read.
fn read(lines: &mut Lines, now: Instant) -> Option<(Place, usize)> {
    match lines.next(now) {
        Next::Read(place, taken) => Some((place, taken.len())),
        Next::Wait(_) => None,
    }
}

#[test]
fn the_keys_of_one_identity_share_it() {
    let identity = Identity {
        id: IdentityId(Uuid::from_u128(7)),
        external_id: "acme".to_owned(),
        metadata: JsonObject::default(),
        rate_limits: Vec::new(),
        created: Timestamp(1),
        updated: Timestamp(1),
        revision: 1,
        is_whole: true,
    };
    let key = |id: &str| {
        let id = KeyId::parse(id).unwrap();
        new_key(KeyKind::Issued, id, Attributes::default(), Timestamp(1), None)
    };
    let keys = vec![(key("a"), Some(identity.clone())), (key("b"), Some(identity)), (key("c"), None)];
    let found = found(keys);
    let of = |id: &str| found[&KeyId::parse(id).unwrap()].identity.as_ref();
    assert!(Arc::ptr_eq(of("a").unwrap(), of("b").unwrap()) && of("c").is_none());
}

#[test]
fn questions_about_one_place_share_a_read_and_wait_while_one_is_under_way() {
    let (mut lines, now) = (Lines::default(), Instant::now());
    (0..3).for_each(|_| assert!(lines.join(place(1), question(1), now)));
    assert_eq!(read(&mut lines, now), Some((place(1), 3)));
    assert!(lines.join(place(1), question(1), now));
    assert_eq!(read(&mut lines, now), None, "one at a time");
    lines.read(Ok((place(1), 0)), now);
    assert_eq!(read(&mut lines, now), Some((place(1), 1)));
    assert_eq!((lines.waiting, lines.order.len()), (0, 0));
}

#[test]
fn a_long_line_is_read_in_parts_and_holds_nobody_up() {
    let (mut lines, now) = (Lines::default(), Instant::now());
    (0..400).for_each(|_| assert!(lines.join(place(1), question(3), now)));
    assert!(lines.join(place(2), question(1), now));
    assert_eq!(read(&mut lines, now), Some((place(1), READ_IDS_MAX / 3)));
    assert_eq!(read(&mut lines, now), Some((place(2), 1)));
    lines.read(Ok((place(1), 0)), now);
    assert!(lines.join(place(3), question(1), now));
    assert_eq!(read(&mut lines, now).map(|(place, _)| place), Some(place(1)));
    assert_eq!(read(&mut lines, now), Some((place(3), 1)));
    assert_eq!(lines.waiting, 400 - 2 * (READ_IDS_MAX / 3));
}

#[test]
fn a_place_that_is_asked_for_unknown_keys_is_read_at_a_beat() {
    let (mut lines, now) = (Lines::default(), Instant::now());
    assert!(lines.join(place(1), question(1), now));
    assert!(read(&mut lines, now).is_some());
    lines.read(Ok((place(1), ABSENT_PER_SECOND_MAX + 1)), now);
    assert!(lines.join(place(1), question(1), now) && lines.join(place(2), question(1), now));
    assert_eq!(read(&mut lines, now), Some((place(2), 1)), "others do not wait for it");
    assert!(matches!(lines.next(now), Next::Wait(Some(until)) if until == now + BEAT));
    assert_eq!(read(&mut lines, now + BEAT), Some((place(1), 1)));
    // A calm second ends it.
    lines.read(Ok((place(1), 1)), now + SECOND);
    assert!(lines.join(place(1), question(1), now + SECOND));
    assert_eq!(read(&mut lines, now + SECOND), Some((place(1), 1)));
}

#[test]
fn what_waits_and_what_is_remembered_is_bounded() {
    let (mut lines, now) = (Lines::default(), Instant::now());
    (0..WAITING_MAX).for_each(|_| assert!(lines.join(place(1), question(1), now)));
    assert!(!lines.join(place(2), question(1), now));
    let mut lines = Lines::default();
    for number in 0..2 * IDLE_LINES_MAX as u128 {
        let later = now + SECOND * u32::try_from(number).unwrap() * 2;
        assert!(lines.join(place(number), question(1), later));
        assert!(read(&mut lines, later).is_some());
        lines.read(Ok((place(number), 1)), later);
    }
    assert!(lines.of.len() <= IDLE_LINES_MAX);
}
