//! Any bytes have a route, and none is signed by a secret that did not make it. A minted key is read back, and one
//! changed character makes it worthless. The first three bytes set the prefix's length and the change.
#![no_main]

use bh_domain::keys::format::{IssuedKey, PREFIX_CHARS_MAX, Prefix, RANDOM_BYTES, mint, secret_digest};
use bh_domain::keys::route::{Route, route};
use bh_domain::keys::secrets::KeySecrets;
use bh_domain::time::Timestamp;
use libfuzzer_sys::fuzz_target;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_767_225_600_000);
const ALPHABET: &[u8; 63] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";

fn secrets() -> KeySecrets {
    let current = SecretString::from("a secret that signed nothing in the corpus");
    KeySecrets::new(current, Vec::new()).expect("it is long enough")
}

/// Whatever it is, it has a route; whatever its form, it is not signed.
fn any_credential(input: &[u8], secrets: &KeySecrets) {
    let macaroons = [Prefix::macaroon("mc").expect("two letters")];
    match route(input, &macaroons) {
        Route::Issued(key) => {
            assert!(!key.is_signed(secrets, NOW));
            assert!(!key.carries(None) || !key.carries(Some(&[0; 32])));
        }
        Route::Macaroon => assert!(input.starts_with(b"mc_v1_")),
        Route::Jwt => assert!(input.starts_with(b"eyJ")),
        Route::Imported => {}
    }
}

/// A key made of the input's bytes, read back, then changed at one place.
fn minted(input: &[u8], secrets: &KeySecrets) {
    let Some((&[length, change, place], rest)) = input.split_first_chunk() else { return };
    let Some((random, rest)) = rest.split_first_chunk::<RANDOM_BYTES>() else { return };
    let Some((id, text)) = rest.split_first_chunk::<16>() else { return };
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    let length = usize::from(length) % PREFIX_CHARS_MAX + 1;
    let start = text.iter().chain(&[0; PREFIX_CHARS_MAX]).take(length).map(letter).collect::<String>();
    let prefix = Prefix::issued(&start).expect("letters of the alphabet");
    let minted = mint(secrets, &prefix, NOW, Uuid::from_bytes(*id), random);
    let minted = minted.expose_secret();
    let key = IssuedKey::parse(minted).expect("what is minted is read");
    assert_eq!((key.prefix, key.issued_at, key.key_id), (start.as_str(), NOW, Uuid::from_bytes(*id)));
    assert!(key.is_signed(secrets, NOW) && key.carries(Some(&secret_digest(random))));

    let place = usize::from(place) % minted.len();
    let mut changed = minted.to_owned();
    changed.replace_range(place..=place, letter(&change).encode_utf8(&mut [0; 4]));
    let signed = IssuedKey::parse(&changed).is_some_and(|key| key.is_signed(secrets, NOW));
    assert_eq!(signed, changed == minted);
}

fuzz_target!(|input: &[u8]| {
    let secrets = secrets();
    any_credential(input, &secrets);
    minted(input, &secrets);
});
