//! Tenants by host name (seed 003, Talos dossier §7.2): which name leads to whom, over HTTP/1.1 and HTTP/2.

use std::time::Duration;

use bh_testkit::{Call, FakeProvider, Gateway, Http2, RawSocket, Store, on_both_stores};
use serde_json::{Value, json};

use crate::auth::{ADMIN_KEY, BULKHEAD, gateway_yaml};

const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const KEY_ROUTE: &str = "/v2alpha1/derivedKeys/jwks.json";
/// Dossier §7.3: the one answer to every name that leads nowhere.
pub(crate) const UNKNOWN: &str = r#"{"error":{"code":404,"message":"network not found","status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"NOT_FOUND","domain":"www.ory.com/talos","metadata":{"code":"NOT_FOUND","reason":"network not found"}}]}}"#;

/// The tenants of the table: slug, network id and host names.
pub(crate) const TENANTS: &[(&str, &str, &[&str])] = &[
    ("acme", "550e8400-e29b-41d4-a716-446655440001", &["tenant1.example.com", "xn--bcher-kva.example"]),
    ("globex", "550e8400-e29b-41d4-a716-446655440002", &["Tenant2.example.com:443"]),
    ("umbrella", "550e8400-e29b-41d4-a716-446655440006", &["[2001:db8::1]"]),
];

pub(crate) fn network(host: &str, id: &str) -> String {
    format!("    - {{hostname: \"{host}\", id: {id}}}\n")
}

/// Three tenants with a key each (`key-SLUG`), their networks, and these besides.
pub(crate) fn config(provider: &FakeProvider, more_networks: &str) -> String {
    let callers: String = TENANTS
        .iter()
        .map(|(slug, ..)| format!("    - {{name: {slug}-app, tenant_key: key-{slug}, tenant_id: {slug}}}\n"))
        .collect();
    let tenants: String =
        TENANTS.iter().map(|(slug, nid, _)| format!("  - {{id: {slug}, nid: {nid}}}\n")).collect();
    let own = TENANTS.iter().flat_map(|(_, nid, hosts)| hosts.iter().map(move |host| network(host, nid)));
    let networks: String = own.chain([network(&long(253), TENANTS[1].1)]).collect();
    let gateway = gateway_yaml(provider, &callers);
    format!(
        "{gateway}tenants:\n{tenants}multitenancy:\n  enabled: true\n  networks:\n{networks}{more_networks}"
    )
}

fn trusting(yaml: &str) -> String {
    format!("{yaml}serve:\n  http:\n    trust_forwarded_host: true\n")
}

/// A host name of so many characters.
fn long(length: usize) -> String {
    let label = "a".repeat(49) + ".";
    label.chars().cycle().take(length - 1).chain(['z']).collect()
}

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Tenant(&'static str),
    /// 404, in the words that every such name gets.
    Nowhere,
    /// The parser refuses it, or it leads nowhere.
    NoHeader,
}

/// The dossier's table §7.2, as far as a row is a name: its number, the name as bytes, and where it leads.
fn names() -> Vec<(u8, Vec<u8>, To)> {
    let (acme, umbrella, globex) = (To::Tenant("acme"), To::Tenant("umbrella"), To::Tenant("globex"));
    let (l253, l254) = (long(253), long(254));
    let at_port = format!("{l253}:65535");
    let rows: [(u8, &str, To); 38] = [
        (1, "tenant1.example.com", acme),
        (2, "Tenant1.Example.COM", acme),
        (3, "tenant1.example.com:8443", acme),
        (4, "TENANT1.EXAMPLE.COM:80", acme),
        (5, "tenant1.example.com:", acme),
        (6, ":8443", To::Nowhere),
        (8, "[2001:db8::1]:443", umbrella),
        (9, "[2001:db8::1]", umbrella),
        (10, "[2001:DB8::1]:443", umbrella),
        (11, "2001:db8::1", umbrella),
        (12, "2001:db8::1:443", To::Nowhere),
        (13, "[2001:0db8:0:0:0:0:0:1]:443", To::Nowhere),
        (14, "[2001:db8::1", To::Nowhere),
        (14, "2001:db8::1]", To::Nowhere),
        (15, "[fe80::1%25eth0]", To::Nowhere),
        (16, "tenant1.example.com.", To::Nowhere),
        (17, &l253, globex),
        (18, &at_port, globex),
        (19, &l254, To::Nowhere),
        (20, "tenant1.example.com\0", To::NoHeader),
        (21, "tenant1.example.com\u{200b}", To::Nowhere),
        (21, "\u{202e}tenant1.example.com", To::Nowhere),
        (21, "tenant1\t.example.com", To::NoHeader),
        (21, "tenant1.example.com\u{7f}", To::NoHeader),
        (21, "tenant1.example.com\u{85}", To::Nowhere),
        (21, "tenant1.example.com\u{a0}", To::Nowhere),
        (22, "tenant1 .example.com", To::Nowhere),
        (23, "xn--bcher-kva.example", acme),
        (24, "b\u{fc}cher.example", To::Nowhere),
        (25, "\u{212a}.example.com", To::Nowhere),
        (26, "tenant1.example.com, evil.com", To::Nowhere),
        (34, "user@tenant1.example.com", To::Nowhere),
        (35, "tenant1.example.com:abc", To::Nowhere),
        (36, "10.0.0.5:4420", To::Nowhere),
        (37, "localhost", To::Nowhere),
        (38, "a';--", To::Nowhere),
        (0, "*.example.com", To::Nowhere),
        (0, "*", To::Nowhere),
    ];
    rows.into_iter().map(|(number, name, to)| (number, name.as_bytes().to_vec(), to)).collect()
}

/// Sends a head as it is, on a connection of its own: status and body.
async fn raw(gateway: &Gateway, target: &str, version: &str, lines: &[(&str, &[u8])]) -> (u16, String) {
    let mut head = format!("GET {target} {version}\r\nConnection: close\r\n").into_bytes();
    for (name, value) in lines {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let mut socket = RawSocket::connect(gateway.url()).await;
    socket.write(head).await;
    // There is no such text: it reads to the end.
    let answer = socket.read_until("\u{1}", PATIENCE).await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status.unwrap_or_else(|| panic!("no answer to {lines:?}: {answer:?}")), body)
}

/// Asserts where these header lines lead: one tenant's key opens it and another's does not, or nobody is there.
pub(crate) async fn assert_leads(gateway: &Gateway, target_host: &str, lines: &[(&str, &[u8])], to: To) {
    let what = || {
        let shown = lines.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
        format!("{target_host:?} {:?} to {to:?}", shown.collect::<Vec<_>>())
    };
    let ask = async |path: &str, key: &str| {
        let lines = [lines, &[("x-talon-key", key.as_bytes())]].concat();
        raw(gateway, &format!("{target_host}{path}"), "HTTP/1.1", &lines).await
    };
    match to {
        To::Tenant(slug) => {
            let (status, body) = ask("/v1/status", &format!("key-{slug}")).await;
            assert_eq!(status, 200, "{}: {body}", what());
            let told: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(told["tenant_id"], json!(slug), "{}", what());
            for (other, ..) in TENANTS.iter().filter(|(other, ..)| *other != slug) {
                let (status, body) = ask("/v1/status", &format!("key-{other}")).await;
                assert_eq!(status, 403, "{} {other}: {body}", what());
                assert!(body.contains("CROSS_TENANT_ACCESS_DENIED"), "{} {other}: {body}", what());
            }
        }
        To::Nowhere => {
            assert_eq!(ask(KEY_ROUTE, "key-acme").await, (404, UNKNOWN.to_owned()), "{}", what());
            assert_eq!(ask("/v1/status", "key-acme").await.0, 404, "{}", what());
        }
        To::NoHeader => {
            let (status, body) = ask(KEY_ROUTE, "key-acme").await;
            assert!(status == 400 || (status == 404 && body == UNKNOWN), "{}: {status} {body}", what());
        }
    }
}

pub(crate) async fn start(store: Store, provider: &FakeProvider, yaml: &str) -> Gateway {
    assert_eq!(provider.hits(), 0);
    Gateway::builder(BULKHEAD).store(store).config(yaml).env("TALON_ADMIN_KEY", ADMIN_KEY).start().await
}

on_both_stores! {
    /// Proves: TALOS-M07, TALOS-M09
    async fn the_host_header_leads_to_its_tenant_in_every_spelling(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, &config(&provider, "")).await;
        for (_, name, to) in names() {
            assert_leads(&gateway, "", &[("host", &name)], to).await;
        }
        // Row 7: no host at all. HTTP/1.0 may leave it out.
        assert_leads(&gateway, "", &[("host", b"")], To::Nowhere).await;
        assert_eq!(raw(&gateway, KEY_ROUTE, "HTTP/1.0", &[]).await, (404, UNKNOWN.to_owned()));
        let (status, body) = raw(&gateway, KEY_ROUTE, "HTTP/1.1", &[]).await;
        assert!(status == 400 && body.contains("exactly one Host header"), "{status} {body}");
        // Row 28.
        let (one, two): (&[u8], &[u8]) = (b"tenant1.example.com", b"tenant2.example.com");
        for second in [one, two] {
            let (status, body) = raw(&gateway, KEY_ROUTE, "HTTP/1.1", &[("host", one), ("host", second)]).await;
            assert!(status == 400 && body.contains("exactly one Host header"), "{status} {body}");
        }
        // Row 29: the target's own host is the host.
        assert_leads(&gateway, "http://tenant2.example.com", &[("host", one)], To::Tenant("globex")).await;
        assert_leads(&gateway, "http://nowhere.example", &[("host", one)], To::Nowhere).await;
        // Row 30.
        let forwarded = [("host", one), ("x-forwarded-host", two)];
        assert_leads(&gateway, "", &forwarded, To::Tenant("acme")).await;
        assert_leads(&gateway, "", &[("host", b"nowhere"), ("x-forwarded-host", two)], To::Nowhere).await;
    }

    /// Proves: TALOS-M08
    async fn a_forwarded_host_leads_to_its_tenant_where_it_is_trusted(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, &trusting(&config(&provider, ""))).await;
        let (one, two): (&[u8], &[u8]) = (b"tenant1.example.com", b"tenant2.example.com");
        // Behind a known host: a bad name never falls back to it.
        for (_, name, to) in names() {
            assert_leads(&gateway, "", &[("host", two), ("x-forwarded-host", &name)], to).await;
        }
        // Rows 31, 32, 33 and 27, and without the header.
        assert_leads(&gateway, "", &[("host", one), ("x-forwarded-host", two)], To::Tenant("globex")).await;
        assert_leads(&gateway, "", &[("host", one), ("x-forwarded-host", b"")], To::Tenant("acme")).await;
        assert_leads(&gateway, "", &[("host", one), ("x-forwarded-host", b"nowhere")], To::Nowhere).await;
        let twice = [("host", one), ("x-forwarded-host", one), ("x-forwarded-host", one)];
        assert_leads(&gateway, "", &twice, To::Nowhere).await;
        assert_leads(&gateway, "", &[("host", one)], To::Tenant("acme")).await;
        assert_leads(&gateway, "", &[("host", b"nowhere"), ("x-forwarded-host", one)], To::Tenant("acme")).await;
    }

    /// Proves: TALOS-M11
    async fn the_narrowest_pattern_wins(store) {
        let provider = FakeProvider::start();
        let id = |index: usize| TENANTS[index].1;
        let wild = [network("*.example.com", id(1)), network("*.w.example.com", id(0)), network("*", id(2))];
        let gateway = start(store, &provider, &config(&provider, &wild.concat())).await;
        for (host, slug) in [
            ("tenant1.example.com", "acme"),
            ("a.W.example.com:8443", "acme"),
            ("a.b.w.example.com", "acme"),
            ("w.example.com", "globex"),
            ("b.example.com", "globex"),
            ("example.com", "umbrella"),
            ("localhost", "umbrella"),
        ] {
            assert_leads(&gateway, "", &[("host", host.as_bytes())], To::Tenant(slug)).await;
        }
        // What is no name at all is nobody's, even where there is a catch-all.
        for host in ["", ":80", "b\u{fc}cher.example", &long(254)] {
            assert_leads(&gateway, "", &[("host", host.as_bytes())], To::Nowhere).await;
        }
    }
}

#[tokio::test]
async fn the_authority_leads_to_its_tenant_over_http_2() {
    let provider = FakeProvider::start();
    let gateway = start(Store::Sqlite, &provider, &config(&provider, "")).await;
    let http2 = Http2::connect(gateway.url()).await;
    let (l253, l254) = (long(253), long(254));
    for (authority, to) in [
        ("tenant1.example.com", Some("acme")),
        ("TENANT1.example.com:8443", Some("acme")),
        ("[2001:DB8::1]:443", Some("umbrella")),
        (l253.as_str(), Some("globex")),
        (l254.as_str(), None),
        ("tenant1.example.com.", None),
        ("10.0.0.5:4420", None),
        ("user@tenant1.example.com", None),
        ("localhost", None),
    ] {
        let call = |path: &str, key: &str| Call::get(format!("http://{authority}{path}")).bearer(key);
        let Some(slug) = to else {
            let answer = http2.send(&call(KEY_ROUTE, "key-acme")).await;
            assert_eq!((answer.status, answer.text().as_str()), (404, UNKNOWN), "{authority}");
            continue;
        };
        let answer = http2.send(&call("/v1/status", &format!("key-{slug}"))).await;
        assert_eq!((answer.status, &answer.json()["tenant_id"]), (200, &json!(slug)), "{authority}");
        let other = if slug == "acme" { "key-globex" } else { "key-acme" };
        assert_eq!(http2.send(&call("/v1/status", other)).await.status, 403, "{authority}");
        // A forwarded host is not believed, and a Host header may only say the same.
        let forwarded = call("/v1/status", &format!("key-{slug}")).header("x-forwarded-host", "localhost");
        assert_eq!(http2.send(&forwarded).await.status, 200, "{authority}");
        let same = call("/v1/status", &format!("key-{slug}")).header("host", authority.to_ascii_uppercase());
        assert_eq!(http2.send(&same).await.status, 200, "{authority}");
        let contradicted = call("/v1/status", &format!("key-{slug}")).header("host", "tenant3.example.com");
        assert_eq!(http2.send(&contradicted).await.status, 400, "{authority}");
    }
}

#[tokio::test]
async fn a_forwarded_host_leads_to_its_tenant_over_http_2_where_it_is_trusted() {
    let provider = FakeProvider::start();
    let gateway = start(Store::Sqlite, &provider, &trusting(&config(&provider, ""))).await;
    let http2 = Http2::connect(gateway.url()).await;
    let sendable = |name: &Vec<u8>| name.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    for (row, name, to) in names().into_iter().filter(|(_, name, _)| sendable(name)) {
        let name = String::from_utf8(name).unwrap();
        let call = |path: &str, key: &str| {
            Call::get(format!("http://tenant2.example.com{path}"))
                .bearer(key)
                .header("x-forwarded-host", &name)
        };
        match to {
            To::Tenant(slug) => {
                let answer = http2.send(&call("/v1/status", &format!("key-{slug}"))).await;
                assert_eq!((answer.status, &answer.json()["tenant_id"]), (200, &json!(slug)), "row {row}");
            }
            To::Nowhere | To::NoHeader => {
                let answer = http2.send(&call(KEY_ROUTE, "key-acme")).await;
                assert_eq!((answer.status, answer.text().as_str()), (404, UNKNOWN), "row {row}");
            }
        }
    }
}
