//! Where a key and its tokens may be used from, and whom a gateway believes about that (Talos dossier §4.4).

use bh_testkit::{Gateway, on_both_stores};
use serde_json::json;

use crate::auth::BULKHEAD;
use crate::keys_setup::assert_error;
use crate::verify_setup::{Api, DERIVE, PATIENCE, reload, verdict};

const RAW: &str = "sk_live_0123456789abcdef";

on_both_stores! {
    /// Proves: TALOS-C11
    async fn a_key_and_its_tokens_are_good_from_the_addresses_they_name(store) {
        let yaml = "server:\n  trusted_proxy_cidrs: [127.0.0.1/32, 10.9.0.0/16]\n";
        let gateway = Gateway::builder(BULKHEAD).store(store).config(yaml).start().await;
        let api = Api::of(&gateway);
        let ranges = json!({"ip_restriction": {"allowed_cidrs": ["203.0.113.0/24", "2001:db8::/32", "198.51.100.7/32"]}});
        let key = api.issue(&ranges).await.secret;
        api.import(RAW, ranges).await;
        // Tokens are derived where the key may be used, and nowhere else.
        let derived = async |credential: &str, form: &str, from: &str| {
            let body = json!({"credential": credential, "algorithm": format!("TOKEN_ALGORITHM_{form}")});
            api.call("POST", DERIVE).json(&body).header("x-forwarded-for", from).send().await
        };
        for (credential, form) in [(key.as_str(), "JWT"), (RAW, "MACAROON")] {
            let refused = derived(credential, form, "203.0.114.9").await;
            assert_error(&refused, 403, "PERMISSION_DENIED", "IP_NOT_ALLOWED");
        }
        let token = async |credential: &str, form: &str| {
            let told = derived(credential, form, "203.0.113.9").await.json();
            told["token"]["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
        };
        let credentials = [
            ("issued", key.clone()),
            ("imported", RAW.to_owned()),
            ("JWT", token(&key, "JWT").await),
            ("macaroon", token(RAW, "MACAROON").await),
        ];
        let (good, bad) = ("valid", "IP_NOT_ALLOWED");
        for (forwarded, wanted) in [
            ("203.0.113.9", good),
            ("203.0.114.9", bad),
            ("2001:db8:1::1", good),
            ("2001:db9::1", bad),
            ("::ffff:203.0.113.9", good),
            ("::ffff:203.0.114.9", bad),
            ("198.51.100.7", good),
            ("198.51.100.8", bad),
            // The nearest hop that is no proxy of ours counts: what a client claims to have been before is not believed.
            ("203.0.113.9, 192.0.2.1", bad),
            ("192.0.2.1, 203.0.113.9", good),
            ("203.0.113.9, 10.9.1.1", good),
            ("203.0.113.9, nonsense", bad),
            ("", bad),
        ] {
            for (what, credential) in &credentials {
                let body = json!({"credential": credential});
                let answer = api.verify_with(&body, &[("x-forwarded-for", forwarded)]).await;
                assert_eq!(verdict(&answer.json()), wanted, "{what} from {forwarded}");
                let told = answer.header("cache-control");
                assert_eq!(told, (wanted == good && !matches!(*what, "JWT" | "macaroon")).then_some("no-store"), "{what}");
            }
        }
        // A second line comes after the first, wherever a proxy puts it.
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1")];
        let body = json!({"credential": key});
        assert_eq!(verdict(&api.verify_with(&body, &lines).await.json()), bad);
    }

    async fn an_address_is_read_from_where_the_configuration_says(store) {
        let trusted = "server:\n  trusted_proxy_cidrs: [127.0.0.1/32]\n";
        let yaml = |source: &str| format!("{trusted}serve: {{http: {{client_ip_source: CLIENT_IP_SOURCE_{source}}}}}\n");
        let mut gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml("UNSPECIFIED")).start().await;
        let there = json!({"ip_restriction": {"allowed_cidrs": ["203.0.113.0/24"]}});
        let there = Api::of(&gateway).issue(&there).await.secret;
        for (source, header) in [
            ("UNSPECIFIED", Some("x-forwarded-for")),
            ("REMOTE_ADDR", None),
            ("X_FORWARDED_FOR", Some("x-forwarded-for")),
            ("X_REAL_IP", Some("x-real-ip")),
            ("CF_CONNECTING_IP", Some("cf-connecting-ip")),
            ("TRUE_CLIENT_IP", Some("true-client-ip")),
        ] {
            reload(&mut gateway, &yaml(source)).await;
            let api = Api::of(&gateway);
            for sent in ["x-forwarded-for", "x-real-ip", "cf-connecting-ip", "true-client-ip"] {
                let wanted = if header == Some(sent) { "valid" } else { "IP_NOT_ALLOWED" };
                assert_eq!(api.seen(&there, &[(sent, "203.0.113.9")]).await.0, wanted, "{source} {sent}");
                let twice = [(sent, "203.0.113.9"), (sent, "192.0.2.1")];
                assert_eq!(api.seen(&there, &twice).await.0, "IP_NOT_ALLOWED", "{source} {sent}");
            }
        }
        // Nobody is trusted: no header is believed, and that it is not is said.
        reload(&mut gateway, &yaml("X_REAL_IP")[trusted.len()..]).await;
        assert_eq!(Api::of(&gateway).seen(&there, &[("x-real-ip", "203.0.113.9")]).await.0, "IP_NOT_ALLOWED");
        assert!(gateway.prints("no address in a header is believed", PATIENCE).await, "{}", gateway.output());
    }

    async fn an_address_is_believed_from_trusted_proxies_only(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let here = api.issue(&json!({"ip_restriction": {"allowed_cidrs": ["127.0.0.0/8"]}})).await.secret;
        let there = api.issue(&json!({"ip_restriction": {"allowed_cidrs": ["203.0.113.0/24"]}})).await.secret;
        for headers in [&[][..], &[("x-forwarded-for", "203.0.113.9")], &[("x-real-ip", "203.0.113.9")]] {
            assert_eq!(api.seen(&here, headers).await.0, "valid");
            assert_eq!(api.seen(&there, headers).await.0, "IP_NOT_ALLOWED");
        }
    }
}
