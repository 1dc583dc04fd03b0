use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::keys::secrets::samples::dossier;

const AT: Timestamp = Timestamp(1_767_225_600_000);
const ID: &str = "3f0c6a1e-6b0a-4f8f-9f3e-0a1b2c3d4e5f";
/// Dossier §3.1.
const TALOS: &str = "t3_v1_Qixkm4LLsreXThDin1LjiPzWdqj9LmfnNgVDhk2GFun3gQsTpYuUUoQKsD4WLJiH_5ene3AfHFyZM1GbjLt9uLREnxes8b6Cnwm2ZUAtoMn1A";
/// The same, minted by us with the random bytes 0 to 15; computed with Python.
const OURS: &str = "t3_v1_z576H7EHkeUrJSL8uE8Pco7uBL2z5fvR5umzQbjhSM1FMjzJQLACAogYWwbyTaj8csEahJD43TUSjnMP72T51jk_2aMdt3958RFZsR8QcUYkngy3qwGSeLzp95N1Ree85AE2";
const RANDOM: [u8; RANDOM_BYTES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn id() -> Uuid {
    ID.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    Prefix::issued(text).unwrap()
}

fn minted(start: &str) -> String {
    mint(&dossier(), &prefix(start), AT, id(), &RANDOM).expose_secret().to_owned()
}

/// A key around any payload, signed as it should be.
fn around(payload: &[u8]) -> String {
    signed_key(&dossier(), &prefix("t3"), payload).expose_secret().to_owned()
}

/// Proves: TALOS-C02
#[test]
fn the_known_key_is_made_and_read() {
    let made = signed_key(&dossier(), &prefix("t3"), readable_payload(AT, id()).as_bytes());
    assert_eq!(made.expose_secret(), TALOS);
    let key = IssuedKey::parse(TALOS).unwrap();
    assert_eq!((key.prefix, key.issued_at, key.key_id), ("t3", AT, id()));
    assert!(key.is_signed(&dossier(), AT));
    assert!(key.carries(None));
    assert!(!key.carries(Some(&secret_digest(&RANDOM))), "our row wants the random bytes");
}

#[test]
fn our_own_key_carries_random_bytes_which_its_row_asks_for() {
    assert_eq!(minted("t3"), OURS);
    let key = IssuedKey::parse(OURS).unwrap();
    assert_eq!((key.prefix, key.issued_at, key.key_id), ("t3", AT, id()));
    assert!(key.is_signed(&dossier(), AT));
    assert!(key.carries(Some(&secret_digest(&RANDOM))));
    assert!(!key.carries(Some(&secret_digest(&[0; RANDOM_BYTES]))));
    assert!(!key.carries(None), "a row of Talos never had random bytes");
    assert_eq!(format!("{key:?}"), format!("IssuedKey(t3, {ID})"));
}

#[test]
fn a_prefix_may_itself_hold_the_version_mark() {
    for start in ["a", "_", "a_v1", "_v1_", "v1_v1_v1_v1_v1_v", "ABCDEFGHIJKLMNOP"] {
        let text = minted(start);
        let key = IssuedKey::parse(&text).unwrap();
        assert_eq!((key.prefix, key.is_signed(&dossier(), AT)), (start, true), "{start}");
    }
}

#[test]
fn what_has_another_form_is_no_key() {
    let (head, checksum) = TALOS.rsplit_once('_').unwrap();
    let identifier = head.rsplit_once('_').unwrap().1;
    let cases = [
        String::new(),
        "_v1_".to_owned(),
        TALOS.replace("_v1_", "_v2_"),
        TALOS.replace("t3_", "t-3_"),
        TALOS.replace("t3_", "_"),
        TALOS.replace("t3", "ABCDEFGHIJKLMNOPQ"),
        TALOS.replace("t3_v1_", "v1_"),
        format!("{head}_{}", &checksum[..9]),
        format!("{head}_{checksum}0"),
        format!("{head}__{checksum}"),
        format!("{TALOS}_"),
        format!(" {TALOS}"),
        format!("{TALOS}\n"),
        format!("t3_v1_{}_{checksum}", &identifier[..19]),
        format!("t3_v1_{}_{checksum}", identifier.replace('Q', "0")),
        format!("t3_v1_{}_{checksum}", identifier.repeat(3)),
    ];
    for text in cases {
        assert_eq!(IssuedKey::parse(&text), None, "{text}");
    }
    let longer = format!("{TALOS}{checksum}");
    let key = IssuedKey::parse(&longer).unwrap();
    assert!(!key.is_signed(&dossier(), AT), "the form is right, the checksum is not 32 bytes");
}

#[test]
fn a_payload_is_seconds_an_id_and_perhaps_sixteen_bytes() {
    let good =
        [format!("0:{ID}"), format!("999999999999999:{ID}"), format!("1767225600:{ID}:0123456789abcde:")];
    for payload in good {
        assert!(IssuedKey::parse(&around(payload.as_bytes())).is_some(), "{payload}");
    }
    let bad = [
        ID.to_owned(),
        format!(":{ID}"),
        format!("-1:{ID}"),
        format!("+1:{ID}"),
        format!("1e9:{ID}"),
        format!("1000000000000000:{ID}"),
        format!("1:{}", ID.to_uppercase()),
        format!("1:{}", &ID[1..]),
        format!("1:{ID}f"),
        format!("1:{ID}:"),
        format!("1:{ID}:0123456789abcde"),
        format!("1:{ID}:0123456789abcdefg"),
        format!("1:{}", ID.replace('-', "")),
        format!("1:{}", ID.replace('-', "0")),
    ];
    for payload in bad {
        assert_eq!(IssuedKey::parse(&around(payload.as_bytes())), None, "{payload}");
    }
}

#[test]
fn only_a_tenants_own_secrets_sign_and_time_ends_retired_ones() {
    let key = IssuedKey::parse(OURS).unwrap();
    let other = KeySecrets::new("x".repeat(32).into(), vec![]).unwrap();
    assert!(!key.is_signed(&other, AT));
    let retired = vec![(crate::keys::secrets::samples::SECRET.into(), Some(AT))];
    let rotated = KeySecrets::new("x".repeat(32).into(), retired).unwrap();
    assert!(key.is_signed(&rotated, AT.plus_ms(-1)));
    assert!(!key.is_signed(&rotated, AT));
}

#[test]
fn times_that_ten_digits_do_not_hold_are_clamped() {
    for (at, read) in [(i64::MIN, 0), (-1, 0), (999, 0), (1_000, 1), (i64::MAX, SECONDS_MAX)] {
        let text = mint(&dossier(), &prefix("t3"), Timestamp(at), id(), &RANDOM);
        let key = IssuedKey::parse(text.expose_secret()).unwrap();
        assert_eq!(key.issued_at, Timestamp(read * SECOND_MS), "{at}");
    }
}

#[test]
fn prefixes_are_bounded_and_those_that_macaroons_would_take_are_known() {
    assert_eq!(Prefix::issued("ory_ak").unwrap().to_string(), "ory_ak");
    for bad in ["", "a-b", "a b", "ä", "abcdefghijklmnopq"] {
        let refused = Prefix::issued(bad).unwrap_err().to_string();
        assert_eq!(refused, format!("`{bad}` is not a prefix: 1 to 16 letters, digits and underscores"));
    }
    assert!(Prefix::macaroon("abcdefgh").is_ok());
    assert!(Prefix::macaroon("abcdefghi").is_err());
    let macaroon = Prefix::macaroon("mc").unwrap();
    for (issued, shadowed) in [
        ("mc", true),
        ("mc_v1", true),
        ("mc_v1_x", true),
        ("mc_v2", false),
        ("mcx", false),
        ("ory_ak", false),
    ] {
        assert_eq!(prefix(issued).is_shadowed_by(&macaroon), shadowed, "{issued}");
        assert_eq!(macaroon.strip(&minted(issued)).is_some(), shadowed, "{issued}");
    }
}

proptest! {
    #[test]
    fn what_is_minted_is_read_and_verifies(
        start in "[A-Za-z0-9_]{1,16}",
        seconds in 0..=SECONDS_MAX,
        id in any::<u128>(),
        random in any::<[u8; RANDOM_BYTES]>(),
    ) {
        let (at, id) = (Timestamp(seconds * SECOND_MS), Uuid::from_u128(id));
        let text = mint(&dossier(), &prefix(&start), at, id, &random);
        let key = IssuedKey::parse(text.expose_secret()).unwrap();
        prop_assert_eq!((key.prefix, key.issued_at, key.key_id), (start.as_str(), at, id));
        prop_assert!(key.is_signed(&dossier(), AT));
        prop_assert!(key.carries(Some(&secret_digest(&random))));
    }

    #[test]
    fn one_changed_character_never_verifies(place in any::<prop::sample::Index>(), other in "[ -~]") {
        for good in [TALOS, OURS] {
            let place = place.index(good.len());
            let mut changed = good.to_owned();
            changed.replace_range(place..=place, &other);
            let verifies = IssuedKey::parse(&changed).is_some_and(|key| key.is_signed(&dossier(), AT));
            prop_assert_eq!(verifies, changed == good);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "(.{0,40}|[A-Za-z_]{0,18}_v1_[1-9A-HJ-NP-Za-km-z]{15,130}_[1-9A-HJ-NP-Za-km-z]{8,60})") {
        let signed = IssuedKey::parse(&text).is_some_and(|key| key.is_signed(&dossier(), AT));
        prop_assert!(!signed);
    }
}
