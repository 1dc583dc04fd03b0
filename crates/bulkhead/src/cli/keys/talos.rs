//! `keys import-talos`: the keys of a Talos database become ours, with their ids, times and states. With the secret that
//! Talos signed them with in `secrets.hmac`, their holders notice nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use bh_app::budgets::BudgetKeeper;
use bh_app::identity::KeyHasher;
use bh_app::keys::{Asker, KeyStory};
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, Holder, Inserted, SystemClock};
use bh_app::snapshot::{Accounts, Snapshot, Tenant, TenantSecrets};
use bh_app::webhooks::Outbox;
use bh_domain::keys::key::KeyKind;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{DEFAULT_TENANT, Nid, TenantId};
use bh_store::{SqlStore, TalosDb, TalosKey};
use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use crate::assemble;
use crate::cli::audit::table::shown;
use crate::cli::{Failure, print};
use crate::compile::{self, Mode, Runtime};
use crate::load::ConfigSource;

/// Keys that are named because they cannot be taken over.
const PROBLEMS_TOLD_MAX: usize = 100;

#[derive(Debug, Args)]
pub(super) struct ImportTalosArgs {
    /// The Talos database: a path or `sqlite:PATH`. It is only read.
    #[arg(long, value_name = "DATABASE")]
    from: String,
    /// The keys of this network alone.
    #[arg(long, value_name = "UUID")]
    nid: Option<Uuid>,
    /// The tenant that the keys of a Talos without tenants become those of; `default` without it.
    #[arg(long, value_name = "TENANT")]
    to_tenant: Option<String>,
    /// Write the keys. Without it none is.
    #[arg(long)]
    apply: bool,
}

/// What became, or would become, of one network's keys.
#[derive(Debug, Default, Serialize)]
struct Taken {
    nid: String,
    tenant: String,
    issued: Counts,
    imported: Counts,
    /// First parts of issued keys that this configuration does not accept: those keys would not be known.
    prefixes_not_accepted: BTreeSet<String>,
    problems: Vec<Problem>,
    problems_count: usize,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    found: u64,
    new: u64,
    there_already: u64,
}

#[derive(Debug, Serialize)]
struct Problem {
    key_id: String,
    problem: String,
}

impl Taken {
    fn problem(&mut self, key_id: String, problem: impl Into<String>) {
        self.problems_count += 1;
        if self.problems.len() < PROBLEMS_TOLD_MAX {
            self.problems.push(Problem { key_id, problem: problem.into() });
        }
    }
}

/// Runs the command.
pub(super) async fn run(source: &ConfigSource, args: &ImportTalosArgs, as_json: bool) -> Result<(), Failure> {
    let talos = TalosDb::open(&args.from).await?;
    let house = House::open(source).await?;
    let taken = take_all(&talos, &house, args).await;
    talos.close().await;
    house.store.close().await;
    let taken = taken?;
    if as_json {
        print::json(&serde_json::json!({ "applied": args.apply, "networks": taken }))?;
    } else {
        report(&taken, args.apply)?;
    }
    match taken.iter().map(|network| network.problems_count).sum::<usize>() {
        0 => Ok(()),
        left => Err(Failure::new(format!("{left} keys cannot be taken over; the others can"))),
    }
}

/// Ours: the store, and the tenants in it.
struct House {
    store: SqlStore,
    story: KeyStory,
    snapshot: Snapshot,
}

impl House {
    async fn open(source: &ConfigSource) -> Result<Self, Failure> {
        let loaded = source.load()?;
        let (data_dir, secrets) = assemble::installation(&loaded)?;
        let (url, connections_max) = assemble::store_url(&loaded, &data_dir);
        let options = bh_store::Options { connections_max, ..bh_store::Options::default() };
        let store = bh_store::open(&url, options).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let built = async {
            let root = secrets.unlock(&store, clock.now()).await?;
            let keeper = BudgetKeeper::new(Arc::new(store.clone()), Arc::clone(&clock), Holder::default());
            let hasher = KeyHasher::new(&root.derive("key digest"));
            let tenants = TenantSecrets::new(&root.derive("tenant keys"));
            let metrics = Metrics::new();
            let accounts = Accounts { budgets: keeper, rates: Arc::default(), shared: None };
            let runtime = Runtime::new(hasher, tenants, accounts, Arc::clone(&metrics));
            let compiled =
                compile::compile(&loaded, &runtime, &store, None, clock.now(), Mode::Configured).await;
            Ok::<_, Failure>((
                assemble::key_story(&store, &clock, &root, &metrics, Outbox::silent(), None),
                compiled?,
            ))
        };
        match built.await {
            Ok((story, snapshot)) => Ok(Self { store, story, snapshot }),
            Err(failure) => {
                store.close().await;
                Err(failure)
            }
        }
    }

    /// Whose a network's keys become: the tenant with its id. A Talos without tenants has one network, without an id.
    fn tenant(&self, network: Nid, named: Option<&str>) -> Result<Arc<Tenant>, Failure> {
        if !network.0.is_nil() {
            let found = self.snapshot.tenant_by_nid(network);
            return found.ok_or_else(|| {
                Failure::new(format!(
                    "no tenant here has the network id {network}: name it in `multitenancy.networks` or give a tenant \
                     that `nid`, or take only others over with --nid"
                ))
            });
        }
        let slug = named.unwrap_or(DEFAULT_TENANT);
        let found = TenantId::parse(slug).ok().and_then(|id| self.snapshot.tenant(&id));
        found.ok_or_else(|| Failure::new(format!("there is no tenant `{slug}` here (--to-tenant)")))
    }
}

async fn take_all(talos: &TalosDb, house: &House, args: &ImportTalosArgs) -> Result<Vec<Taken>, Failure> {
    let mut networks = talos.networks().await?;
    if let Some(wanted) = args.nid {
        networks.retain(|network| network.0 == wanted);
        if networks.is_empty() {
            return Err(Failure::new(format!("{} has no keys of the network {wanted}", args.from)));
        }
    }
    // All tenants are known before the first row is written.
    let tenants = networks.into_iter().map(|n| Ok((n, house.tenant(n, args.to_tenant.as_deref())?)));
    let tenants: Vec<(Nid, Arc<Tenant>)> = tenants.collect::<Result<_, Failure>>()?;
    let mut all = Vec::new();
    for (network, tenant) in tenants {
        let asker =
            Asker { tenant, actor: "keys import-talos".to_owned(), role: "operator", origin: Arc::default() };
        let mut taken =
            Taken { nid: network.to_string(), tenant: asker.tenant.id.to_string(), ..Taken::default() };
        for kind in [KeyKind::Issued, KeyKind::Imported] {
            let mut after = String::new();
            loop {
                let (keys, last) = talos.keys(network, kind, &after).await?;
                let Some(last) = last else { break };
                page(house, &asker, kind, keys, args.apply, &mut taken).await?;
                after = last;
            }
        }
        all.push(taken);
    }
    Ok(all)
}

/// Takes one page of keys over, or says what would become of them.
async fn page(
    house: &House,
    asker: &Asker,
    kind: KeyKind,
    found: Vec<TalosKey>,
    apply: bool,
    taken: &mut Taken,
) -> Result<(), Failure> {
    let mut counts = Counts { found: found.len() as u64, ..Counts::default() };
    let mut keys = Vec::new();
    for key in found {
        match key {
            Ok(key) => {
                let prefix = key.token_prefix.iter().filter(|prefix| !accepted(asker, prefix));
                taken.prefixes_not_accepted.extend(prefix.cloned());
                keys.push(key);
            }
            Err((key_id, problem)) => taken.problem(key_id, problem),
        }
    }
    if apply {
        let ids: Vec<String> = keys.iter().map(|key| key.key_id.to_string()).collect();
        let inserted = house.story.adopt(asker, keys).await.map_err(refused)?;
        for (id, inserted) in ids.into_iter().zip(inserted) {
            match inserted {
                Inserted::Created => counts.new += 1,
                Inserted::Exists => counts.there_already += 1,
                Inserted::Replayed(other) if other.key_id.as_str() == id => counts.there_already += 1,
                Inserted::Replayed(other) => {
                    taken.problem(id, format!("its request id made the key {} here", other.key_id))
                }
                Inserted::QuotaExceeded { .. } => taken.problem(id, "the tenant may not keep more keys"),
            }
        }
    } else {
        for key in keys {
            match house.story.get(asker, kind, key.key_id.as_str()).await {
                Ok(_) => counts.there_already += 1,
                Err(refusal) if refusal.code == Code::NotFound => counts.new += 1,
                Err(refusal) => return Err(refused(refusal)),
            }
        }
    }
    let sums = match kind {
        KeyKind::Issued => &mut taken.issued,
        KeyKind::Imported => &mut taken.imported,
    };
    sums.found += counts.found;
    sums.new += counts.new;
    sums.there_already += counts.there_already;
    Ok(())
}

/// Whether a key that starts with this is looked for in the tenant.
fn accepted(asker: &Asker, prefix: &str) -> bool {
    let known = &asker.tenant.keys.prefixes;
    let issued = known.retired.iter().chain(&known.public_retired).chain(&known.public_current);
    issued.chain([&known.current]).any(|accepted| accepted == prefix)
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(refusal.message)
}

fn report(networks: &[Taken], applied: bool) -> Result<(), Failure> {
    let verb = if applied { "taken over" } else { "would be taken over" };
    for network in networks {
        print::line(&format!("network {} -> tenant {}", network.nid, network.tenant))?;
        for (what, counts) in [("issued", &network.issued), ("imported", &network.imported)] {
            print::line(&format!(
                "  {what}: {} found, {} {verb}, {} there already",
                counts.found, counts.new, counts.there_already
            ))?;
        }
        for prefix in &network.prefixes_not_accepted {
            print::line(&format!(
                "  not accepted here: keys that start with {}_v1_; add it to credentials.api_keys.prefix.retired",
                shown(prefix)
            ))?;
        }
        for Problem { key_id, problem } in &network.problems {
            print::line(&format!("  problem: {}: {}", shown(key_id), shown(problem)))?;
        }
    }
    if !applied {
        print::talk("no key was written: repeat the command with --apply");
    }
    Ok(())
}
