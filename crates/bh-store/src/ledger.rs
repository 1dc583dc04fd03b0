//! What was settled and what is leased, of one budget in one window.

use std::collections::HashMap;

use bh_app::ports::{Figures, Holder, Settled};
use bh_domain::budget::{Owner, SESSION_WINDOW};
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::Nid;

use crate::db::{Row, Tx, Value};
use crate::statements;

/// The owner key of a tenant's own budget: what all its callers spend.
fn tenant_key() -> String {
    Owner::Tenant.key()
}

/// What stands before a caller's name in an owner key.
pub(crate) const CALLER_PREFIX: &str = "caller:";

/// A budget and window as the database names them. Ordered, so that transactions lock in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WindowKey {
    pub(crate) nid: Nid,
    pub(crate) budget: String,
    pub(crate) window: String,
}

impl WindowKey {
    pub(crate) fn args(&self) -> Vec<Value> {
        vec![self.nid.into(), self.budget.as_str().into(), self.window.as_str().into()]
    }

    /// First and last spending window inside this one: a month holds days.
    fn days(&self) -> (String, String) {
        let month = self.window.len() == "2026-11".len() && self.window != SESSION_WINDOW;
        if month {
            (format!("{}-01", self.window), format!("{}-31", self.window))
        } else {
            (self.window.clone(), self.window.clone())
        }
    }
}

/// One process's part of a budget.
#[derive(Clone, Copy, Debug)]
struct Lease {
    holder: Holder,
    granted: NanoUsd,
    dead: bool,
}

/// All that is known of one budget in one window, in one consistent state.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    leases: Vec<Lease>,
    settled: HashMap<Holder, NanoUsd>,
}

impl Ledger {
    pub(crate) async fn read(tx: &mut Tx, key: &WindowKey) -> Result<Self, sqlx::Error> {
        let mut args = key.args();
        args.push(Nid::SYSTEM.into());
        let leases = tx.fetch(statements::LEASES, args).await?;
        let (from, to) = key.days();
        let settled = if key.budget == tenant_key() {
            tx.fetch(statements::SETTLED_OF_TENANT, vec![key.nid.into(), from.into(), to.into()]).await?
        } else {
            let args = vec![key.nid.into(), key.budget.as_str().into(), from.into(), to.into()];
            tx.fetch(statements::SETTLED_OF_OWNER, args).await?
        };
        Ok(Self {
            leases: leases.iter().map(lease).collect::<Result<_, _>>()?,
            settled: settled.iter().map(settled_by).collect::<Result<_, _>>()?,
        })
    }

    /// The same of many, by a few statements. What nothing is known of is left out.
    pub(crate) async fn read_all(
        tx: &mut Tx,
        keys: &[&WindowKey],
    ) -> Result<HashMap<WindowKey, Self>, sqlx::Error> {
        let mut ledgers: HashMap<WindowKey, Self> = HashMap::new();
        let windows = keys.iter().flat_map(|key| with(key, [Nid::SYSTEM.into()])).collect();
        for row in tx.fetch_rows(&statements::LEASES_OF_WINDOWS, windows).await? {
            let lease = Lease { holder: row.holder(3)?, granted: row.nano(4)?, dead: row.int(5)? != 0 };
            ledgers.entry(window_key(&row)?).or_default().leases.push(lease);
        }
        let (whole, owners): (Vec<&&WindowKey>, _) = keys.iter().partition(|key| key.budget == tenant_key());
        let days = |keys: Vec<&&WindowKey>| -> Vec<Value> {
            let days = |key: &WindowKey| <[String; 2]>::from(key.days()).map(Value::from);
            keys.into_iter().flat_map(|key| with(key, days(key))).collect()
        };
        let mut settled = tx.fetch_rows(&statements::SETTLED_OF_TENANTS, days(whole)).await?;
        settled.extend(tx.fetch_rows(&statements::SETTLED_OF_OWNERS, days(owners)).await?);
        for row in settled {
            let ledger = ledgers.entry(window_key(&row)?).or_default();
            ledger.settled.insert(row.holder(3)?, row.nano(4)?);
        }
        Ok(ledgers)
    }

    /// Settled by everybody.
    pub(crate) fn settled(&self) -> NanoUsd {
        self.settled.values().copied().sum()
    }

    /// Settled by one process.
    pub(crate) fn settled_by(&self, holder: Holder) -> NanoUsd {
        self.settled.get(&holder).copied().unwrap_or_default()
    }

    /// Granted to one process.
    pub(crate) fn granted_to(&self, holder: Holder) -> NanoUsd {
        self.leases.iter().filter(|lease| lease.holder == holder).map(|lease| lease.granted).sum()
    }

    /// Granted to one process and not settled by it.
    pub(crate) fn outstanding_of(&self, holder: Holder) -> NanoUsd {
        (self.granted_to(holder) - self.settled_by(holder)).max(NanoUsd::ZERO)
    }

    /// Granted to anybody and not settled.
    pub(crate) fn outstanding(&self) -> NanoUsd {
        self.leases.iter().map(|lease| self.outstanding_of(lease.holder)).sum()
    }

    pub(crate) fn figures(&self) -> Figures {
        let outstanding = |dead: bool| {
            self.leases.iter().filter(|l| l.dead == dead).map(|l| self.outstanding_of(l.holder)).sum()
        };
        Figures { settled: self.settled(), leased: outstanding(false), unsettled: outstanding(true) }
    }
}

/// A window, and what a statement takes beside it.
fn with<const N: usize>(key: &WindowKey, more: [Value; N]) -> Vec<Value> {
    let mut args = key.args();
    args.extend(more);
    args
}

/// The window that a row begins with.
pub(crate) fn window_key(row: &Row) -> Result<WindowKey, sqlx::Error> {
    Ok(WindowKey { nid: row.nid(0)?, budget: row.text(1)?, window: row.text(2)? })
}

fn lease(row: &Row) -> Result<Lease, sqlx::Error> {
    Ok(Lease { holder: row.holder(0)?, granted: row.nano(1)?, dead: row.int(2)? != 0 })
}

fn settled_by(row: &Row) -> Result<(Holder, NanoUsd), sqlx::Error> {
    Ok((row.holder(0)?, row.nano(1)?))
}

/// Sums in the order of the `LEDGER_…` statements.
pub(crate) fn sums(row: &Row) -> Result<Settled, sqlx::Error> {
    Ok(Settled {
        calls: row.count(0)?,
        denied: row.count(1)?,
        failed: row.count(2)?,
        tokens: TokenCounts {
            input: row.count(3)?,
            output: row.count(4)?,
            cache_read: row.count(5)?,
            cache_write: row.count(6)?,
            reasoning: row.count(7)?,
        },
        cost: row.nano(8)?,
    })
}
