//! Which kind of credential a text is (Talos dossier §3.2). Order matters, and everything is something.

use super::format::{IssuedKey, Prefix};

/// The longest credential a caller may present, in bytes. The door checks it before it asks for a route.
pub const CREDENTIAL_BYTES_MAX: usize = 8_192;

/// The first three characters of `{"` in base64url: every JSON object, so every JOSE header, starts so.
const JSON_OBJECT: &str = "eyJ";

/// What a credential looks like. Nothing is proven by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// A derived JSON web token.
    Jwt,
    /// A derived macaroon.
    Macaroon,
    /// A key we, or a Talos, issued.
    Issued(IssuedKey<'a>),
    /// Anything else: it may be a key that was imported.
    Imported,
}

/// Finds the kind of a credential. `macaroons` are the prefixes in force, current and retired.
#[must_use]
pub fn route<'a>(credential: &'a [u8], macaroons: &[Prefix]) -> Route<'a> {
    let Ok(text) = std::str::from_utf8(credential) else { return Route::Imported };
    if is_jwt(text) {
        return Route::Jwt;
    }
    if macaroons.iter().any(|prefix| prefix.strip(text).is_some()) {
        return Route::Macaroon;
    }
    IssuedKey::parse(text).map_or(Route::Imported, Route::Issued)
}

/// Three segments of base64url, none empty, the first a JSON object.
fn is_jwt(text: &str) -> bool {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let segment = |text: &str| !text.is_empty() && text.bytes().all(base64url);
    let mut segments = text.split('.');
    text.starts_with(JSON_OBJECT)
        && segments.by_ref().take(3).filter(|s| segment(s)).count() == 3
        && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ISSUED: &str = "t3_v1_Qixkm4LLsreXThDin1LjiPzWdqj9LmfnNgVDhk2GFun3gQsTpYuUUoQKsD4WLJiH_5ene3AfHFyZM1GbjLt9uLREnxes8b6Cnwm2ZUAtoMn1A";

    fn macaroons() -> Vec<Prefix> {
        ["mc", "old"].map(|prefix| Prefix::macaroon(prefix).unwrap()).to_vec()
    }

    fn kind(credential: &[u8]) -> &'static str {
        match route(credential, &macaroons()) {
            Route::Jwt => "jwt",
            Route::Macaroon => "macaroon",
            Route::Issued(_) => "issued",
            Route::Imported => "imported",
        }
    }

    #[test]
    fn every_credential_has_its_route() {
        let shadowed = ISSUED.replacen("t3", "mc", 1);
        let cases: [(&str, &str); 24] = [
            ("eyJh.eyJi.c2ln", "jwt"),
            ("eyJ.a.-_9", "jwt"),
            ("eyJh.eyJi.", "imported"),
            ("eyJh..c2ln", "imported"),
            (".eyJh.c2ln", "imported"),
            ("eyJh.eyJi", "imported"),
            ("eyJh.eyJi.c2ln.x", "imported"),
            ("eyKh.eyJi.c2ln", "imported"),
            ("eyJh.ey+i.c2ln", "imported"),
            ("eyJh.eyJi.c2ln=", "imported"),
            (" eyJh.eyJi.c2ln", "imported"),
            ("eyJh.eyJi.c2ln\n", "imported"),
            ("mc_v1_AgEX", "macaroon"),
            ("mc_v1_", "macaroon"),
            ("old_v1_AgEX", "macaroon"),
            ("mc_v2_AgEX", "imported"),
            ("MC_v1_AgEX", "imported"),
            ("mcx_v1_AgEX", "imported"),
            (ISSUED, "issued"),
            (&shadowed, "macaroon"),
            ("t3_v1_short_short", "imported"),
            ("sk_live_abc123", "imported"),
            ("", "imported"),
            ("...", "imported"),
        ];
        for (credential, expected) in cases {
            assert_eq!(kind(credential.as_bytes()), expected, "{credential}");
        }
        assert_eq!(kind(b"\0"), "imported");
        assert_eq!(kind(&[0xff, 0xfe]), "imported");
        assert_eq!(kind(&[b"eyJh.eyJi.", &[0xff][..]].concat()), "imported");
        assert_eq!(kind("_v1_".repeat(16_384).as_bytes()), "imported");
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_route(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(matches!(kind(&bytes), "imported" | "macaroon" | "jwt"));
        }
    }
}
