//! Bodies that the API-key server does not take (Talos dossier §2.6): values that cannot be kept, and what cannot be read.

use bh_testkit::on_both_stores;
use serde_json::{Value, json};

use crate::keys_setup::{
    BATCH_IMPORT, DERIVE, IMPORTED, ISSUED, SELF_REVOKE, Side, VERIFY, assert_bad_request, assert_error,
    open_gateway,
};

on_both_stores! {
    /// Acceptance 7.
    async fn values_that_cannot_be_kept_are_refused_by_name(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let limit = |quota: Value, window: &str, unit: &str| json!({"rate_limit_policy": {"quota": quota, "window": window, "unit": unit}});
        let cidrs = |cidr: &str| json!({"ip_restriction": {"allowed_cidrs": ["10.0.0.0/8", cidr]}});
        let range = "entry 1 is no address range";
        for (body, problem) in [
            (json!({"ttl": "-1s"}), "`ttl`: expected a duration"),
            (json!({"ttl": "1"}), "`ttl`: expected a duration"),
            (json!({"ttl": "500ms"}), "`ttl`: a duration lies between 1s and 315360000s"),
            (json!({"ttl": "315360001s"}), "`ttl`: a duration lies between"),
            (json!({"ttl": "8761h"}), "`ttl`: longer than the longest life"),
            (json!({"ttl": 3600}), "integer `3600`, expected a string"),
            (json!({"name": "n".repeat(256)}), "`name`: longer than 255 characters"),
            (json!({"actor_id": "é".repeat(256)}), "`actor_id`: longer than 255 characters"),
            (json!({"scopes": ["a", ""]}), "`scopes`: a scope is not empty"),
            (json!({"scopes": vec!["a"; 257]}), "`scopes`: more than 256"),
            (json!({"scopes": "a"}), "expected a sequence"),
            (json!({"metadata": {"k": "x".repeat(65_536)}}), "`metadata`: larger than 65536 bytes"),
            (json!({"metadata": [1]}), "`metadata`"),
            (json!({"metadata": "text"}), "`metadata`"),
            (limit(json!(0), "60s", "requests"), "`quota` must be a whole number above 0"),
            (limit(json!(-5), "60s", "requests"), "`quota` must be a whole number above 0"),
            (limit(json!("many"), "60s", "requests"), "string \"many\", expected a whole number of 64 bits"),
            (limit(json!(1.5), "60s", "requests"), "floating point `1.5`, expected a whole number of 64 bits"),
            (limit(json!("9223372036854775808"), "60s", "requests"), "expected a whole number of 64 bits"),
            (limit(json!(u64::MAX), "60s", "requests"), "expected a whole number of 64 bits"),
            (limit(json!(5), "1500ms", "requests"), "`window` must be whole seconds"),
            (limit(json!(5), "", "requests"), "`window` must be whole seconds"),
            (limit(json!(5), "60s", "tokens"), "`unit` can only be `requests`"),
            (json!({"rate_limit_policy": ["5", "60s"]}), "sequence, expected an object"),
            (json!({"ip_restriction": [["10.0.0.0/8"]]}), "sequence, expected an object"),
            (cidrs("10.0.0.1"), range),
            (cidrs("10.0.0.0/33"), range),
            (cidrs("::/129"), range),
            (cidrs("everywhere"), range),
            (json!({"visibility": "HIDDEN"}), "`visibility`"),
            (json!({"name": "a\0b"}), "NUL"),
        ] {
            assert_bad_request(&side.post(ISSUED, &body).await, problem);
        }
        let (longest, longer) = ("x".repeat(8_192), "x".repeat(8_193));
        for path in [VERIFY, DERIVE, SELF_REVOKE] {
            let refused = side.post(path, &json!({ "credential": longer })).await;
            assert_bad_request(&refused, "`credential`: longer than 8192 bytes");
        }
        assert_eq!(side.fault(&longest).await, "NOT_FOUND");
        assert_eq!(side.fault("a\0b").await, "NOT_FOUND", "as any text that is no key");
        assert_eq!(side.read(ISSUED).await["issued_api_keys"], json!([]), "nothing was kept");
        // Numbers are taken as texts and as numbers, texts in any script, and unknown members passed over.
        let odd = json!({"name": "ключ 🔑", "rateLimitPolicy": {"quota": "9223372036854775807", "window": "1m"}, "nmae": {}});
        let key = side.issue(&odd).await.key;
        assert_eq!((&key["name"], &key["rate_limit_policy"]["quota"]), (&odd["name"], &json!("9223372036854775807")));
    }

    /// Acceptance 7.
    async fn a_body_that_cannot_be_read_is_400_with_its_place(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let deep = format!("{{\"metadata\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
        let bodies: [(&[u8], &str); 14] = [
            (b"{", "line 1 column 1"),
            (b"{\"name\":\"a\",}", "line 1"),
            (b"[]", "sequence, expected an object"),
            (b"[\"a name\",\"an actor\"]", "sequence, expected an object"),
            (b"null", "null, expected an object"),
            (b"\"text\"", "expected an object"),
            (b"7", "expected an object"),
            (b"name=x", "line 1 column"),
            (b"{\"name\":\"\xff\xfe\"}", "invalid unicode"),
            (b"{\"name\":\"a\0b\"}", "line 1"),
            (b"{\"name\":\"a\",\"name\":\"b\"}", "duplicate field `name`"),
            (b"{\"actor_id\":\"a\",\"actorId\":\"b\"}", "duplicate field `actor_id`"),
            (b"{\"name\":\"a\"} {}", "trailing characters"),
            (&deep, "recursion limit exceeded"),
        ];
        for (body, problem) in bodies {
            for path in [ISSUED, IMPORTED] {
                let answer = side.call("POST", path).body(body).send().await;
                assert_bad_request(&answer, problem);
                assert!(!answer.text().contains("struct"), "{}", answer.text());
            }
        }
        let any_path = [VERIFY, DERIVE, SELF_REVOKE, BATCH_IMPORT, "/v2alpha1/admin/apiKeys:batchVerify"];
        for path in any_path {
            assert_bad_request(&side.call("POST", path).body("[]").send().await, "sequence, expected an object");
            let huge = vec![b' '; 20 * 1024 * 1024];
            assert_error(&side.call("POST", path).body(huge).send().await, 413, "INVALID_ARGUMENT", "REQUEST_TOO_LARGE");
        }
        for (body, count) in [(json!({"requests": null}), 0), (json!({"requests": []}), 0), (json!({"requests": vec![json!({}); 101]}), 101)] {
            let refused = side.post("/v2alpha1/admin/apiKeys:batchVerify", &body).await;
            assert_bad_request(&refused, &format!("{count} credentials; a batch has 1 to 100"));
        }
        let told = side.post("/v2alpha1/admin/apiKeys:batchVerify", &json!({"requests": [null, {}, {"credential": "x".repeat(8_193)}]})).await.json();
        let codes: Vec<&Value> = told["results"].as_array().unwrap().iter().map(|item| &item["error_code"]).collect();
        assert_eq!(codes, vec![&json!("VERIFICATION_ERROR_INVALID_FORMAT"); 3], "{told}");
        assert_eq!(side.read(ISSUED).await["issued_api_keys"], json!([]));
    }
}
