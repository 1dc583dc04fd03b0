//! Tenants by host name: what contradicts, and what an overlay does.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{lines, refusals};
use crate::schema::TenantKeys;
use crate::{Loaded, Problem, SourceFile, Sources, load, reload};

const ONE: &str = "550e8400-e29b-41d4-a716-446655440001";
const TWO: &str = "550e8400-e29b-41d4-a716-446655440002";
const BASE: &str = "\
secrets: {hmac: {current: base-secret-0123456789abcdef0123456789, retired: [old-secret-0123456789abcdef01234567890]}}
credentials: {issuer: https://base.example, api_keys: {prefix: {current: base, retired: [older]}, max_ttl: 24h}}
cache: {type: memory, ttl: 1m}
";

/// A configuration in `/etc/bulkhead/main.yaml` with these networks: host, id, overlay.
fn networks(entries: &[(&str, &str, &str)]) -> String {
    let entry = |(host, id, overlay): &(&str, &str, &str)| {
        let overlay = if overlay.is_empty() { String::new() } else { format!(", config_path: {overlay}") };
        format!("  - {{hostname: '{host}', id: {id}{overlay}}}\n")
    };
    let entries: String = entries.iter().map(entry).collect();
    format!("{BASE}multitenancy:\n  enabled: true\n  networks:\n{entries}")
}

fn with_files(
    yaml: &str,
    files: &[(&str, &str)],
    how: fn(Sources<'_>) -> Result<Loaded, Vec<Problem>>,
) -> Result<Loaded, Vec<Problem>> {
    let file = Some(SourceFile { name: "/etc/bulkhead/main.yaml", text: yaml });
    let env = BTreeMap::from([("SECRET".to_owned(), "secret-from-the-environment-0123456789".to_owned())]);
    let read_file = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    how(Sources { file, env: &env, read_file: &read_file })
}

fn keys_of<'l>(loaded: &'l Loaded, network: &str) -> &'l TenantKeys {
    let position = loaded.overlays.of(network.parse().unwrap()).expect("it has an overlay");
    loaded.overlays.files()[position].settings.as_ref().expect("it is sound")
}

#[test]
fn an_overlay_lies_over_the_base_and_inherits_what_it_leaves_out() {
    let overlay = "\
talos: {anything: {at: [all]}}
secrets: {hmac: {current: '${env:SECRET}'}}
credentials: {issuer: https://one.example, api_keys: {prefix: {retired: []}}}
rate_limit: {enabled: true}
cache:
";
    let yaml = networks(&[("a.example", ONE, "tenants/one.yaml"), ("b.example", TWO, "")]);
    let loaded = with_files(&yaml, &[("/etc/bulkhead/tenants/one.yaml", overlay)], load).unwrap();
    let keys = keys_of(&loaded, ONE);
    let credentials = keys.credentials.as_ref().unwrap();
    assert_eq!(credentials.issuer.as_deref(), Some("https://one.example"));
    let prefix = &credentials.api_keys.prefix;
    assert_eq!((prefix.current.as_ref().unwrap().0.as_str(), prefix.retired.len()), ("base", 0));
    assert_eq!(credentials.api_keys.max_ttl.as_ref().unwrap().0.as_secs(), 86_400);
    let hmac = keys.secrets.hmac.as_ref().unwrap();
    assert_eq!(hmac.current.as_ref().unwrap().expose(), "secret-from-the-environment-0123456789");
    assert_eq!(hmac.retired.len(), 1);
    assert!(keys.rate_limit.as_ref().unwrap().enabled == Some(true) && keys.talos.is_some());
    assert_eq!(keys.cache.as_ref().unwrap().ttl.as_ref().unwrap().0.as_secs(), 60);
    // The others have the base's.
    assert_eq!(loaded.overlays.of(TWO.parse().unwrap()), None);
    assert_eq!(loaded.keys.credentials.as_ref().unwrap().issuer.as_deref(), Some("https://base.example"));
    assert!(!format!("{keys:?}").contains("secret-from"), "a secret shows");
}

#[test]
fn the_installation_s_own_settings_have_no_effect_in_an_overlay_and_warn_once() {
    let overlay = "\
serve: {http: {port: 1}}
db: {dsn: sqlite:///elsewhere.db}
multitenancy: {enabled: false}
tracing: {enabled: true}
server: {listen: nonsense}
secrets: {master_key: short, hmac: {retired: [older-secret-0123456789abcdef0123456789]}}
credentials: {issuer: https://one.example}
";
    let files = [("/o/1.yaml", overlay), ("/o/2.yaml", "tracing: {enabled: true}\n")];
    let yaml = networks(&[("a.example", ONE, "/o/1.yaml"), ("b.example", TWO, "/o/2.yaml")]);
    let loaded = with_files(&yaml, &files, load).unwrap();
    let warning = |key: &str, others: &str| {
        format!(
            "`{key}` is the same for every tenant: in a tenant's overlay (/o/1.yaml{others}) it has no effect"
        )
    };
    assert_eq!(
        loaded.warnings,
        [
            warning("db", ""),
            warning("multitenancy", ""),
            warning("secrets.master_key", ""),
            warning("serve", ""),
            warning("server", ""),
            warning("tracing", " and 1 more"),
        ]
    );
    assert!(loaded.config.multitenancy.unwrap().enabled);
    let served = "serve: {http: {port: 1}}\n";
    let keys = with_files(&yaml, &[("/o/1.yaml", served), ("/o/2.yaml", served)], load).unwrap();
    assert_eq!(
        keys_of(&keys, ONE).credentials.as_ref().unwrap().issuer.as_deref(),
        Some("https://base.example")
    );
}

#[test]
fn a_missing_or_bad_overlay_is_refused_with_its_file_and_line() {
    let yaml = networks(&[("a.example", ONE, "one.yaml"), ("b.example", TWO, "/gone.yaml")]);
    let overlay = "credentials:\n  isuer: x\n  clock_skew: 1h\nsecrets: {hmac: {current: short}}\nloud: 1\n";
    let files = [("/etc/bulkhead/one.yaml", overlay)];
    let refused = with_files(&yaml, &files, load).unwrap_err();
    let told = lines(&refused);
    let wanted = [
        "/etc/bulkhead/one.yaml:2:3: credentials.isuer: unknown key; did you mean `issuer`?",
        "/etc/bulkhead/one.yaml:4:27: secrets.hmac.current: must have at least 32 characters",
        "/etc/bulkhead/one.yaml:5:1: loud: unknown key",
        "/etc/bulkhead/main.yaml:8:84: multitenancy.networks[1].config_path: can't read `/gone.yaml`: entity not found",
    ];
    assert_eq!(told, wanted);
    // Alone it is only seen when nothing else is wrong with the file.
    let skewed = [("/etc/bulkhead/one.yaml", "credentials: {clock_skew: 1h}\n"), ("/gone.yaml", "")];
    let told = lines(&with_files(&yaml, &skewed, load).unwrap_err());
    assert_eq!(told, ["/etc/bulkhead/one.yaml:1:27: credentials.clock_skew: at most 10m"]);
    // A server that cannot be one.
    let redis = [("/etc/bulkhead/one.yaml", "cache: {type: redis}\n"), ("/gone.yaml", "")];
    let of_all = |addrs: &str| {
        yaml.replacen("cache: {type: memory", &format!("cache: {{redis: {{addrs: {addrs}}}, type: redis"), 1)
    };
    assert!(with_files(&of_all("[redis.internal:6379]"), &redis, load).is_ok());
    let told = lines(&with_files(&of_all("[redis]"), &redis, load).unwrap_err());
    let unreadable = "cache.redis.addrs[0]: expected HOST:PORT such as redis.internal:6379";
    assert_eq!(told, [format!("/etc/bulkhead/main.yaml:3:25: {unreadable}")]);
    let told = lines(&with_files(&of_all("[a:1, b:2]"), &redis, load).unwrap_err());
    let several =
        "cache.redis.addrs: one server: name a single address, which may be that of a proxy before several";
    assert_eq!(told, [format!("/etc/bulkhead/main.yaml:3:24: {several}")]);
    // Where an earlier configuration is in force, the others go on.
    let kept = with_files(&yaml, &files, reload).unwrap();
    assert!(kept.overlays.files().iter().all(|overlay| overlay.settings.is_err()));
    assert_eq!(kept.overlays.files()[1].path, Path::new("/gone.yaml"));
}

#[test]
fn overlays_are_not_looked_at_while_host_names_decide_nothing() {
    let yaml = networks(&[("a.example", ONE, "/gone.yaml")]).replace("enabled: true", "enabled: false");
    assert!(with_files(&yaml, &[], load).unwrap().overlays.files().is_empty());
}

#[test]
fn a_file_that_several_networks_name_is_read_once() {
    let yaml = networks(&[("a.example", ONE, "/o"), ("b.example", ONE, "/o"), ("c.example", TWO, "/o")]);
    let loaded = with_files(&yaml, &[("/o", "quota: {api_keys_max: 7}\n")], load).unwrap();
    assert_eq!(loaded.overlays.files().len(), 1);
    assert_eq!(keys_of(&loaded, TWO).quota.as_ref().unwrap().api_keys_max, 7);
}

#[test]
fn host_names_and_network_ids_belong_to_one_tenant() {
    let yaml = format!(
        "\
tenants:
  - {{id: acme, nid: {ONE}, hostnames: [acme.example, 'ACME.example:80']}}
  - {{id: globex, nid: {ONE}}}
  - {{id: umbrella, hostnames: [umbrella.example, www.umbrella.example]}}
  - {{id: initech, hostnames: [initech.example]}}
multitenancy:
  networks:
  - {{hostname: umbrella.example, id: {ONE}}}
  - {{hostname: acme.example, id: {TWO}}}
  - {{hostname: initech.example, id: {TWO}}}
  - {{hostname: other.example, id: {TWO}, config_path: x.yaml}}
"
    );
    let told: Vec<_> = refusals(&yaml).iter().map(|line| line.replacen("bulkhead.yaml:", "", 1)).collect();
    let wanted = [
        "2:85: tenants[0].hostnames[1]: `ACME.example:80` is the same host name as `acme.example` of tenants[0].hostnames[0]: both normalise to `acme.example`".to_owned(),
        format!("3:23: tenants[1].nid: the network id {ONE} is taken by tenants[0]"),
        format!("8:5: multitenancy.networks[0]: `umbrella.example` is a host name of tenants[2], and the id {ONE} belongs to tenants[1]"),
        format!("9:5: multitenancy.networks[1]: `acme.example` is a host name of tenants[0], whose network id is {ONE}"),
        format!("10:5: multitenancy.networks[2]: `initech.example` is a host name of tenants[3], and the id {TWO} belongs to tenants[0]"),
        "11:86: multitenancy.networks[3].config_path: multitenancy.networks[1] gives the same id another overlay; a tenant has one, or none".to_owned(),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_network_belongs_to_the_tenant_with_its_id_or_its_host_name() {
    let yaml = format!(
        "\
tenants:
  - {{id: acme, nid: {ONE}}}
  - {{id: umbrella, hostnames: [umbrella.example]}}
multitenancy:
  enabled: true
  networks:
  - {{hostname: acme.example, id: {ONE}}}
  - {{hostname: umbrella.example, id: {TWO}}}
  - {{hostname: www.umbrella.example, id: {TWO}}}
"
    );
    let config = super::loaded(&yaml).config;
    let owners = config.network_owners();
    let owner = |id: &str| owners[&id.parse::<uuid::Uuid>().unwrap()].id.to_string();
    assert_eq!((owner(ONE).as_str(), owner(TWO).as_str(), owners.len()), ("acme", "umbrella", 2));
}

#[test]
fn what_is_no_host_name_no_network_id_and_no_instant_is_refused() {
    let nil = uuid::Uuid::nil();
    let yaml = format!(
        "multitenancy:\n  networks:\n  - {{hostname: 'a b', id: {nil}}}\n  - {{hostname: 'bücher.example', id: {ONE}}}\ncredentials: {{issuer_retired: [x, {{value: y, expires_at: soon}}]}}\n"
    );
    let told = refusals(&yaml);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].contains("networks[0].hostname: expected a host name of at most 253"), "{told:?}");
    assert!(
        told[1].contains("networks[0].id: expected a UUID") && told[1].contains("not the nil one"),
        "{told:?}"
    );
    assert!(told[2].contains("networks[1].hostname") && told[2].contains("`xn--` form"), "{told:?}");
    assert!(told[3].contains("expires_at: expected an instant such as"), "{told:?}");
}
