//! The demo's own configuration: two customers, written as seed 000 writes them, and keys nobody else has.

use aws_lc_rs::rand;
use bh_config::{Loaded, SourceFile, Sources};
use bh_domain::evidence::hex;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::provider::DemoProvider;
use crate::cli::Failure;
use crate::load::LoadFault;

/// First customer, whose app speaks OpenAI.
pub(super) const ACME: Customer = Customer { tenant: "acme", caller: "customer-acme-app1" };
/// Second customer, whose bot speaks Anthropic.
pub(super) const GLOBEX: Customer = Customer { tenant: "globex", caller: "customer-globex-bot" };

const KEY_BYTES: usize = 16;

/// A customer and its one app.
#[derive(Clone, Copy, Debug)]
pub(super) struct Customer {
    /// Tenant.
    pub(super) tenant: &'static str,
    /// Name of the caller.
    pub(super) caller: &'static str,
}

/// The keys of one run. They are printed on purpose: they open this demo and nothing else.
pub(super) struct Keys {
    pub(super) acme: String,
    pub(super) globex: String,
    pub(super) admin: String,
}

impl Keys {
    /// New keys.
    pub(super) fn random() -> Result<Self, Failure> {
        let key = |holder: &str| -> Result<String, Failure> {
            let mut bytes = [0; KEY_BYTES];
            rand::fill(&mut bytes)
                .map_err(|_| Failure::new("the machine has no randomness to make keys from"))?;
            Ok(format!("demo-{holder}-{}", hex::encode(&bytes)))
        };
        Ok(Self { acme: key("acme")?, globex: key("globex")?, admin: key("admin")? })
    }
}

/// The configuration file of the demo.
pub(super) fn yaml(
    provider: &DemoProvider,
    keys: &Keys,
    port: u16,
    data_dir: &Path,
) -> Result<String, Failure> {
    // JSON strings are YAML strings: whatever a path holds, it stays one.
    let data_dir = serde_json::to_string(
        data_dir.to_str().ok_or_else(|| Failure::new("--data-dir is not valid UTF-8"))?,
    )?;
    let (openai, anthropic) = (provider.openai_url(), provider.anthropic_url());
    let Keys { acme, globex, admin } = keys;
    Ok(format!(
        r#"data_dir: {data_dir}
server:
  listen: "127.0.0.1:{port}"
admin_keys:
  - name: "demo"
    key: "{admin}"
gateway:
  providers:
    openai:
      base_url: "{openai}"
      api_key: "demo-provider-needs-no-key"
      region: "demo"
    anthropic:
      base_url: "{anthropic}"
      api_key: "demo-provider-needs-no-key"
      region: "demo"
  callers:
    - name: "{acme_caller}"
      api_key: "{acme}"
      tenant_id: "acme"
      policy_overrides:
        max_daily_cost: 1.00
    - name: "{globex_caller}"
      api_key: "{globex}"
      tenant_id: "globex"
      policy_overrides:
        max_daily_cost: 0.50
pricing:
  # What the demo provider answers with: the names and prices of the models it stands in for.
  providers:
    openai:
      models:
        demo-gpt-4o-mini: {{input_per_1m: 0.15, output_per_1m: 0.60}}
        demo-gpt-5.5: {{input_per_1m: 5.00, output_per_1m: 30.00}}
        demo-text-embedding-3-small: {{input_per_1m: 0.02, output_per_1m: 0}}
    anthropic:
      models:
        demo-claude-haiku-4-5: {{input_per_1m: 1.00, output_per_1m: 5.00}}
        demo-claude-sonnet-4-5: {{input_per_1m: 3.00, output_per_1m: 15.00}}
"#,
        acme_caller = ACME.caller,
        globex_caller = GLOBEX.caller,
    ))
}

/// Loads the demo's configuration, and nothing of the user's: neither file nor environment is looked at.
pub(super) fn load(yaml: &str) -> Result<Loaded, Failure> {
    let nothing = BTreeMap::new();
    let no_file = |path: &Path| {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the demo reads no file, and not {}", path.display()),
        ))
    };
    let file = Some(SourceFile { name: "(demo)", text: yaml });
    let loaded = bh_config::load(Sources { file, env: &nothing, read_file: &no_file });
    Ok(loaded.map_err(LoadFault::Problems)?)
}
