//! The API-key server's settings: Talos's variables, its spelling of ours, and what is refused before it could fail at
//! a request (Talos dossier §8).

use super::{load_with, loaded, refusals};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":…}]}`: a public key only.
const PUBLIC_SET: &str = "base64://eyJrZXlzIjpbeyJrdHkiOiJPS1AiLCJjcnYiOiJFZDI1NTE5Iiwia2lkIjoiazEiLCJ4IjoiMTFxWUFZS3hDcmZWU183VHlXUUhPZzdoY3ZQYXBpTWxyd0lhYVBjSFVSbyJ9XX0=";

#[test]
fn a_talos_variable_names_its_setting_by_its_path_and_wins_over_the_file() {
    let yaml = "credentials: {issuer: https://file.example, api_keys: {max_ttl: 1h}}\n";
    let env = [
        ("TALOS_CREDENTIALS_ISSUER", "https://env.example"),
        ("TALOS_CREDENTIALS_API_KEYS_MAX_TTL", "48h"),
        ("TALOS_CREDENTIALS_API_KEYS_PREFIX_PUBLIC_CURRENT", "pub"),
        ("TALOS_CREDENTIALS_DERIVED_TOKENS_MACAROON_PREFIX_CURRENT", "mq"),
        ("TALOS_SERVE_HTTP_TRUST_FORWARDED_HOST", "true"),
        ("TALOS_SECRETS_HMAC_CURRENT", SECRET),
        ("TALOS_RATE_LIMIT_ENABLED", "true"),
        ("TALOS_QUOTA_API_KEYS_MAX", "7"),
        ("TALOS_MULTITENANCY_NETWORKS_0_HOSTNAME", "a.example"),
        ("TALOS_MULTITENANCY_NETWORKS_0_ID", "550e8400-e29b-41d4-a716-446655440001"),
        ("TALOS_PORT_4420_TCP", "tcp://10.0.0.1:4420"),
        ("TALOS_SERVICE_HOST", "10.0.0.1"),
    ];
    let config = load_with(yaml, &env).unwrap().config;
    let credentials = config.credentials.unwrap();
    assert_eq!(credentials.issuer.as_deref(), Some("https://env.example"));
    assert_eq!(credentials.api_keys.max_ttl.unwrap().0.as_secs(), 48 * 3_600);
    assert_eq!(credentials.api_keys.prefix.public_current.unwrap().0, "pub");
    assert_eq!(credentials.derived_tokens.macaroon.prefix.current.as_deref(), Some("mq"));
    assert!(
        config.serve.unwrap().http.trust_forwarded_host && config.rate_limit.unwrap().enabled == Some(true)
    );
    assert_eq!(config.secrets.hmac.unwrap().current.unwrap().expose(), SECRET);
    assert_eq!(config.quota.unwrap().api_keys_max, 7);
    assert_eq!(config.multitenancy.unwrap().networks[0].hostname.to_string(), "a.example");
}

#[test]
fn a_list_of_talos_s_is_written_with_commas_by_position_or_as_json() {
    let retired = |env: &[(&str, &str)]| {
        let rotation = load_with("", env).unwrap().config.secrets.hmac.unwrap();
        let text = |rotated: &crate::schema::Rotated| match rotated {
            crate::schema::Rotated::Value(secret) => (secret.expose().to_owned(), false),
            crate::schema::Rotated::Until(until) => {
                (until.value.expose().to_owned(), until.expires_at.is_some())
            }
        };
        rotation.retired.iter().map(text).collect::<Vec<_>>()
    };
    let secrets: Vec<String> = (0..12).map(|n| format!("{SECRET}-{n}")).collect();
    let wanted: Vec<_> = secrets.iter().map(|secret| (secret.clone(), false)).collect();
    assert_eq!(retired(&[("TALOS_SECRETS_HMAC_RETIRED", &secrets.join(", "))]), wanted);
    let names: Vec<String> = (0..12).map(|n| format!("TALOS_SECRETS_HMAC_RETIRED_{n}")).collect();
    let by_position: Vec<_> = names.iter().zip(&secrets).map(|(n, s)| (n.as_str(), s.as_str())).collect();
    assert_eq!(retired(&by_position), wanted);
    let json = format!(r#"["{SECRET}", {{"value": "{SECRET}x", "expires_at": "2027-01-01T00:00:00Z"}}]"#);
    let wanted = [(SECRET.to_owned(), false), (format!("{SECRET}x"), true)];
    assert_eq!(retired(&[("TALOS_SECRETS_HMAC_RETIRED", &json)]), wanted);
}

#[test]
fn a_talos_variable_that_names_nothing_or_holds_nonsense_is_refused_by_name() {
    let refused = |var: &str, value: &str| super::lines(&load_with("", &[(var, value)]).unwrap_err());
    assert_eq!(
        refused("TALOS_CREDENTIALS_ISUER", "x"),
        [
            "TALOS_CREDENTIALS_ISUER: there is no such setting below `credentials`; every key of its path, joined by `_`"
        ]
    );
    assert_eq!(
        refused("TALOS_SECRETS_HMAC_CURRENT", &SECRET[1..]),
        ["TALOS_SECRETS_HMAC_CURRENT: secrets.hmac.current: must have at least 32 characters"]
    );
    assert_eq!(
        refused("TALOS_SERVE_HTTP_PORT", "0"),
        ["TALOS_SERVE_HTTP_PORT: serve.http.port: must be at least 1"]
    );
}

#[test]
fn listeners_and_database_in_talos_s_spelling_count_where_ours_say_nothing() {
    let of = |yaml: &str| {
        let config = loaded(yaml).config;
        let url = config.store.url.map(|url| url.expose().to_owned());
        (config.server.listen.to_string(), config.server.metrics_listen.map(|at| at.to_string()), url)
    };
    let own = |text: &str| Some(text.to_owned());
    assert_eq!(of("serve: {http: {port: 9}}\n"), ("0.0.0.0:9".to_owned(), None, None));
    assert_eq!(
        of(
            "serve: {http: {host: localhost}, metrics: {host: '::1'}}\ndb: {dsn: 'sqlite3:///a/b.db?_fk=1'}\n"
        ),
        ("127.0.0.1:4420".to_owned(), own("[::1]:4422"), own("sqlite:///a/b.db"))
    );
    let both = "server: {listen: 127.0.0.1:1}\nstore: {url: sqlite:/ours}\nserve: {http: {port: 9}}\ndb: {dsn: sqlite:/theirs}\n";
    assert_eq!(of(both), ("127.0.0.1:1".to_owned(), None, own("sqlite:/ours")));
    assert_eq!(
        refusals("serve: {http: {host: example.com}}\n")[0],
        "bulkhead.yaml:1:22: serve.http.host: expected an IP address to listen on, or localhost"
    );
    assert_eq!(
        refusals("db: {dsn: 'mysql://u:hidden@h/d'}\n"),
        ["bulkhead.yaml:1:11: db.dsn: expected sqlite://... or postgres://..."]
    );
}

#[test]
fn what_would_fail_at_a_tenant_s_first_request_is_refused_with_its_line() {
    let told = |yaml: &str| refusals(yaml).join("\n");
    let retired = "secrets:\n  hmac:\n    retired:\n      - short\n";
    assert_eq!(told(retired), "bulkhead.yaml:4:9: secrets.hmac.retired[0]: must have at least 32 characters");
    let shadowed = "credentials:\n  api_keys: {prefix: {current: mc}}\n";
    assert_eq!(
        told(shadowed),
        "bulkhead.yaml:2:32: credentials.api_keys.prefix.current: a key that starts with `mc_v1_` is taken for a macaroon with the prefix `mc` (credentials.derived_tokens.macaroon.prefix.current)"
    );
    let other = "credentials:\n  derived_tokens: {macaroon: {prefix: {retired: [ory_ak]}}}\n";
    assert!(told(other).contains("2:50: credentials.derived_tokens.macaroon.prefix.retired[0]: a key that"));
    let prefix = "credentials: {derived_tokens: {macaroon: {prefix: {current: 'm-c'}}}}\n";
    assert!(told(prefix).contains("expected 1 to 8 letters, digits and underscores"));
    let ttl = "credentials: {api_keys: {default_ttl: 2h, max_ttl: 1h}}\n";
    assert!(told(ttl).contains("1:39: credentials.api_keys.default_ttl: longer than"));
    let set = |url: &str, id: &str| {
        format!(
            "credentials:\n  derived_tokens:\n    jwt:\n      signing_key_id: '{id}'\n      signing_keys: {{urls: ['{url}']}}\n"
        )
    };
    let at = "bulkhead.yaml:5:29: credentials.derived_tokens.jwt.signing_keys.urls[0]: ";
    for (url, why) in [
        ("https://elsewhere.example/jwks.json", "expected `base64://` and a key set in base64"),
        ("base64://###", "what follows `base64://` is not base64"),
        ("base64://e30=", "not a JSON key set: expected an object with the member `keys`, a list of objects"),
    ] {
        assert_eq!(told(&set(url, "")), format!("{at}{why}"));
    }
    assert!(told(&set("base64://eyJrZXlzIjpbXX0=", "")).contains("holds no Ed25519 and no RSA key"));
    assert_eq!(
        told(&set(PUBLIC_SET, "k9")),
        "bulkhead.yaml:4:23: credentials.derived_tokens.jwt.signing_key_id: there is no private key with the id `k9` in `signing_keys`"
    );
    assert!(loaded(&set(PUBLIC_SET, "")).inactive.is_empty());
}
