//! `bulkhead serve edge`: verdicts of a key server, given again for a while (Talos dossier §4.7).

use std::time::{Duration, Instant};

use bh_testkit::{Call, Gateway, GatewayBuilder, Http2, RawSocket, on_both_stores, sdk};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::auth::{ADMIN_KEY, BULKHEAD};
use crate::keys_clients::{Tenant, run};
use crate::keys_setup::{HOST_ONE, HOST_TWO, Side, assert_error, two_tenants};
use crate::verify_setup::{Api, IMPORTED, ISSUED, PATIENCE, VERIFY};

/// An edge in front of a key server.
fn edge_of(upstream: &str, more: &[&str]) -> GatewayBuilder {
    let own = ["--upstream", upstream, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let args = [&["serve", "edge"], own.as_slice(), more].concat();
    Gateway::builder(BULKHEAD).args(&args)
}

async fn edge(upstream: &Gateway, more: &[&str]) -> Gateway {
    edge_of(upstream.url(), more).start().await
}

/// The address of a path on an edge's inner listener.
fn inside(edge: &Gateway, path: &str) -> String {
    let output = edge.output();
    let address = output.split_once("inside on ").unwrap().1.split_whitespace().next().unwrap();
    format!("{address}{path}")
}

async fn count(edge: &Gateway, name: &str) -> u64 {
    let text = Call::get(inside(edge, "/metrics")).send().await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

/// A verdict in a word and where it came from.
async fn seen(api: &Api<'_>, body: &Value, headers: &[(&str, &str)]) -> (String, String) {
    let answer = api.verify_with(body, headers).await;
    let cache = answer.header("ory-talos-cache").unwrap_or_default().to_owned();
    (crate::verify_setup::verdict(&answer.json()), cache)
}

fn told(verdict: &str, cache: &str) -> (String, String) {
    (verdict.to_owned(), cache.to_owned())
}

on_both_stores! {
    async fn an_edge_gives_a_good_verdict_again_to_whoever_asks_the_very_same(store) {
        let server = Gateway::builder(BULKHEAD).store(store).start().await;
        let edge = edge(&server, &[]).await;
        // Everything else is passed on, so keys are administered through it as well.
        let api = Api::of(&edge);
        let key = api.issue(&json!({"name": "kept", "metadata": {"team": "a"}})).await;
        let body = json!({"credential": key.secret});
        let asked = api.verify_with(&body, &[("x-request-id", "first")]).await;
        let again = api.verify_with(&body, &[("x-request-id", "second"), ("user-agent", "other")]).await;
        assert_eq!((asked.header("ory-talos-cache"), again.header("ory-talos-cache")), (Some("MISS"), Some("HIT")));
        assert_eq!(asked.body, again.body);
        assert_eq!((asked.header("x-request-id"), again.header("x-request-id")), (Some("first"), Some("second")));
        for name in ["content-type", "x-content-type-options", "strict-transport-security"] {
            assert_eq!(asked.header(name), again.header(name), "{name}");
        }
        // Whatever a verdict may depend on is part of the question.
        let audience = json!({"credential": key.secret, "expected_audiences": ["web"]});
        assert_eq!(seen(&api, &audience, &[]).await, told("AUDIENCE_MISMATCH", "MISS"));
        for header in [("authorization", "Bearer x"), ("x-forwarded-for", "10.0.0.9"), ("x-bulkhead-tenant", "default")] {
            assert_eq!(seen(&api, &body, &[header]).await, told("valid", "MISS"), "{header:?}");
            assert_eq!(seen(&api, &body, &[header]).await, told("valid", "HIT"), "{header:?}");
        }
        // Whoever wants it fresh gets it fresh, and that answer is not kept.
        let fresh = api.issue(&json!({"name": "fresh"})).await;
        for header in [("cache-control", "no-cache"), ("cache-control", "No-Store"), ("pragma", "no-cache")] {
            assert_eq!(seen(&api, &body, &[header]).await, told("valid", "SKIP"), "{header:?}");
            assert_eq!(seen(&api, &json!({"credential": fresh.secret}), &[header]).await.1, "SKIP", "{header:?}");
        }
        assert_eq!(seen(&api, &json!({"credential": fresh.secret}), &[]).await, told("valid", "MISS"));
        // A bad verdict is never kept: what is imported is good at once.
        for _ in 0..2 {
            assert_eq!(seen(&api, &json!({"credential": "sk_x"}), &[]).await, told("NOT_FOUND", "MISS"));
        }
        api.import("sk_x", json!({})).await;
        assert_eq!(seen(&api, &json!({"credential": "sk_x"}), &[]).await, told("valid", "MISS"));
        assert_eq!(count(&edge, "talos_proxy_cache_hits_total").await, 4);
        assert_eq!(count(&edge, "talos_proxy_cache_misses_total").await, 9);
        assert_eq!(count(&edge, "talos_proxy_request_duration_seconds_count{cached=\"true\"}").await, 4);
        assert_eq!(count(&edge, "talos_proxy_upstream_requests_total{status=\"201\"}").await, 3);
        assert!(count(&edge, "talos_proxy_upstream_latency_seconds_count").await > 12);
    }

    async fn an_edge_keeps_no_verdict_that_is_of_one_use_or_one_place_alone(store) {
        let server = Gateway::builder(BULKHEAD).store(store).config("rate_limit: {enabled: true}\n").start().await;
        let edge = edge(&server, &[]).await;
        let api = Api::of(&edge);
        let limit = json!({"quota": "3", "window": "600s"});
        let limited = api.issue(&json!({"name": "limited", "rate_limit_policy": limit})).await.secret;
        for _ in 0..3 {
            assert_eq!(seen(&api, &json!({"credential": limited}), &[]).await, told("valid", "MISS"));
        }
        assert_eq!(seen(&api, &json!({"credential": limited}), &[]).await.0, "RATE_LIMITED", "each use counts");
        let ranges = json!({"allowed_cidrs": ["127.0.0.0/8"]});
        let near = api.issue(&json!({"name": "near", "ip_restriction": ranges})).await.secret;
        for _ in 0..2 {
            assert_eq!(seen(&api, &json!({"credential": near}), &[]).await, told("valid", "MISS"));
        }
        // What ends soon is not kept beyond its end.
        let short = api.issue(&json!({"name": "short", "ttl": "3s"})).await.secret;
        let deadline = Instant::now() + PATIENCE;
        while seen(&api, &json!({"credential": short}), &[]).await.0 != "EXPIRED" {
            assert!(Instant::now() < deadline, "an edge keeps what is over");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn a_revoked_key_goes_on_at_an_edge_for_its_time_and_no_longer(store) {
        let server = Gateway::builder(BULKHEAD).store(store).start().await;
        let slow = edge(&server, &["--cache-ttl", "1h"]).await;
        let quick = edge(&server, &["--cache-ttl", "500ms"]).await;
        let never = edge(&server, &["--cache-ttl", "0"]).await;
        let key = Api::of(&server).issue(&json!({"name": "k"})).await;
        let body = json!({"credential": key.secret});
        for (edge, then) in [(&slow, "HIT"), (&never, "MISS")] {
            assert_eq!(seen(&Api::of(edge), &body, &[]).await, told("valid", "MISS"));
            assert_eq!(seen(&Api::of(edge), &body, &[]).await, told("valid", then));
        }
        assert_eq!(seen(&Api::of(&quick), &body, &[]).await.0, "valid");
        Api::of(&server).revoke(&key.id, json!({})).await;
        assert_eq!(seen(&Api::of(&slow), &body, &[]).await, told("valid", "HIT"), "that is what keeping means");
        assert_eq!(seen(&Api::of(&slow), &body, &[("cache-control", "no-cache")]).await.0, "REVOKED");
        assert_eq!(seen(&Api::of(&slow), &body, &[]).await, told("REVOKED", "MISS"), "a fresh answer ends a kept one");
        assert_eq!(seen(&Api::of(&never), &body, &[]).await.0, "REVOKED");
        Api::of(&quick).verdict_becomes(&key.secret, "REVOKED").await;
    }

    async fn tenants_stay_apart_at_an_edge(store) {
        let server = two_tenants(store, "", "", "").start().await;
        let forwarding = edge(&server, &["--trust-x-forwarded-host", "--allowed-hosts", "one.example,*.example"]).await;
        let plain = edge(&server, &["--allowed-hosts", HOST_ONE]).await;
        let body = |credential: &str| json!({"credential": credential});
        let one = Side::of(&server, HOST_ONE).issue(&json!({"name": "one"})).await;
        for edge in [&plain, &forwarding] {
            let api = Api::at(edge, HOST_ONE);
            assert_eq!(seen(&api, &body(&one.secret), &[]).await, told("valid", "MISS"));
            assert_eq!(seen(&api, &body(&one.secret), &[]).await, told("valid", "HIT"));
        }
        // One tenant's key at the other's host, by every way to name a host.
        let other = Api::at(&forwarding, HOST_TWO);
        assert_eq!(seen(&other, &body(&one.secret), &[]).await, told("NOT_FOUND", "MISS"));
        let named = [("x-forwarded-host", HOST_TWO)];
        let api = Api::at(&forwarding, HOST_ONE);
        assert_eq!(seen(&api, &body(&one.secret), &named).await, told("NOT_FOUND", "MISS"));
        assert_eq!(seen(&other, &body(&one.secret), &[("x-forwarded-host", HOST_ONE)]).await, told("valid", "HIT"));
        // A host that nobody here trusts is not passed on either.
        assert_eq!(seen(&Api::at(&plain, HOST_ONE), &body(&one.secret), &named).await, told("valid", "HIT"));
        for (edge, host) in [(&plain, HOST_TWO), (&plain, "other.test"), (&forwarding, "other.test")] {
            let refused = Api::at(edge, host).post(VERIFY, &body(&one.secret)).await;
            assert_error(&refused, 403, "PERMISSION_DENIED", "FORBIDDEN");
            assert!(!refused.text().contains(host), "no name is told");
        }
    }

    async fn an_edge_asks_with_the_credential_of_whoever_asks(store) {
        let yaml = format!("admin_keys:\n  - {{name: a, key: {ADMIN_KEY}}}\n");
        let server = Gateway::builder(BULKHEAD).store(store).config(&yaml).start().await;
        let edge = edge(&server, &[]).await;
        let call = |path: &str, body: &Value| Call::post(edge.at(path), body);
        let issued = call(ISSUED, &json!({"name": "k"})).bearer(ADMIN_KEY).send().await.json();
        let body = json!({"credential": issued["secret"]});
        for cache in ["MISS", "HIT"] {
            let answer = call(VERIFY, &body).bearer(ADMIN_KEY).send().await;
            assert_eq!((answer.status, answer.header("ory-talos-cache")), (200, Some(cache)));
        }
        assert_error(&call(VERIFY, &body).send().await, 401, "UNAUTHENTICATED", "UNAUTHORIZED");
        assert_error(&call(VERIFY, &body).bearer("other").send().await, 401, "UNAUTHENTICATED", "UNAUTHORIZED");
        assert!(!edge.output().contains(issued["secret"].as_str().unwrap()), "a credential shows");
    }

    async fn orys_own_clients_are_told_the_same_through_an_edge(store) {
        let issuer = "https://api.example.com";
        let nid = crate::keys_setup::ONE;
        let yaml = format!("credentials: {{issuer: \"{issuer}\"}}\ntenants:\n  - {{id: default, nid: {nid}}}\n");
        let server = Gateway::builder(BULKHEAD).store(store).config(&yaml).start().await;
        // They revoke and ask again at once, so nothing is kept for them.
        let passing = edge(&server, &["--cache-ttl", "0"]).await;
        let tenant = Tenant { host: "", key: "any", prefix: "ory_ak", nid, issuer };
        for language in ["python", "node"] {
            run(&passing, &tenant, language);
        }
        // Where verdicts are kept, a client sees no difference until something changes.
        let keeping = edge(&server, &[]).await;
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/edge.py");
        let output = sdk::python(&script, &[("GATEWAY", keeping.url())]);
        assert!(output.ok() && output.stderr.is_empty(), "{output}");
        assert_eq!(output.stdout, "first yes KEY_STATUS_ACTIVE MISS\nagain yes KEY_STATUS_ACTIVE HIT\nsame yes\n");
    }
}

#[tokio::test]
async fn an_edge_tells_what_its_upstream_cannot() {
    let server = Gateway::builder(BULKHEAD).start().await;
    let mut edge = edge_of(server.url(), &[]).start().await;
    let ok = json!({"status": "ok"});
    for path in ["/health/alive", "/health/ready"] {
        let answer = Call::get(inside(&edge, path)).send().await;
        assert_eq!((answer.status, answer.json()), (200, ok.clone()), "{path}");
    }
    assert_eq!(Call::get(inside(&edge, VERIFY)).send().await.status, 404, "inside is inside");
    let http2 = Http2::connect(&inside(&edge, "")).await;
    let head = http2.send(&Call::new("HEAD", inside(&edge, "/metrics"))).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let large = json!({"credential": "x".repeat(1024 * 1024)});
    let refused = Call::post(edge.at(VERIFY), &large).send().await;
    assert_error(&refused, 413, "INVALID_ARGUMENT", "REQUEST_TOO_LARGE");
    let announced =
        Call::post(edge.at(IMPORTED), &json!({})).header("content-length", "99999999999").try_send().await;
    assert!(announced.is_err() || announced.is_ok_and(|answer| answer.status == 413 || answer.status == 400));
    drop(server);
    for path in [VERIFY, ISSUED, "/anything"] {
        let answer = Call::post(edge.at(path), &json!({"credential": "x"}))
            .header("x-request-id", "mine")
            .send()
            .await;
        assert_error(&answer, 502, "UNAVAILABLE", "UPSTREAM_UNREACHABLE");
        assert_eq!(answer.header("x-request-id"), Some("mine"));
    }
    assert_eq!(Call::get(inside(&edge, "/health/ready")).send().await.status, 503);
    assert_eq!(Call::get(inside(&edge, "/health/alive")).send().await.status, 200);
    assert_eq!(count(&edge, "talos_proxy_upstream_requests_total{status=\"connect_error\"}").await, 4);
    assert!(edge.terminate().await, "{}", edge.output());
}

#[tokio::test]
async fn long_questions_that_do_not_come_to_their_end_stand_in_no_short_ones_way() {
    let server = Gateway::builder(BULKHEAD).start().await;
    let edge = edge(&server, &[]).await;
    let api = Api::of(&edge);
    let key = api.issue(&json!({"name": "k"})).await;
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let mut socket = RawSocket::connect(edge.url()).await;
        let head = format!(
            "POST {VERIFY} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n"
        );
        assert!(socket.write(head).await);
        // It is being read once it is asked for.
        socket.read_until("100 Continue", PATIENCE).await;
        stalled.push(socket);
    }
    let long = Call::post(edge.at(VERIFY), &json!({"credential": "x".repeat(20_000)}));
    let refused = long.send().await;
    assert_error(&refused, 429, "RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(seen(&api, &json!({"credential": key.secret}), &[]).await.0, "valid");
    drop(stalled);
    let deadline = Instant::now() + PATIENCE;
    while long.send().await.status == 429 {
        assert!(Instant::now() < deadline, "a place is never free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_told_as_a_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = edge_of(&format!("http://{}", silent.local_addr().unwrap()), &[]).start().await;
    let answer = Call::post(edge.at(VERIFY), &json!({"credential": "x"})).send().await;
    assert_error(&answer, 504, "DEADLINE_EXCEEDED", "UPSTREAM_TIMEOUT");
}

/// Reads until the request's end, which its last bytes tell.
async fn read_request(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn what_an_edge_does_not_know_passes_through_as_it_is_and_as_it_comes() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = edge_of(&format!("http://{}", upstream.local_addr().unwrap()), &[]).start().await;
    let call = Call::new("PATCH", edge.at("/any/p%2Fath?q=%20&q=2")).header("host", "tenant.example");
    let call = call.header("cookie", "a=1").header("connection", "x-hop").header("x-hop", "1");
    let call = call.header("x-forwarded-for", "10.1.1.1").header("te", "trailers").body("b\u{e4}dy");
    let call = call.header("x-real-ip", "10.6.6.6").header("forwarded", "for=10.6.6.6");
    let call = call.header("cf-connecting-ip", "10.6.6.6").header("true-client-ip", "10.6.6.6");
    let asking = tokio::spawn(async move { call.stream().await });
    let (mut socket, _) = upstream.accept().await.unwrap();
    let request = read_request(&mut socket, "b\u{e4}dy").await;
    assert!(request.starts_with("PATCH /any/p%2Fath?q=%20&q=2 HTTP/1.1\r\n"), "{request}");
    let lines = request.to_ascii_lowercase();
    for line in
        ["host: tenant.example", "x-forwarded-host: tenant.example", "cookie: a=1", "content-length: 5"]
    {
        assert!(lines.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
    }
    assert!(lines.contains("x-forwarded-for: 10.1.1.1\r\nx-forwarded-for: 127.0.0.1\r\n"), "{request}");
    for gone in ["x-hop", "\r\nte:", "\r\nconnection:", "10.6.6.6"] {
        assert!(!lines.contains(gone), "{gone}: {request}");
    }
    let head = "HTTP/1.1 207 Multi\r\ntransfer-encoding: chunked\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-upstream: 1\r\nkeep-alive: 3\r\n\r\n";
    socket.write_all(format!("{head}5\r\nfirst\r\n").as_bytes()).await.unwrap();
    let mut answer = asking.await.unwrap();
    // The first part is here while the upstream has not even written the second.
    assert_eq!(answer.next().await.unwrap().unwrap().bytes, b"first");
    socket.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap().bytes, b"second");
    assert_eq!(answer.status, 207);
    let all = |name: &str| answer.headers.all(name).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (all("set-cookie"), all("x-upstream")),
        (vec!["a=1".to_owned(), "b=2".to_owned()], vec!["1".to_owned()])
    );
    assert_eq!(all("keep-alive"), Vec::<String>::new());
}

#[test]
fn an_edge_says_which_flag_is_wrong() {
    for (args, named) in [
        (["--listen", ":0"].as_slice(), "--upstream <URL>"),
        (&["--upstream", "http://a/path"], "--upstream <URL>"),
        (&["--upstream", "http://a", "--cache-ttl", "soon"], "--cache-ttl <DURATION>"),
        (&["--upstream", "http://a", "--cache-max-size", "1"], "--cache-max-size <BYTES>"),
        (&["--upstream", "http://a", "--cache-num-counters", "1"], "--cache-num-counters <COUNT>"),
        (&["--upstream", "http://a", "--allowed-hosts", "a b"], "--allowed-hosts <HOST,…>"),
    ] {
        let output = Gateway::builder(BULKHEAD).run(&[&["serve", "edge"], args].concat());
        assert!(output.code == Some(2) && output.stderr.contains(named), "{args:?}: {output}");
    }
}
