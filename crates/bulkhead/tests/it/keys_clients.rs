//! Ory's generated clients of the API-key server, in Python and Node, against the real gateway (Talos dossier §15.1):
//! alone, and as two tenants told apart by host name. The scripts are in `tests/clients`; each prints a line per step.

use std::path::Path;

use bh_testkit::{CliOutput, Gateway, Store, on_both_stores, sdk};

use crate::auth::{ADMIN_KEY, BULKHEAD};

const ONE: &str = "550e8400-e29b-41d4-a716-446655440001";
const TWO: &str = "550e8400-e29b-41d4-a716-446655440002";

/// What every step is told, in both languages, at issuer `ISSUER`.
const TOLD: &str = "\
issue yes KEY_STATUS_ACTIVE KEY_VISIBILITY_SECRET read,write 100
lifetime 86400
verify yes KEY_STATUS_ACTIVE yes ISSUER a
get one
list 2 1 yes
listed yes
update renamed read,list a
clear - {} renamed
implicit implied read,list KEY_STATUS_ACTIVE
fresh read,list
rotate rotated read,list KEY_STATUS_REVOKED
old no VERIFICATION_ERROR_REVOKED -
new yes yes
derive JWT read web prod
verify JWT yes yes read web
derive MACAROON read web prod
verify MACAROON yes yes read web
offline yes yes prod
import 64 KEY_STATUS_ACTIVE yes yes
batch 2 5 [0, 1, 2, 3, 4, 5, 6]
item 0 UNSPECIFIED yes no
item 1 ALREADY_EXISTS no yes
item 2 UNSPECIFIED yes no
item 3 ALREADY_EXISTS no yes
item 4 INVALID_ARGUMENT no yes
item 5 FAILED_PRECONDITION no yes
item 6 FAILED_PRECONDITION no yes
batch verify 100 yes no yes no VERIFICATION_ERROR_AUDIENCE_MISMATCH {'VERIFICATION_ERROR_NOT_FOUND'}
imported 3 from elsewhere
update imported ours read
revoke imported VERIFICATION_ERROR_REVOKED KEY_STATUS_REVOKED REVOCATION_REASON_PRIVILEGE_WITHDRAWN over
delete imported VERIFICATION_ERROR_NOT_FOUND
self revoke yes yes VERIFICATION_ERROR_REVOKED
get unknown 404 NOT_FOUND NOT_FOUND
get deleted 404 NOT_FOUND NOT_FOUND
revoke twice 409 ALREADY_EXISTS CONFLICT
bad mask 400 INVALID_ARGUMENT BAD_REQUEST
import twice 409 ALREADY_EXISTS CONFLICT
rotate revoked 409 FAILED_PRECONDITION FAILED_PRECONDITION
derive from revoked 403 PERMISSION_DENIED FORBIDDEN
derive from junk 401 UNAUTHENTICATED UNAUTHORIZED
self revoke a token 400 INVALID_ARGUMENT DERIVED_TOKEN_NOT_REVOCABLE
";

/// Whom a client speaks for.
pub(crate) struct Tenant {
    pub(crate) host: &'static str,
    pub(crate) key: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) nid: &'static str,
    pub(crate) issuer: &'static str,
}

pub(crate) fn run(gateway: &Gateway, tenant: &Tenant, language: &str) {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let env = [
        ("GATEWAY", gateway.url()),
        ("HOST", tenant.host),
        ("KEY", tenant.key),
        ("PREFIX", tenant.prefix),
        ("NID", tenant.nid),
        ("ISSUER", tenant.issuer),
    ];
    let output: CliOutput = match language {
        "python" => sdk::python(&clients.join("python/keys.py"), &env),
        _ => sdk::node(&clients.join("node/keys.cjs"), &env),
    };
    let who = format!("{language} at {:?}", tenant.host);
    assert!(output.ok() && output.stderr.is_empty(), "{who}: {output}");
    let told: Vec<&str> = output.stdout.lines().collect();
    let wanted = TOLD.replace("ISSUER", tenant.issuer);
    assert_eq!(told, wanted.lines().collect::<Vec<_>>(), "{who}");
}

/// A gateway of one tenant, as Talos runs out of the box: nobody has to prove anything.
async fn alone(store: Store) {
    let issuer = "https://api.example.com";
    let yaml = format!("credentials: {{issuer: \"{issuer}\"}}\ntenants:\n  - {{id: default, nid: {ONE}}}\n");
    let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).start().await;
    let tenant = Tenant { host: "", key: "any", prefix: "ory_ak", nid: ONE, issuer };
    for language in ["python", "node"] {
        run(&gateway, &tenant, language);
    }
}

/// Two tenants with the same names and imported keys, and an operator's key.
async fn per_tenant(store: Store) {
    let overlay = |issuer: &str, prefix: &str| {
        format!("credentials: {{issuer: \"{issuer}\", api_keys: {{prefix: {{current: {prefix}}}}}}}\n")
    };
    let yaml = format!(
        "multitenancy:\n  enabled: true\n  networks:\n    \
         - {{hostname: tenant1.talos.example.com, id: {ONE}, config_path: one.yaml}}\n    \
         - {{hostname: tenant2.talos.example.com, id: {TWO}, config_path: two.yaml}}\n"
    );
    let (one, two) = ("https://api.tenant1.example.com", "https://api.tenant2.example.com");
    let builder = Gateway::builder(BULKHEAD).store(store).config(&yaml).env("TALON_ADMIN_KEY", ADMIN_KEY);
    let builder = builder.file("one.yaml", overlay(one, "t1")).file("two.yaml", overlay(two, "t2"));
    let gateway = builder.start().await;
    let tenant = |host, prefix, nid, issuer| Tenant { host, key: ADMIN_KEY, prefix, nid, issuer };
    for tenant in [
        tenant("tenant1.talos.example.com", "t1", ONE, one),
        tenant("Tenant2.Talos.example.com:8443", "t2", TWO, two),
    ] {
        for language in ["python", "node"] {
            run(&gateway, &tenant, language);
        }
    }
}

on_both_stores! {
    /// Proves: TALOS-C01
    async fn orys_own_clients_are_told_what_they_expect(store) {
        alone(store).await;
        per_tenant(store).await;
    }
}
