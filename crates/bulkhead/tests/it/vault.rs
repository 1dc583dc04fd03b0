//! Tenants' secrets: stored sealed, told of by name, and nowhere to be found (issue 4 §1).

use bh_testkit::{Call, FakeProvider, on_both_stores};
use serde_json::{Value, json};

use crate::auth::ADMIN_KEY;
use crate::llm_setup::{CHAT, PRICES, config, providers};
use crate::money::tamper;
use crate::vault_setup::{House, SECRETS, TENANTS, builder, secret, until};

/// Values that must never be found.
const PLANTED: [&str; 4] =
    ["hunter2-7f21", "ghp_planted_access_51c", "ghr_planted_refresh_93d", "prompt-of-redwing-44"];

fn credentials(tenant: &str, integration: &str) -> String {
    format!("{TENANTS}/{tenant}/oauth/{integration}/credentials")
}

/// The seed's own credentials.
fn tokens() -> Value {
    json!({
        "accessToken": PLANTED[1], "refreshToken": PLANTED[2], "expiresAt": "2026-12-31T00:00:00Z",
        "scopes": ["repo", "user"],
    })
}

on_both_stores! {
    async fn a_secret_is_stored_replaced_listed_and_removed_and_its_value_never_told(store) {
        let house = House::start(store, "").await;
        house.make("acme").await;
        let made = house.put("acme", "db/password", PLANTED[0]).await;
        assert_eq!((&made["name"], &made["keyVersion"], &made["revision"]), (&json!("db/password"), &json!(1), &json!(1)));
        let again = json!({"value": "other", "metadata": {"of": "the ledger"}});
        let replaced = house.done("PUT", &secret("acme", "db/password"), Some(&again), 200).await;
        assert_eq!((&replaced["revision"], &replaced["metadata"]), (&json!(2), &json!({"of": "the ledger"})));
        assert_eq!(replaced["createdAt"], made["createdAt"]);
        for n in 0..3 {
            house.put("acme", &format!("k{n}"), "v").await;
        }
        let page = house.ask("GET", &format!("{TENANTS}/acme/secrets?limit=3"), None).await.json();
        let names = |page: &Value| page["data"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
        assert_eq!((names(&page), &page["metadata"]["nextCursor"]), (vec![json!("db/password"), json!("k0"), json!("k1")], &json!("k1")));
        let page = house.ask("GET", &format!("{TENANTS}/acme/secrets?limit=3&cursor=k1"), None).await.json();
        assert_eq!((names(&page), &page["metadata"]["nextCursor"]), (vec![json!("k2")], &Value::Null));
        house.done("DELETE", &secret("acme", "k0"), None, 200).await;
        let gone = house.refused("GET", &secret("acme", "k0"), None).await;
        assert_eq!((gone.0, gone.1.as_str()), (404, "NOT_FOUND"));
        assert_eq!(house.refused("DELETE", &secret("acme", "k0"), None).await.0, 404);
        let trail = house.ask("GET", &format!("{TENANTS}/acme/audit?object=k0"), None).await.json();
        let actions: Vec<&Value> = trail["data"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
        assert_eq!(actions, [&json!("secret.deleted"), &json!("secret.stored")]);
    }

    async fn what_cannot_be_a_secret_is_refused_and_not_repeated(store) {
        let house = House::start(store, "").await;
        house.make("acme").await;
        let put = secret("acme", "name");
        let long = "x".repeat(64 * 1024 + 1);
        for body in [
            json!({}), json!({"value": ""}), json!({"value": 7}), json!({"value": [PLANTED[0]]}), json!({"value": long}),
            json!({"value": "v", PLANTED[0]: 1}), json!({"value": "v", "metadata": PLANTED[0]}),
        ] {
            let (status, code, message) = house.refused("PUT", &put, Some(&body)).await;
            assert_eq!((status, code.as_str()), (400, "VALIDATION_ERROR"), "{message}");
            assert!(!message.contains(PLANTED[0]) && message.len() < 300, "{message}");
        }
        for name in ["Upper", "-x", "a%20b", "oauth/github", &"n".repeat(129)] {
            let (status, ..) = house.refused("PUT", &secret("acme", name), Some(&json!({"value": "v"}))).await;
            assert_eq!(status, 400, "{name}");
        }
        for body in [
            json!({}), json!({"accessToken": " "}), json!({"accessToken": {"is": PLANTED[1]}}),
            json!({"accessToken": "t", "expiresAt": PLANTED[1]}), json!({"accessToken": "t", "scopes": PLANTED[1]}),
            json!({"accessToken": "t", PLANTED[1]: 1}), json!({"accessToken": "t", "tokenType": "a b"}),
        ] {
            let (status, code, message) = house.refused("PUT", &credentials("acme", "github"), Some(&body)).await;
            assert_eq!((status, code.as_str()), (400, "VALIDATION_ERROR"), "{message}");
            assert!(!message.contains("planted"), "{message}");
        }
        assert_eq!(house.refused("PUT", &credentials("acme", "Git%20Hub"), Some(&tokens())).await.0, 400);
        assert_eq!(house.refused("PUT", &secret("nobody", "x"), Some(&json!({"value": "v"}))).await.1, "TENANT_NOT_FOUND");
        assert_eq!(house.verified().await, (1, 0, vec![]), "nothing was stored");
    }

    async fn credentials_are_stored_under_their_integration_and_told_without_tokens(store) {
        let house = House::start(store, "").await;
        house.make("acme").await;
        let stored = house.done("PUT", &credentials("acme", "github"), Some(&tokens()), 201).await;
        let mut shown = house.done("GET", &credentials("acme", "github"), None, 200).await;
        assert_eq!(stored, shown);
        let updated = shown.as_object_mut().unwrap().remove("updatedAt").unwrap();
        assert!(updated.is_string());
        let wanted = json!({
            "tenantId": "acme", "integration": "github", "expiresAt": "2026-12-31T00:00:00.000Z",
            "nextRefreshAt": "2026-12-30T23:55:00.000Z", "scopes": ["repo", "user"], "tokenType": "Bearer", "shownTo": null,
        });
        assert_eq!(shown, wanted);
        let listed = house.done("GET", &format!("{TENANTS}/acme/secrets"), None, 200).await;
        assert_eq!(listed[0]["name"], json!("oauth/github"));
        let bare = house.done("PUT", &credentials("acme", "gmail"), Some(&json!({"accessToken": "t"})), 201).await;
        assert_eq!((&bare["expiresAt"], &bare["nextRefreshAt"], &bare["scopes"]), (&Value::Null, &Value::Null, &json!([])));
        let off = json!({"features": {"oauth": false}});
        house.done("PATCH", &format!("{TENANTS}/acme"), Some(&off), 200).await;
        for (method, body) in [("PUT", Some(tokens())), ("GET", None)] {
            let (status, code, _) = house.refused(method, &credentials("acme", "github"), body.as_ref()).await;
            assert_eq!((status, code.as_str()), (403, "FEATURE_DISABLED"), "{method}");
        }
        // What was stored before can always be taken out.
        house.done("DELETE", &credentials("acme", "github"), None, 200).await;
        assert_eq!(house.refused("DELETE", &credentials("acme", "github"), None).await.0, 404);
    }

    /// Proves: CONN-17
    async fn what_was_changed_in_the_store_is_noticed_and_never_mistaken_for_another(store) {
        let house = House::start(store, "").await;
        for tenant in ["acme", "globex"] {
            house.make(tenant).await;
            house.put(tenant, "one", &format!("{tenant}-1")).await;
            house.put(tenant, "two", &format!("{tenant}-2")).await;
        }
        assert_eq!(house.verified().await, (3, 4, vec![]));
        let nid = |tenant: &str| format!("(SELECT nid FROM tenants WHERE id = '{tenant}')");
        let sealed_of = |tenant: &str, name: &str| {
            format!("(SELECT s.sealed FROM tenant_secrets AS s WHERE s.name = '{name}' AND s.nid = {})", nid(tenant))
        };
        let put = |tenant: &str, name: &str, sealed: &str| {
            format!("UPDATE tenant_secrets SET sealed = {sealed} WHERE name = '{name}' AND nid = {}", nid(tenant))
        };
        // Another name of the same tenant, and the same name of another.
        for other in [sealed_of("acme", "two"), sealed_of("globex", "one")] {
            tamper(&house.0, &put("acme", "one", &other));
            let (status, code, _) = house.refused("GET", &secret("acme", "one"), None).await;
            assert_eq!((status, code.as_str()), (500, "SECRET_UNREADABLE"));
        }
        tamper(&house.0, &format!("UPDATE tenant_secrets SET key_nid = {} WHERE name = 'one' AND nid = {}", nid("globex"), nid("acme")));
        assert_eq!(house.refused("GET", &secret("acme", "one"), None).await.0, 500, "not with the other tenant's key either");
        let (keys, secrets, unreadable) = house.verified().await;
        assert_eq!((keys, secrets, unreadable.len()), (3, 3, 1));
        assert_eq!((&unreadable[0]["tenantId"], &unreadable[0]["secret"]), (&json!("acme"), &json!("one")));
        let told = house.cli(&["verify"]);
        assert!(told.code == Some(1) && told.stdout.contains("acme") && told.stderr.contains("1 do not open"), "{told}");
        for (tenant, name) in [("acme", "two"), ("globex", "one"), ("globex", "two")] {
            house.done("GET", &secret(tenant, name), None, 200).await;
        }
        // Stored anew, it is well again.
        house.done("PUT", &secret("acme", "one"), Some(&json!({"value": "new"})), 200).await;
        assert_eq!(house.verified().await, (3, 4, vec![]));
        // A data key that was exchanged opens nothing.
        tamper(&house.0, &format!(
            "UPDATE data_keys SET wrapped = (SELECT k.wrapped FROM data_keys AS k WHERE k.nid = {}) WHERE nid = {}",
            nid("globex"), nid("acme"),
        ));
        let (keys, secrets, _) = house.verified().await;
        assert_eq!((keys, secrets), (2, 2));
        assert_eq!(house.refused("PUT", &secret("acme", "new"), Some(&json!({"value": "v"}))).await.1, "SECRET_UNREADABLE");
    }

    async fn no_secret_is_found_in_any_file_table_log_or_answer(store) {
        let provider = FakeProvider::start();
        let more = format!("{PRICES}evidence: {{store_prompts: true, store_answers: true}}\nlog: {{level: trace}}\n");
        let yaml = config(&providers(provider.url()), "{}", &more);
        let mut house = House(builder(store, &yaml).start().await);
        let key = house.make("corp").await;
        let mut seen = String::new();
        let mut calls = vec![
            house.call("PUT", &secret("corp", "db"), Some(&json!({"value": PLANTED[0]}))),
            house.call("PUT", &credentials("corp", "github"), Some(&tokens())),
            house.call("PUT", &credentials("corp", "github"), Some(&json!({"accessToken": PLANTED[1], "scopes": 7}))),
            house.call("GET", &secret("corp", "db"), None),
            house.call("GET", &format!("{TENANTS}/corp/secrets"), None),
            house.call("GET", &format!("{TENANTS}/corp/audit"), None),
            house.call("POST", &format!("{TENANTS}/corp/rotate-data-key"), None),
            house.call("POST", &format!("{SECRETS}/rotate-master"), None),
        ];
        let chat = json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": PLANTED[3]}]});
        calls.push(Call::post(house.0.at(CHAT), &chat).bearer(&key));
        for call in calls {
            let answer = call.send().await;
            seen.push_str(&format!("{:?} {}\n", answer.headers, answer.text()));
        }
        // The prompt is kept, under the tenant's own data key.
        let kept = "SELECT count(*) FROM evidence_contents AS c JOIN tenants AS t ON t.nid = c.nid \
            WHERE t.id = 'corp' AND c.key_nid = t.nid AND c.key_version = 2";
        until("the prompt is kept", async || tamper(&house.0, kept) == "2").await;
        if let Some(database) = house.0.database() {
            for table in database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split_whitespace() {
                seen.push_str(&database.sql(&format!("SELECT row_to_json(t) FROM {table} t")));
            }
            seen.push_str(&database.sql("SELECT encode(sealed, 'escape') FROM tenant_secrets"));
            seen.push_str(&database.sql("SELECT encode(sealed, 'escape') FROM evidence_contents"));
            assert!(seen.contains("oauth/github"), "the tables were read");
        }
        seen.push_str(&house.cli(&["list", "--tenant", "corp"]).to_string());
        assert!(house.0.terminate().await);
        seen.push_str(&house.0.output());
        let files = house.0.files();
        for planted in PLANTED {
            assert!(!seen.contains(planted), "{planted} was told");
            for (path, bytes) in &files {
                let found = bytes.windows(planted.len()).any(|window| window == planted.as_bytes());
                assert!(!found, "{planted} is in {}", path.display());
            }
        }
        assert!(!seen.contains(ADMIN_KEY));
    }

    async fn an_operator_stores_lists_and_removes_secrets_from_the_command_line(store) {
        let house = House::start(store, "").await;
        house.make("acme").await;
        let file = house.0.data_dir().parent().unwrap().join("value.txt");
        std::fs::write(&file, format!("{}\n", PLANTED[0])).unwrap();
        let file = file.to_str().unwrap();
        let put = house.cli(&["put", "--tenant", "acme", "db/password", "--value-file", file]);
        assert!(put.ok() && put.stdout == "db/password is stored\n", "{put}");
        let empty = house.cli(&["put", "--tenant", "acme", "empty"]);
        assert!(empty.code == Some(1) && empty.stderr.contains("1 to 65536 bytes"), "{empty}");
        let listed = house.cli(&["list", "--tenant", "acme"]);
        assert!(listed.ok() && listed.stdout.contains("db/password"), "{listed}");
        let listed: Value = serde_json::from_str(&house.cli(&["--json", "list", "--tenant", "acme"]).stdout).unwrap();
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["revision"]), (1, &json!(1)));
        let turned = house.cli(&["rotate-data-key", "--tenant", "acme"]);
        assert!(turned.stdout.contains("data key 2") && turned.stdout.contains("1 secrets"), "{turned}");
        let verified = house.cli(&["verify"]);
        assert!(verified.ok() && verified.stdout == "3 keys and 1 secrets open\n", "{verified}");
        let gone = house.cli(&["delete", "--tenant", "acme", "db/password"]);
        assert!(gone.ok() && gone.stdout == "db/password is removed\n", "{gone}");
        let missing = house.cli(&["delete", "--tenant", "acme", "db/password"]);
        assert!(missing.code == Some(1) && missing.stderr.contains("no such secret"), "{missing}");
    }
}
