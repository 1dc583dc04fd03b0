//! What the API-key server says no to, and how (Talos dossier §2.6): every error in one envelope, and bodies that cannot
//! be read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use bh_testkit::{Answer, Gateway, RawSocket, Store, on_both_stores};
use serde_json::{Value, json};

use crate::keys_setup::{
    BATCH_IMPORT, DERIVE, IMPORTED, ISSUED, SELF_REVOKE, Side, assert_bad_request, assert_error,
    assert_not_found, import_body, open_gateway,
};
use crate::money::tamper;
use crate::verify_setup::PATIENCE;

const ADMIN: &str = "admin-key-of-the-key-api-01";
const VIEWER: &str = "viewer-key-of-the-key-api-01";

fn assert_internal(answer: &Answer) -> String {
    assert_error(answer, 500, "INTERNAL", "INTERNAL_SERVER_ERROR")
}

/// A gateway with an admin and a viewer, where rate limits of keys hold.
async fn guarded(store: Store) -> Gateway {
    let yaml = format!(
        "rate_limit: {{enabled: true}}\nadmin_keys:\n  - {{name: ops, key: {ADMIN}, role: admin}}\n  - {{name: eyes, key: {VIEWER}, role: viewer}}\n"
    );
    open_gateway(store, &yaml).start().await
}

/// Somebody else who has the lock that every new key needs.
struct Holder(Child);

impl Holder {
    fn of(gateway: &Gateway) -> Self {
        let mut command = match gateway.database() {
            Some(database) => database.session(),
            None => {
                let script = "import sqlite3, sys\n\
                    db = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)\n\
                    for line in sys.stdin:\n    [print(*row, flush=True) for row in db.execute(line)]\n";
                let python =
                    std::env::var_os(bh_testkit::parts::PYTHON_ENV).unwrap_or_else(|| "python3".into());
                let mut command = Command::new(python);
                command.args(["-c", script]).arg(gateway.data_dir().join("bulkhead.db"));
                command
            }
        };
        let mut session = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let take = match gateway.database() {
            Some(_) => "BEGIN;\nLOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE;\n",
            None => "BEGIN IMMEDIATE\n",
        };
        let say = |session: &mut Child, text: &str| {
            session.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap()
        };
        say(&mut session, take);
        say(&mut session, "SELECT 'held';\n");
        let mut told = String::new();
        BufReader::new(session.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
        assert_eq!(told.trim(), "held");
        Self(session)
    }

    fn let_go(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

on_both_stores! {
    /// Every id of dossier §2.6 that something here can cause, but for those of the next test. `invalid_api_key_format`,
    /// `unknown_credential` and `invalid_token_type` are only said inside Talos: what is no key or token is a key from
    /// elsewhere that nobody knows. `payment_required` is said by what is free here.
    ///
    /// Proves: TALOS-C19
    async fn every_error_comes_in_the_envelope_that_clients_read(store) {
        let yaml = "quota: {api_keys_max: 4}\ncredentials: {derived_tokens: {jwt: {signing_key_id: no-such-key}}}\n";
        let gateway = open_gateway(store, yaml).start().await;
        let side = Side::of(&gateway, "");
        let key = side.issue(&json!({"scopes": ["a"]})).await;
        let short = side.issue(&json!({"ttl": "1s"})).await;
        let revoked = side.issue(&json!({})).await;
        let end = json!({"reason": "REVOCATION_REASON_KEY_COMPROMISE"});
        let revoke = format!("{ISSUED}/{}:revoke", revoked.id);
        assert_eq!(side.post(&revoke, &end).await.status, 204);

        assert_bad_request(&side.post(ISSUED, &json!({"ttl": "soon"})).await, "`ttl`: expected a duration");
        let credential = |text: &str| json!({ "credential": text });
        for nothing in [json!({}), json!({"credential": null}), credential("")] {
            assert_error(&side.post(SELF_REVOKE, &nothing).await, 400, "INVALID_ARGUMENT", "CREDENTIAL_REQUIRED");
            assert_error(&side.post(DERIVE, &nothing).await, 400, "INVALID_ARGUMENT", "CREDENTIAL_REQUIRED");
        }
        let macaroon = json!({"credential": key.secret, "algorithm": "TOKEN_ALGORITHM_MACAROON"});
        let token = side.post(DERIVE, &macaroon).await.json()["token"]["token"].as_str().unwrap().to_owned();
        let refused = side.post(SELF_REVOKE, &credential(&token)).await;
        assert_error(&refused, 400, "INVALID_ARGUMENT", "DERIVED_TOKEN_NOT_REVOCABLE");
        assert_bad_request(&side.post(DERIVE, &credential(&token)).await, "derived token");

        let refused = side.post(DERIVE, &credential("junk")).await;
        assert_error(&refused, 401, "UNAUTHENTICATED", "UNAUTHORIZED");
        assert!(refused.header("www-authenticate").is_some());
        let refused = side.post(DERIVE, &credential(&revoked.secret)).await;
        assert_error(&refused, 403, "PERMISSION_DENIED", "FORBIDDEN");
        let more = json!({"credential": key.secret, "scopes": ["a", "b"]});
        let message = assert_error(&side.post(DERIVE, &more).await, 403, "PERMISSION_DENIED", "FORBIDDEN");
        assert!(message.contains("`b`"), "{message}");

        assert_not_found(&side.get(&format!("{ISSUED}/00000000-0000-4000-8000-000000000000")).await);
        assert_not_found(&side.get(&format!("{IMPORTED}/{}", key.id)).await);
        let unknown = assert_error(&side.get("/v2alpha1/nothing").await, 404, "NOT_FOUND", "NOT_FOUND");
        assert_eq!(unknown, "No such route");
        assert_error(&side.post(&revoke, &end).await, 409, "ALREADY_EXISTS", "CONFLICT");
        let rotated = side.post(&format!("{ISSUED}/{}:rotate", revoked.id), &json!({})).await;
        assert_error(&rotated, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION");

        side.import("sk_1").await;
        side.import("sk_2").await;
        for answer in [side.post(ISSUED, &json!({})).await, side.post(IMPORTED, &import_body("sk_3")).await] {
            assert_error(&answer, 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED");
            let facts = answer.json()["error"]["details"][0]["metadata"].clone();
            assert_eq!((&facts["limit"], &facts["current_usage"]), (&json!("4"), &json!("4")), "texts, or clients lose them");
        }
        // No key has the id that is to sign.
        let answer = side.post(DERIVE, &credential(&key.secret)).await;
        let message = assert_internal(&answer);
        assert!(message.contains("no-such-key"), "{message}");
        assert_eq!(answer.json()["error"]["details"][0]["metadata"]["signing_key_id"], "no-such-key");

        // Expired, as soon as it is.
        for _ in 0..400 {
            if side.fault(&short.secret).await == "EXPIRED" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let refused = side.post(SELF_REVOKE, &credential(&short.secret)).await;
        assert_error(&refused, 401, "UNAUTHENTICATED", "API_KEY_EXPIRED");
        assert_error(&side.post(DERIVE, &credential(&short.secret)).await, 401, "UNAUTHENTICATED", "UNAUTHORIZED");
        let rotated = side.post(&format!("{ISSUED}/{}:rotate", short.id), &json!({})).await;
        assert_error(&rotated, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION");

        // A store that does not answer.
        tamper(&gateway, "ALTER TABLE api_keys RENAME TO api_keys_away");
        for answer in [side.get(&format!("{ISSUED}/{}", key.id)).await, side.get(ISSUED).await, side.post(ISSUED, &json!({})).await] {
            assert_error(&answer, 503, "UNAVAILABLE", "SERVICE_UNAVAILABLE");
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert!(!answer.text().contains("api_keys"), "{}", answer.text());
        }
        tamper(&gateway, "ALTER TABLE api_keys_away RENAME TO api_keys");
        assert_eq!(side.get(ISSUED).await.status, 200);
        for text in [&key.secret, &token] {
            assert!(!gateway.output().contains(text.as_str()));
        }
    }

    /// Proves: TALOS-C19
    async fn a_store_that_is_held_up_is_told_from_one_that_is_gone(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let holder = Holder::of(&gateway);
        assert_error(&side.post(ISSUED, &json!({})).await, 504, "DEADLINE_EXCEEDED", "GATEWAY_TIMEOUT");
        holder.let_go();
        let deadline = Instant::now() + PATIENCE;
        while side.post(ISSUED, &json!({})).await.status != 201 {
            assert!(Instant::now() < deadline, "{}", gateway.output());
        }
    }

    /// Proves: TALOS-C19
    async fn who_may_not_administer_is_told_in_the_same_envelope(store) {
        let gateway = guarded(store).await;
        let side = Side::of(&gateway, "");
        let as_who = |method: &str, path: &str, key: &str| side.call(method, path).bearer(key).json(&json!({}));
        let key = as_who("POST", ISSUED, ADMIN).send().await.json();
        let secret = key["secret"].as_str().unwrap();
        let one = format!("{ISSUED}/{}", key["issued_api_key"]["key_id"].as_str().unwrap());
        let changes = [("POST", ISSUED.to_owned()), ("POST", IMPORTED.to_owned()), ("POST", BATCH_IMPORT.to_owned()),
            ("PATCH", one.clone()), ("DELETE", one.clone()), ("POST", format!("{one}:rotate")), ("POST", format!("{one}:revoke"))];
        for (method, path) in &changes {
            for wrong in ["", "nobody"] {
                let answer = as_who(method, path, wrong).send().await;
                assert_error(&answer, 401, "UNAUTHENTICATED", "UNAUTHORIZED");
                assert!(answer.header("www-authenticate").is_some());
            }
            assert_error(&as_who(method, path, VIEWER).send().await, 403, "PERMISSION_DENIED", "FORBIDDEN");
        }
        assert_eq!(as_who("GET", &one, VIEWER).send().await.status, 200);
        // What needs no operator.
        assert_eq!(side.get("/v2alpha1/derivedKeys/jwks.json").await.status, 200);
        let wish = json!({"credential": secret, "reason": "REVOCATION_REASON_SUPERSEDED"});
        assert_eq!(side.post(SELF_REVOKE, &wish).await.status, 200);
        assert_error(&side.call("PUT", ISSUED).bearer(ADMIN).send().await, 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED");
    }

    /// Keys and tokens that administer their tenant's keys, and are over: whoever proved to hold one learns what became
    /// of it.
    ///
    /// Proves: TALOS-C19
    async fn a_key_that_administers_keys_is_told_what_became_of_it(store) {
        let gateway = guarded(store).await;
        let side = Side::of(&gateway, "");
        let as_who = |method: &str, path: &str, key: &str| side.call(method, path).bearer(key);
        let made = async |mut body: Value| {
            body["scopes"] = json!(["keys"]);
            let told = as_who("POST", ISSUED, ADMIN).json(&body).send().await.json();
            let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
            (text(&told["issued_api_key"]["key_id"]), text(&told["secret"]))
        };
        let token_of = async |secret: &str| {
            let body = json!({"credential": secret, "algorithm": "TOKEN_ALGORITHM_JWT"});
            let told = as_who("POST", DERIVE, ADMIN).json(&body).send().await.json();
            told["token"]["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
        };
        let (id, revoked) = made(json!({})).await;
        let (_, short) = made(json!({"ttl": "2s"})).await;
        let (_, other) = made(json!({})).await;
        let (orphan, good) = (token_of(&revoked).await, token_of(&other).await);
        assert_eq!(as_who("GET", ISSUED, &good).send().await.status, 200);
        let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
        let revoke = format!("{ISSUED}/{id}:revoke");
        assert_eq!(as_who("POST", &revoke, ADMIN).json(&end).send().await.status, 204);
        let (head, signature) = good.rsplit_once('.').unwrap();
        let torn = format!("{head}.{}", signature.chars().rev().collect::<String>());
        for (credential, reason) in
            [(&revoked, "API_KEY_REVOKED"), (&orphan, "PARENT_KEY_INVALID"), (&torn, "SIGNATURE_INVALID")]
        {
            let refused = as_who("GET", ISSUED, credential).send().await;
            assert_error(&refused, 401, "UNAUTHENTICATED", reason);
        }
        let deadline = std::time::Instant::now() + crate::verify_setup::PATIENCE;
        let expired = loop {
            let answer = as_who("GET", ISSUED, &short).send().await;
            if answer.status != 200 {
                break answer;
            }
            assert!(std::time::Instant::now() < deadline, "a key of two seconds goes on");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_error(&expired, 401, "UNAUTHENTICATED", "API_KEY_EXPIRED");

        let (_, elsewhere) = made(json!({"ip_restriction": {"allowed_cidrs": ["192.0.2.0/24"]}})).await;
        let refused = as_who("GET", ISSUED, &elsewhere).send().await;
        assert_error(&refused, 403, "PERMISSION_DENIED", "IP_NOT_ALLOWED");
        let derive = as_who("POST", DERIVE, ADMIN).json(&json!({ "credential": elsewhere })).send().await;
        assert_error(&derive, 403, "PERMISSION_DENIED", "IP_NOT_ALLOWED");
        let (_, once) = made(json!({"rate_limit_policy": {"quota": "1", "window": "3600s"}})).await;
        assert_eq!(as_who("GET", ISSUED, &once).send().await.status, 200);
        let refused = as_who("GET", ISSUED, &once).send().await;
        assert_error(&refused, 429, "RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS");
        assert!(refused.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn a_web_page_administers_no_keys_where_nobody_needs_a_credential() {
    let gateway = open_gateway(Store::Sqlite, "").start().await;
    let side = Side::of(&gateway, "");
    let body = json!({"name": "n", "actor_id": "a"});
    let from_a_page = side.call("POST", ISSUED).header("origin", "http://evil.example").json(&body);
    assert_error(&from_a_page.send().await, 403, "PERMISSION_DENIED", "FORBIDDEN");
    assert_eq!(side.call("POST", ISSUED).json(&body).send().await.status, 201);
}

/// Acceptance 7.
#[tokio::test]
async fn a_secret_of_31_characters_is_refused_when_it_is_loaded() {
    for (key, block) in [
        ("secrets.hmac.current", "hmac: {current: SECRET}"),
        ("secrets.pagination.current", "pagination: {current: SECRET}"),
        ("secrets.hmac.retired", "hmac: {current: long-enough-to-sign-with-0123456789, retired: [SECRET]}"),
    ] {
        let yaml = |length: usize| format!("secrets:\n  {}\n", block.replace("SECRET", &"s".repeat(length)));
        let refused = open_gateway(Store::Sqlite, &yaml(31)).try_start().await.unwrap_err();
        assert_ne!(refused.code, Some(0), "{refused}");
        let said = &refused.stderr;
        assert!(said.contains(key) && said.contains("32"), "{said}");
        assert!(!said.contains(&"s".repeat(31)), "{said}");
        open_gateway(Store::Sqlite, &yaml(32)).start().await;
    }
}

/// A client that sends its body after the head can go on with a connection whose request was refused by the head alone.
#[tokio::test]
async fn a_refusal_before_the_body_leaves_the_connection_usable_or_says_that_it_ends() {
    let gateway = guarded(Store::Sqlite).await;
    let patience = std::time::Duration::from_secs(10);
    let head = |length: usize, more: &str| {
        format!(
            "POST {ISSUED} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
        )
    };
    let mut socket = RawSocket::connect(gateway.url()).await;
    socket.write(head(2, "")).await;
    socket.write("{}").await;
    let refused = socket.read_until("}}", patience).await;
    assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("connection: close"), "{refused}");
    let again = format!("{}{{}}", head(2, &format!("authorization: Bearer {ADMIN}\r\n")));
    socket.write(again).await;
    let answered = socket.read_until("HTTP/1.1 201", patience).await;
    assert!(answered.contains("HTTP/1.1 201"), "{answered}");
    // A body that is too long to be waited for, and one that the client holds back.
    for request in [head(1_000_000, ""), head(2, "expect: 100-continue\r\n")] {
        let mut socket = RawSocket::connect(gateway.url()).await;
        socket.write(request).await;
        let refused = socket.read_until("}}", patience).await.to_ascii_lowercase();
        assert!(refused.starts_with("http/1.1 401") && refused.contains("connection: close"), "{refused}");
    }
}
