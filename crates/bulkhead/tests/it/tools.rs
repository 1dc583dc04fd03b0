//! Tools (seed 001, "SDK Usage"; Connectors dossier §2, §9): a tenant's MCP server, a real one of the official SDK, added, listed,
//! searched and called; and what is on record of it.

use bh_testkit::{Call, on_both_stores};
use serde_json::{Value, json};

use crate::auth::ADMIN_KEY;
use crate::tools_setup::{ADD, CUSTOM, HERE, House, INVOKE, good, ids, refused, server, text};

on_both_stores! {
    async fn a_tenants_server_is_added_and_its_tools_are_listed_chosen_and_called_by_nobody_else(store) {
        let house = House::start(store, HERE).await;
        let (acme, beta) = (house.tenant("acme-corp", json!({})).await, house.tenant("beta-corp", json!({})).await);
        let server = server(&[]);
        let made = house.added(&acme, "acme-tools", &server.url()).await;
        assert_eq!((&made["name"], &made["toolsDiscovered"], &made["endpoint"]), (&json!("acme-tools"), &json!(5), &json!(server.url())));
        let deployment = format!("/api/v1/mcp/deployments/{}", made["deploymentId"].as_str().unwrap());
        assert_eq!(house.read(&acme, &deployment).await, made);
        let servers = house.read(&acme, CUSTOM).await;
        assert_eq!((&servers["count"], &servers["servers"][0]["toolCount"]), (&json!(1), &json!(5)));

        let page = house.read(&acme, "/api/v1/tools/list?limit=2&page=2").await;
        assert_eq!(ids(&page["tools"]), ["acme-tools.createPullRequest", "acme-tools.create_issue"]);
        assert_eq!((&page["total"], &page["hasMore"], &page["pagination"]["offset"]), (&json!(5), &json!(true), &json!(2)));
        let found = house.read(&acme, "/api/v1/tools/list?search=PULL&category=custom&integration=acme-tools").await;
        assert_eq!(ids(&found["tools"]), ["acme-tools.createPullRequest"]);
        let tool = house.read(&acme, "/api/v1/tools/acme-tools.add/schema").await;
        assert_eq!(tool["parameters"]["required"], json!(["a", "b"]));
        let categories = house.read(&acme, "/api/v1/categories").await;
        assert_eq!((&categories["categories"][0]["name"], &categories["categories"][0]["toolCount"]), (&json!("custom"), &json!(5)));

        let select = json!({"query": "propose a pull request", "maxTools": 1});
        let selected = house.call(&acme, "POST", "/api/v1/tools/select").json(&select).send().await.json();
        assert_eq!(ids(&selected["tools"]), ["acme-tools.createPullRequest"]);
        assert_eq!(selected["data"]["tools"]["tier1"], selected["tools"]);
        assert!(selected["data"]["performance"]["tokenUsage"].as_u64().unwrap() > 20, "{selected}");
        let narrow = json!({"query": "propose a pull request to a repository", "tokenBudget": 100});
        let narrow = house.call(&acme, "POST", "/api/v1/tools/select").json(&narrow).send().await.json();
        assert!(narrow["totalTokens"].as_u64().unwrap() <= 100, "{narrow}");
        assert_eq!(narrow["tools"][0]["tier"], json!(2), "{narrow}");
        let load = narrow["tools"][0]["loadUrl"].as_str().unwrap();
        assert!(house.read(&acme, load).await["parameters"]["properties"]["repo"].is_object());

        assert_eq!(text(&house.invoke(&acme, "acme-tools.add", &json!({"a": 2, "b": 3})).await), "5");
        // Numbers come back as the tool wrote them.
        let exact = house.invoke(&acme, "acme-tools.createPullRequest", &json!({"repo": "acme/app"})).await;
        assert!(exact.status == 200 && exact.text().contains("12345678901234567890123"), "{}", exact.text());

        // Nobody else sees any of it, or reaches it, under whatever name.
        assert_eq!(house.read(&beta, "/api/v1/tools/list").await["total"], json!(0));
        assert_eq!(house.read(&beta, CUSTOM).await["count"], json!(0));
        let theirs = house.call(&beta, "POST", "/api/v1/tools/select").json(&select).send().await;
        assert_eq!(good(&theirs, 200)["tools"]["tier1"], json!([]));
        refused(&house.invoke(&beta, "acme-tools.add", &json!({"a": 1, "b": 1})).await, 404, "TOOL_NOT_FOUND");
        refused(&house.call(&beta, "GET", &deployment).send().await, 404, "DEPLOYMENT_NOT_FOUND");
        refused(&house.call(&beta, "GET", "/api/v1/tools/acme-tools.add").send().await, 404, "TOOL_NOT_FOUND");
        refused(&house.remove(&beta, "acme-tools").await, 404, "SERVER_NOT_FOUND");
        for (path, body) in [
            (INVOKE, json!({"toolId": "acme-tools.add", "tenantId": "acme-corp"})),
            ("/api/v1/tools/select", json!({"query": "add", "options": {"tenantId": "acme-corp"}})),
            (ADD, json!({"name": "x", "source": {"type": "http", "url": server.url()}, "tenantId": "acme-corp"})),
        ] {
            let answer = house.call(&beta, "POST", path).json(&body).send().await;
            refused(&answer, 403, "CROSS_TENANT_ACCESS_DENIED");
        }
        // The same name is another server there.
        house.added(&beta, "acme-tools", &server.url()).await;
        assert_eq!(text(&house.invoke(&beta, "acme-tools.add", &json!({"a": 1, "b": 1})).await), "2");

        refused(&house.add(&acme, "acme-tools", &server.url()).await, 409, "SERVER_ALREADY_EXISTS");
        assert_eq!(house.remove(&acme, "acme-tools").await.status, 200);
        refused(&house.invoke(&acme, "acme-tools.add", &json!({"a": 2, "b": 3})).await, 404, "TOOL_NOT_FOUND");
        refused(&house.call(&acme, "GET", &deployment).send().await, 404, "DEPLOYMENT_NOT_FOUND");
        assert_eq!(text(&house.invoke(&beta, "acme-tools.add", &json!({"a": 1, "b": 2})).await), "3");
    }

    /// Proves: CONN-38
    async fn a_tools_call_is_on_the_trail_with_everything_the_seed_tells_and_without_its_secrets(store) {
        let mut house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({})).await;
        let server = server(&[("MODE", "json")]);
        house.added(&acme, "github", &server.url()).await;
        let parameters = json!({"repo": "acme/app", "api_key": "k-s3cret-of-acme", "pin": "p-4711-of-acme"});
        let body = json!({"toolId": "github.createPullRequest", "integration": "github", "tenantId": "acme-corp", "parameters": parameters});
        let call = house.call(&acme, "POST", INVOKE).json(&body).header("x-user-id", "user-123").header("user-agent", "agent/7");
        let answer = call.send().await;
        let told = answer.json();
        assert_eq!((&told["toolId"], &told["metadata"]["isError"]), (&json!("github.createPullRequest"), &json!(false)));
        assert!(told["metadata"]["executionTime"].is_u64() && told["executionTimeMs"].is_u64(), "{told}");

        let events = house.trail(&acme, 1).await;
        let event = &events[0];
        for (name, value) in [
            ("tenantId", json!("acme-corp")), ("userId", json!("user-123")), ("action", json!("tools.invoke")),
            ("toolId", json!("github.createPullRequest")), ("result", json!("success")), ("ip", json!("127.0.0.1")),
            ("userAgent", json!("agent/7")), ("requestId", told["metadata"]["requestId"].clone()),
        ] {
            assert_eq!(event[name], value, "{name}: {event}");
        }
        assert!(event["timestamp"].is_string() && event["duration"].is_u64(), "{event}");
        let shown = json!({"repo": "acme/app", "api_key": "[redacted]", "pin": "[redacted]", "status": "completed"});
        assert_eq!(event["params"], shown);

        // The same call in the evidence, in the usage and among the counters.
        let listed = house.read_plain(&acme, "/v1/evidence?invocation_type=mcp").await;
        assert_eq!(listed["entries"].as_array().unwrap().len(), 1, "{listed}");
        let id = told["metadata"]["requestId"].as_str().unwrap();
        let record = house.read_plain(&acme, &format!("/v1/evidence/{id}")).await;
        let (execution, decision) = (&record["execution"], &record["policy_decision"]);
        assert_eq!((&execution["provider"], &execution["model_used"]), (&json!("github"), &json!("createPullRequest")), "{record}");
        assert_eq!((&record["status"], &decision["allowed"]), (&json!("completed"), &json!(true)));
        assert_eq!(house.invocations(&acme).await, json!(1));
        let metrics = Call::get(house.gateway.at("/metrics")).send().await.text();
        assert!(metrics.contains(r#"bulkhead_tool_calls_total{tenant="acme-corp",outcome="completed"} 1"#), "{metrics}");

        // What the tool says of itself, and what is refused, are told too.
        let broken = house.invoke(&acme, "github.break_down", &json!({})).await;
        assert!(broken.status == 200 && broken.json()["data"]["isError"] == json!(true), "{}", broken.text());
        let events = house.trail(&acme, 2).await;
        assert_eq!((&events[1]["action"], &events[1]["result"]), (&json!("tools.invoke_failed"), &json!("failed")));
        assert_eq!(events[1]["params"]["reason"], json!("tool_error"));
        let failed = house.read(&acme, "/api/v1/audit?result=failed").await;
        assert_eq!(failed.as_array().unwrap().len(), 1, "{failed}");

        let everything = house.read(&acme, "/api/v1/audit?limit=1000").await.to_string();
        let verified = house.gateway.cli(&["audit", "verify", "--all"]);
        assert!(verified.ok(), "{verified}");
        assert!(house.gateway.terminate().await);
        let logs = house.gateway.output();
        for secret in ["s3cret-of-acme", "4711-of-acme"] {
            assert!(!everything.contains(secret) && !logs.contains(secret), "{secret}");
            let kept = |(_, content): &(_, Vec<u8>)| String::from_utf8_lossy(content).contains(secret);
            assert!(!house.gateway.files().iter().any(kept), "{secret}");
        }
    }

    /// Proves: CONN-15
    async fn a_server_is_shown_the_tenants_own_token_and_no_other(store) {
        let house = House::start(store, HERE).await;
        let (acme, beta) = (house.tenant("acme-corp", json!({})).await, house.tenant("beta-corp", json!({})).await);
        let open = server(&[("MODE", "stateless")]);
        for key in [&acme, &beta] {
            house.added(key, "crm", &open.url()).await;
        }
        house.credential("acme-corp", "crm", "token-of-acme").await;
        assert_eq!(text(&house.invoke(&acme, "crm.who_am_i", &json!({})).await), "Bearer token-of-acme");
        assert_eq!(text(&house.invoke(&beta, "crm.who_am_i", &json!({})).await), "nothing");
        // One that was stored anew is shown from the next call on.
        house.credential("acme-corp", "crm", "second-of-acme").await;
        assert_eq!(text(&house.invoke(&acme, "crm.who_am_i", &json!({})).await), "Bearer second-of-acme");
        // Whoever has a key can give the name to another server: that one is not shown what was stored for this one.
        let other = server(&[]);
        assert_eq!(house.remove(&acme, "crm").await.status, 200);
        house.added(&acme, "crm", &other.url()).await;
        assert_eq!(text(&house.invoke(&acme, "crm.who_am_i", &json!({})).await), "nothing");
        // Nor does a renewal move it there: the operator has to say where.
        let path = house.gateway.at("/api/v1/admin/tenants/acme-corp/oauth/crm/credentials");
        let put = |body: &Value| Call::new("PUT", &path).bearer(ADMIN_KEY).json(body);
        let renewed = put(&json!({"accessToken": "third-of-acme"})).send().await;
        refused(&renewed, 409, "CONFLICT");
        assert_eq!(renewed.json()["error"]["context"]["serverAt"], json!(other.url()));
        assert_eq!(text(&house.invoke(&acme, "crm.who_am_i", &json!({})).await), "nothing");
        let said = json!({"accessToken": "third-of-acme", "shownTo": other.url()});
        assert_eq!(put(&said).send().await.status, 201);
        assert_eq!(text(&house.invoke(&acme, "crm.who_am_i", &json!({})).await), "Bearer third-of-acme");

        let closed = server(&[("TOKEN", "wanted")]);
        house.credential("acme-corp", "closed", "stored too early").await;
        let told = good(&house.add(&acme, "closed", &closed.url()).await, 202);
        assert_eq!(told["status"], json!("failed"), "{told}");
        assert!(told["error"].as_str().unwrap().contains("was not shown the tenant's credential"), "{told}");
        house.credential("acme-corp", "closed", "wanted").await;
        house.added(&acme, "closed", &closed.url()).await;
        assert_eq!(text(&house.invoke(&acme, "closed.add", &json!({"a": 1, "b": 1})).await), "2");
        house.credential("acme-corp", "closed", "not that").await;
        let refusal = refused(&house.invoke(&acme, "closed.add", &json!({"a": 1, "b": 1})).await, 401, "UPSTREAM_CREDENTIAL_MISSING");
        assert!(refusal.contains("storeCredentials"), "{refusal}");
        assert_eq!(house.trail(&acme, 7).await[6]["params"]["reason"], json!("upstream_credential_missing"));
        let denied = house.read(&acme, "/api/v1/audit?action=request.denied").await;
        assert_eq!(denied, json!([]), "a call is told of once");
    }
}

on_both_stores! {
    /// What the clients of before sent (dossier §2.3, §4): keys in `X-API-Key`, flat and nested options, a tenant in the body; and
    /// where they look for the answer.
    ///
    /// Proves: CONN-45
    async fn requests_of_the_clients_of_before_are_answered_where_they_look(store) {
        let house = House::start(store, HERE).await;
        let acme = house.tenant("acme-corp", json!({})).await;
        let server = server(&[]);
        let ask = async |method: &str, path: &str, body: &Value| {
            let mut told = Vec::new();
            for (header, value) in [("x-api-key", acme.clone()), ("authorization", format!("Bearer {acme}"))] {
                let call = Call::new(method, house.gateway.at(path)).header(header, &value);
                let call = call.header("x-tenant-id", "acme-corp").header("user-agent", "@connectors/sdk");
                let answer = if method == "POST" { call.json(body).send().await } else { call.send().await };
                told.push((answer.status, answer.json()));
            }
            let (status, last) = told.pop().unwrap();
            (status, last, told.pop().unwrap())
        };
        let add = json!({"name": "github", "source": {"type": "http", "url": server.url()}, "category": "code", "autoDiscover": true});
        let (again, _, (status, made)) = ask("POST", ADD, &add).await;
        assert_eq!((status, again), (202, 409), "{made}");
        assert!(made["deploymentId"].as_str().unwrap().starts_with("dep-") && made["name"] == json!("github"), "{made}");
        let flat = json!({"query": "create a pull request", "maxTools": 1, "categories": ["code"], "tokenBudget": 3000, "context": {"tenantId": "acme-corp"}});
        let nested = json!({"query": "create a pull request", "options": {"maxTools": 1, "tenantId": "acme-corp", "includeSchemas": true}});
        let legacy = json!({"query": "create a pull request", "context": {"maxTools": 1, "allowedCategories": ["code"]}, "session": {"generate_id": true}});
        for body in [flat, nested, legacy] {
            let (status, told, (_, first)) = ask("POST", "/api/v1/tools/select", &body).await;
            assert_eq!((status, ids(&told["tools"])), (200, vec!["github.createPullRequest"]), "{told}");
            assert_eq!(told["data"]["tools"], first["data"]["tools"], "whatever carries the key");
            assert_eq!((&told["tier1"], &told["metadata"]["categoriesUsed"]), (&told["tools"], &json!(["code"])));
            assert!(told["totalTokens"].is_u64() && told["metadata"]["selectionLatency"].is_u64(), "{told}");
        }
        // The first that says it wins: what stands flat, options, context.
        let all = json!({"query": "repository", "maxTools": 1, "options": {"maxTools": 2}, "context": {"maxTools": 3, "allowedCategories": ["other"]}});
        let (_, told, _) = ask("POST", "/api/v1/tools/select", &all).await;
        assert_eq!(told["tools"], json!([]), "only the context names categories");
        let invoke = json!({"toolId": "github.createPullRequest", "integration": "github", "tenantId": "acme-corp", "parameters": {"repo": "acme/app"}});
        let (status, told, _) = ask("POST", INVOKE, &invoke).await;
        assert_eq!((status, &told["toolId"]), (200, &json!("github.createPullRequest")), "{told}");
        assert!(told["data"]["content"].is_array() && told["performance"]["latency_ms"].is_u64(), "{told}");
        let (_, told, _) = ask("GET", "/api/v1/tools/list?limit=100&offset=0&tenantId=acme-corp", &Value::Null).await;
        assert_eq!((&told["total"], &told["data"]["pagination"]["total"]), (&json!(5), &json!(5)));
        assert_eq!(told["integrations"], json!([{"name": "github", "category": "code", "description": "", "toolCount": 5, "custom": true}]));
        for (path, member) in [
            ("/api/v1/categories", "categories"), ("/api/v1/mcp/integrations", "integrations"), ("/api/v1/mcp/custom?tenantId=acme-corp", "servers"),
        ] {
            let (status, told, _) = ask("GET", path, &Value::Null).await;
            assert_eq!((status, told[member].as_array().map(Vec::len)), (200, Some(1)), "{path}: {told}");
        }
        let github = json!({"name": "built", "source": {"type": "github", "url": "https://github.com/acme/mcp-server"}, "category": "custom"});
        let (status, told, _) = ask("POST", ADD, &github).await;
        assert_eq!((status, &told["success"], &told["error"]["code"]), (501, &json!(false), &json!("NOT_IMPLEMENTED")), "{told}");
        let (gone, _, (status, told)) = ask("DELETE", "/api/v1/mcp/custom/github?tenantId=acme-corp", &Value::Null).await;
        assert_eq!((status, gone, &told["name"]), (200, 404, &json!("github")), "{told}");
        let stranger = Call::post(house.gateway.at(INVOKE), &invoke).header("x-api-key", "k".repeat(40)).send().await;
        refused(&stranger, 401, "INVALID_API_KEY");
    }
}
