//! Tenants told apart by host name, and their keys (seed 003, Talos dossier §7): nothing of one is anything to another.

use std::time::{Duration, Instant};

use bh_testkit::{Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::keys_setup::{
    DERIVE, HOST_ONE, HOST_TWO, IMPORTED, ISSUED, ONE, SELF_REVOKE, Side, TWO, VERIFY, assert_bad_request,
    assert_error, assert_not_found, import_body, open_gateway, two_networks, two_tenants,
};
use crate::money::{reload, tamper};

const PATIENCE: Duration = Duration::from_secs(20);
const BASE_SECRET: &str = "secrets: {hmac: {current: base-secret-of-thirty-two-characters}}\n";

/// An overlay with an issuer, a prefix, and whatever else.
fn overlay(issuer: &str, prefix: &str, more: &str) -> String {
    format!("credentials: {{issuer: \"{issuer}\", api_keys: {{prefix: {{current: {prefix}}}}}}}\n{more}")
}

fn secret(text: &str) -> String {
    format!("secrets: {{hmac: {{current: \"{text}-secret-of-more-than-thirty-two-characters\"}}}}\n")
}

fn sides(gateway: &Gateway) -> (Side<'_>, Side<'_>) {
    (Side::of(gateway, HOST_ONE), Side::of(gateway, HOST_TWO))
}

fn ids(listed: &Value, member: &str) -> Vec<String> {
    let keys = listed[member].as_array().unwrap().iter();
    keys.map(|key| key["key_id"].as_str().unwrap().to_owned()).collect()
}

async fn derived(side: Side<'_>, credential: &str, algorithm: &str) -> String {
    let told = side.post(DERIVE, &json!({"credential": credential, "algorithm": algorithm})).await;
    assert_eq!(told.status, 200, "{}", told.text());
    told.json()["token"]["token"].as_str().unwrap().to_owned()
}

/// Whatever one tenant has, the other's doors know nothing of it.
async fn nothing_of_one_is_known_to(gateway: &Gateway) {
    let (one, two) = sides(gateway);
    let issued = one.issue(&json!({"name": "one's", "scopes": ["a"]})).await;
    let imported = one.import("sk_same").await["key_id"].as_str().unwrap().to_owned();
    // Twice, so that what is kept in memory is asked too, on either side.
    for _ in 0..2 {
        assert_eq!(
            (one.fault(&issued.secret).await, one.fault("sk_same").await),
            (String::new(), String::new())
        );
        for credential in [issued.secret.as_str(), "sk_same"] {
            assert_eq!(two.fault(credential).await, "NOT_FOUND");
            assert_not_found(&two.post(SELF_REVOKE, &json!({ "credential": credential })).await);
            let refused = two.post(DERIVE, &json!({ "credential": credential })).await;
            assert_error(&refused, 401, "UNAUTHENTICATED", "UNAUTHORIZED");
        }
        for algorithm in ["TOKEN_ALGORITHM_JWT", "TOKEN_ALGORITHM_MACAROON"] {
            let token = derived(one, &issued.secret, algorithm).await;
            assert_eq!(
                (one.fault(&token).await, two.fault(&token).await.as_str()),
                (String::new(), "NOT_FOUND")
            );
        }
        let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
        for path in [format!("{ISSUED}/{}", issued.id), format!("{IMPORTED}/{imported}")] {
            assert_not_found(&two.get(&path).await);
            assert_not_found(
                &two.send("PATCH", &format!("{path}?update_mask=name"), &json!({"name": "mine"})).await,
            );
            assert_not_found(&two.post(&format!("{path}:revoke"), &end).await);
            assert_not_found(&two.post(&format!("{path}:disable"), &json!({})).await);
            assert_not_found(&two.delete(&path).await);
        }
        assert_not_found(&two.post(&format!("{ISSUED}/{}:rotate", issued.id), &json!({})).await);
        assert_eq!(ids(&two.read(ISSUED).await, "issued_api_keys"), Vec::<String>::new());
        assert_eq!(ids(&two.read(IMPORTED).await, "imported_api_keys"), Vec::<String>::new());
    }
    // The same text is another key there, and ends alone.
    let other = two.import("sk_same").await["key_id"].as_str().unwrap().to_owned();
    assert_ne!(other, imported);
    assert_eq!(two.delete(&format!("{IMPORTED}/{other}")).await.status, 204);
    assert_eq!((one.fault("sk_same").await.as_str(), two.fault("sk_same").await.as_str()), ("", "NOT_FOUND"));
    assert_eq!(one.read(&format!("{ISSUED}/{}", issued.id)).await["name"], "one's");
    assert_eq!(one.fault(&issued.secret).await, "");
}

/// Page tokens of one tenant's lists are worth nothing in another's.
async fn page_tokens_stay_at_home(gateway: &Gateway) {
    let (one, two) = sides(gateway);
    for (side, path) in [(one, ISSUED), (one, IMPORTED), (two, ISSUED), (two, IMPORTED)] {
        for n in 0..2 {
            let body = if path == ISSUED { json!({}) } else { import_body(&format!("sk_{n}")) };
            assert_eq!(side.post(path, &body).await.status, 201);
        }
    }
    for path in [ISSUED, IMPORTED] {
        let token =
            one.read(&format!("{path}?page_size=1")).await["next_page_token"].as_str().unwrap().to_owned();
        let next = format!("{path}?page_size=1&page_token={token}");
        assert_eq!(one.get(&next).await.status, 200);
        assert_bad_request(&two.get(&next).await, "`page_token`: not a token of this tenant");
    }
}

on_both_stores! {
    /// Proves: TALOS-M01, TALOS-M02
    async fn each_host_has_keys_settings_and_a_network_id_of_its_own(store) {
        let (one, two) = (overlay("https://one.example", "t1", ""), overlay("https://two.example", "t2", ""));
        let gateway = two_tenants(store, &one, &two, BASE_SECRET).start().await;
        for (host, prefix, issuer) in [(HOST_ONE, "t1_v1_", "https://one.example"), (HOST_TWO, "t2_v1_", "https://two.example")] {
            let side = Side::of(&gateway, host);
            let issued = side.issue(&json!({"name": host})).await;
            side.import("sk_same").await;
            assert!(issued.secret.starts_with(prefix));
            assert_eq!(side.verdict(&issued.secret).await["issuer"], issuer);
            assert_eq!(side.verdict("sk_same").await["issuer"], issuer);
            assert_eq!(ids(&side.read(ISSUED).await, "issued_api_keys"), [issued.id]);
            assert_eq!(ids(&side.read(IMPORTED).await, "imported_api_keys").len(), 1);
        }
        for table in ["api_keys", "imported_api_keys"] {
            for nid in [ONE, TWO] {
                let sql = format!("SELECT COUNT(*) FROM {table} WHERE CAST(nid AS TEXT) = '{nid}'");
                assert_eq!(tamper(&gateway, &sql), "1", "{sql}");
            }
            let sql = format!("SELECT COUNT(DISTINCT nid), COUNT(*) FROM {table}");
            assert_eq!(tamper(&gateway, &sql), "2|2", "{sql}");
        }
    }

    /// Proves: TALOS-M03
    async fn a_key_is_stored_under_its_network_id_and_its_own(store) {
        let gateway = open_gateway(store, "").start().await;
        for table in ["api_keys", "imported_api_keys"] {
            if gateway.database().is_some() {
                let sql = format!("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = '{table}'::regclass");
                assert_eq!(tamper(&gateway, &sql), "PRIMARY KEY (nid, key_id)");
            } else {
                let place = |column: &str| tamper(&gateway, &format!("SELECT pk FROM pragma_table_info('{table}') WHERE name = '{column}'"));
                assert_eq!((place("nid"), place("key_id")), ("1".to_owned(), "2".to_owned()));
                let parts = format!("SELECT COUNT(*) FROM pragma_table_info('{table}') WHERE pk > 0");
                assert_eq!(tamper(&gateway, &parts), "2");
            }
        }
    }

    /// Proves: TALOS-M04
    async fn a_key_of_one_tenant_is_unknown_to_another(store) {
        // With one secret, prefix and issuer for both, and with secrets of their own.
        for (one, two) in [(String::new(), String::new()), (secret("one"), secret("two"))] {
            let gateway = two_tenants(store, &one, &two, BASE_SECRET).start().await;
            nothing_of_one_is_known_to(&gateway).await;
        }
    }

    /// Proves: TALOS-M22
    async fn a_page_token_of_one_tenant_is_refused_in_another(store) {
        let pages = |text: &str| format!("secrets: {{pagination: {{current: \"{text}-pages-secret-of-more-than-thirty-two\"}}}}\n");
        for (one, two) in [(String::new(), String::new()), (pages("one"), pages("two")), (secret("one"), secret("two"))] {
            let gateway = two_tenants(store, &one, &two, BASE_SECRET).start().await;
            page_tokens_stay_at_home(&gateway).await;
        }
    }

    /// Proves: TALOS-M12
    async fn an_overlay_is_laid_over_the_base_when_a_request_comes(store) {
        let base = |text: &str| format!("{}credentials: {{api_keys: {{max_ttl: 48h}}}}\n", secret(text));
        let one = overlay("https://one.example", "t1", "");
        let mut gateway = two_tenants(store, &one, "", &base("first")).start().await;
        let (key, plain) = {
            let (one, two) = sides(&gateway);
            let refused = one.post(ISSUED, &json!({"ttl": "49h"})).await;
            assert_bad_request(&refused, "`ttl`: longer than the longest life of a key here, 172800s");
            (one.issue(&json!({})).await.secret, two.issue(&json!({})).await.secret)
        };
        assert!(key.starts_with("t1_v1_") && plain.starts_with("ory_ak_v1_"));
        // The base's secret is the tenant's: without it the key is unknown.
        reload(&mut gateway, &two_networks(&base("second"))).await;
        assert_eq!(Side::of(&gateway, HOST_ONE).fault(&key).await, "NOT_FOUND");
        assert_eq!(Side::of(&gateway, HOST_TWO).fault(&plain).await, "NOT_FOUND");
        // A new overlay counts with the next request: its secret is the key's again, but not its prefix.
        relay(&gateway, &overlay("https://newer.example", "t9", &secret("first")), "t9_v1_").await;
        let side = Side::of(&gateway, HOST_ONE);
        assert_eq!(side.fault(&key).await, "NOT_FOUND");
        relay(&gateway, &overlay("https://newer.example", "t1", &secret("first")), "t1_v1_").await;
        assert_eq!(side.verdict(&key).await["issuer"], "https://newer.example");
        assert_eq!(Side::of(&gateway, HOST_TWO).fault(&plain).await, "NOT_FOUND", "the other has none of it");
    }

    /// Proves: TALOS-M13
    async fn an_overlay_may_set_business_logic_secrets_credentials_and_the_cache(store) {
        let one = format!("talos: {{anything: {{goes: [1, 2]}}}}\ncache: {{type: memory, enabled: true}}\n{}", secret("one"));
        let two = format!("talos: {{limit: 5}}\ncache: {{type: noop}}\n{}", secret("two"));
        let gateway = two_tenants(store, &one, &two, BASE_SECRET).start().await;
        let (one, two) = sides(&gateway);
        let (first, second) = (one.issue(&json!({})).await.secret, two.issue(&json!({})).await.secret);
        let cache = async |side: Side<'_>, credential: &str| {
            let answer = side.post(VERIFY, &json!({ "credential": credential })).await;
            assert_eq!(answer.json()["is_valid"], true, "{}", answer.text());
            answer.header("ory-talos-cache").unwrap().to_owned()
        };
        assert_eq!(cache(one, &first).await, "MISS");
        // On PostgreSQL a process hears of its own changes as well, a moment later, and then reads once more.
        let deadline = Instant::now() + PATIENCE;
        while cache(one, &first).await != "HIT" {
            assert!(Instant::now() < deadline, "memory never answers");
        }
        assert_eq!([cache(two, &second).await, cache(two, &second).await], ["SKIP", "SKIP"]);
        let told = two.verdict(&first).await;
        assert_eq!(told["error_code"], "VERIFICATION_ERROR_NOT_FOUND");
        assert!(told["error_message"].as_str().unwrap().contains("checksum"), "{told}");
        assert!(!gateway.output().contains("is the same for every tenant"), "{}", gateway.output());
    }

    /// Proves: TALOS-M15
    async fn a_network_id_in_a_request_means_nothing(store) {
        let gateway = two_tenants(store, "", "", BASE_SECRET).start().await;
        let (one, two) = sides(&gateway);
        let body = json!({"name": "n", "nid": TWO, "network_id": TWO, "tenant_id": TWO, "metadata": {"nid": TWO}});
        let mut call = one.call("POST", &format!("{ISSUED}?nid={TWO}&network_id={TWO}&tenant_id={TWO}")).json(&body);
        for header in ["nid", "x-nid", "x-network-id", "ory-network-id", "x-talos-nid", "x-tenant-id"] {
            call = call.header(header, TWO);
        }
        let answer = call.header("x-forwarded-host", HOST_TWO).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let path = format!("{ISSUED}/{}", answer.json()["issued_api_key"]["key_id"].as_str().unwrap());
        assert_eq!(one.read(&format!("{path}?nid={TWO}")).await["metadata"]["nid"], TWO, "data, and nothing else");
        assert_not_found(&two.get(&format!("{path}?nid={ONE}")).await);
        assert_not_found(&two.call("GET", &path).header("x-nid", ONE).send().await);
        let rows = |nid: &str| tamper(&gateway, &format!("SELECT COUNT(*) FROM api_keys WHERE CAST(nid AS TEXT) = '{nid}'"));
        assert_eq!((rows(ONE), rows(TWO)), ("1".to_owned(), "0".to_owned()));
    }

    /// Seed 003, "Provisioning a new tenant", as it is written there.
    /// Proves: TALOS-M17
    async fn a_tenant_is_provisioned_by_a_reload_and_the_next_request_is_its_own(store) {
        let before = two_networks(BASE_SECRET);
        let mut gateway = two_tenants(store, "", "", BASE_SECRET).start().await;
        let smoke = json!({"name": "smoketest", "actor_id": "system"});
        let third = "tenant3.talos.example.com";
        let unknown = Side::of(&gateway, third).post(ISSUED, &smoke).await;
        assert_eq!(assert_error(&unknown, 404, "NOT_FOUND", "NOT_FOUND"), "network not found");
        let overlay = "credentials:\n  issuer: \"https://api.tenant3.example.com\"\n  api_keys:\n    prefix:\n      current: \"t3\"\n";
        std::fs::write(gateway.config_path().with_file_name("tenant3.yaml"), overlay).unwrap();
        let entry = format!("    - hostname: \"{third}\"\n      id: \"550e8400-e29b-41d4-a716-446655440003\"\n      config_path: tenant3.yaml\n");
        let (head, networks) = before.split_once("  networks:\n").unwrap();
        reload(&mut gateway, &format!("{head}  networks:\n{entry}{networks}")).await;
        let side = Side::of(&gateway, third);
        let made = side.post(ISSUED, &smoke).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let secret = made.json()["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("t3_v1_"), "the new tenant's prefix");
        assert_eq!(side.verdict(&secret).await["issuer"], json!("https://api.tenant3.example.com"));
        assert_eq!(Side::of(&gateway, HOST_ONE).fault(&secret).await, "NOT_FOUND");
    }

    /// Proves: TALOS-M19
    async fn a_tenant_that_is_gone_is_404_and_its_rows_stay_until_they_are_deleted(store) {
        let whole = two_networks(BASE_SECRET);
        let mut gateway = two_tenants(store, "", "", BASE_SECRET).start().await;
        let mut secrets = Vec::new();
        for host in [HOST_ONE, HOST_TWO] {
            let side = Side::of(&gateway, host);
            secrets.push(side.issue(&json!({})).await.secret);
            side.import("sk_1").await;
        }
        let without = whole.lines().filter(|line| !line.contains(HOST_TWO)).map(|line| format!("{line}\n")).collect::<String>();
        reload(&mut gateway, &without).await;
        let (one, two) = sides(&gateway);
        let gone = two.post(ISSUED, &json!({})).await;
        assert_eq!(assert_error(&gone, 404, "NOT_FOUND", "NOT_FOUND"), "network not found");
        assert_eq!((one.fault(&secrets[0]).await.as_str(), one.fault(&secrets[1]).await.as_str()), ("", "NOT_FOUND"));
        for (table, credential) in [("api_keys", secrets[1].as_str()), ("imported_api_keys", "sk_1")] {
            assert_eq!(tamper(&gateway, &format!("SELECT COUNT(*) FROM {table} WHERE nid = '{TWO}'")), "1");
            tamper(&gateway, &format!("DELETE FROM {table} WHERE nid = '{TWO}'"));
            assert_eq!(tamper(&gateway, &format!("SELECT COUNT(*) FROM {table}")), "1", "the other's rows");
            assert_eq!(one.fault(credential).await, if table == "api_keys" { "NOT_FOUND" } else { "" });
        }
        reload(&mut gateway, &whole).await;
        let (_, two) = sides(&gateway);
        assert_eq!(two.fault("sk_1").await, "NOT_FOUND");
        assert_eq!(ids(&two.read(ISSUED).await, "issued_api_keys"), Vec::<String>::new());
        two.issue(&json!({})).await;
    }

    /// Proves: TALOS-M20
    async fn a_tenants_keys_can_be_deleted_before_it_goes(store) {
        let gateway = two_tenants(store, "", "", BASE_SECRET).start().await;
        let (one, two) = sides(&gateway);
        let (first, second) = (one.issue(&json!({})).await, two.issue(&json!({})).await);
        assert_eq!(one.fault(&first.secret).await, "");
        let path = format!("{ISSUED}/{}", first.id);
        let deleted = one.delete(&path).await;
        assert_eq!((deleted.status, deleted.text().as_str()), (204, ""));
        for answer in [one.delete(&path).await, one.get(&path).await, one.post(&format!("{path}:rotate"), &json!({})).await] {
            assert_not_found(&answer);
        }
        assert_eq!((one.fault(&first.secret).await.as_str(), two.fault(&second.secret).await.as_str()), ("NOT_FOUND", ""));
        let imported = format!("{IMPORTED}/{}", one.import("sk_1").await["key_id"].as_str().unwrap());
        assert_eq!(one.delete(&imported).await.status, 204);
        assert_not_found(&one.delete(&imported).await);
        one.import("sk_1").await;
    }
}

/// Writes the first tenant's overlay and waits until its new keys begin like this.
async fn relay(gateway: &Gateway, overlay: &str, prefix: &str) {
    let home = gateway.config_path().parent().unwrap().to_owned();
    std::fs::write(home.join("one.yaml"), overlay).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !Side::of(gateway, HOST_ONE).issue(&json!({})).await.secret.starts_with(prefix) {
        assert!(Instant::now() < deadline, "{}", gateway.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
