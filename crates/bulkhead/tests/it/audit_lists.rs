//! How the audit trail is read: filters, pages, lines and tables (issue 4 §4; Connectors dossier §10).

use bh_testkit::{Call, on_both_stores};
use serde_json::{Value, json};

use crate::audit_trail::{ADMIN_KEY, House, INSTALLATION, TENANTS, of, request_id};

on_both_stores! {
    async fn trails_are_filtered_paged_and_written_as_lines_and_tables_also_on_the_command_line(store) {
        let house = House::start(store, "").await;
        let key = house.make("acme-corp").await;
        for name in ["=1+1", "b", "c"] {
            assert_eq!(house.ask("PATCH", &format!("{TENANTS}/acme-corp"), &json!({ "name": name })).await.status, 200);
        }
        let trail = format!("{TENANTS}/acme-corp/audit");
        let refused = house.ask("PATCH", &format!("{TENANTS}/acme-corp"), &json!({"id": "x"})).await;
        assert_eq!(refused.status, 400);
        house.events_become(&trail, "a failure", |events| !of(events, &request_id(&refused)).is_empty()).await;
        for (query, count) in [("action=tenant.updated", 3), ("action=tenant.*", 4), ("result=failed", 1), ("result=denied", 0), ("result=success&actor=ops", 5), ("object=acme-corp&to=2026-01-01", 0)] {
            let listed = house.ask("GET", &format!("{trail}?{query}"), &json!({})).await.json()["data"].clone();
            assert_eq!(listed.as_array().map(Vec::len), Some(count), "{query}: {listed:#}");
            let lines = house.ask("GET", &format!("{trail}?{query}&format=ndjson"), &json!({})).await.text();
            let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(json!(lines), listed, "{query}");
            let table = house.ask("GET", &format!("{trail}?{query}&format=csv"), &json!({})).await;
            assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"));
            assert_eq!(table.text().lines().count(), count + 1, "{query}");
        }
        assert!(house.ask("GET", &format!("{trail}?format=csv"), &json!({})).await.text().starts_with("id,timestamp,tenantId,userId,action,object,toolId,result,duration,actor,"));
        let own = Call::get(house.gateway.at("/api/v1/audit?format=ndjson&action=tenant.*")).bearer(&key).send().await;
        assert_eq!((own.status, own.text().lines().count()), (200, 4));
        for query in ["result=maybe", "format=xml", "from=soon"] {
            assert_eq!(house.ask("GET", &format!("{trail}?{query}"), &json!({})).await.status, 400, "{query}");
        }
        house.events_become(INSTALLATION, "two reads", |events| events.len() >= 2).await;
        let page = house.ask("GET", &format!("{INSTALLATION}?limit=1"), &json!({})).await.json();
        let cursor = page["metadata"]["nextCursor"].as_str().unwrap();
        let next = house.ask("GET", &format!("{INSTALLATION}?limit=1&cursor={cursor}"), &json!({})).await.json();
        assert_ne!(next["data"][0]["id"], page["data"][0]["id"]);
        assert_eq!(house.ask("GET", &format!("{INSTALLATION}?cursor=x"), &json!({})).await.status, 400);

        let endpoint = house.gateway.url().to_owned();
        let file = house.gateway.data_dir().join("ops.key");
        std::fs::write(&file, ADMIN_KEY).unwrap();
        let printed = |args: &[&str]| {
            let place = ["audit", "actions", "--endpoint", &endpoint, "--admin-key-file", file.to_str().unwrap()];
            let output = house.gateway.cli(&[&place, args].concat());
            assert!(output.ok(), "{output}");
            output.stdout
        };
        let told: Value = serde_json::from_str(&printed(&["--tenant", "acme-corp", "--action", "tenant.*", "--json"])).unwrap();
        assert_eq!(told.as_array().map(Vec::len), Some(4));
        assert_eq!(printed(&["--tenant", "acme-corp", "--action", "tenant.*", "--format", "csv"]).lines().count(), 5);
        assert!(printed(&["--tenant", "acme-corp", "--result", "failed"]).contains("request.failed"));
        assert!(printed(&[]).contains("request.read"));
    }
}
