//! The usage ledger on SQL (decision 22).

mod house;
pub(crate) mod late;
pub(crate) mod statements;

use bh_app::ports::{
    Holder, ModelDay, StoreResult, TenantUsage, UsageDays, UsageDelta, UsageStore, UsageSums,
};
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::usage::{LATENCY_BUCKETS, Latency, UsageKind, UtcDay};

use crate::db::{Db, Row, Value, malformed, uuid_text};
use crate::{SqlStore, reaches};

/// How many counts come before those of latency.
const PLAIN_COUNTS: usize = 10;

impl UsageStore for SqlStore {
    fn usage(&self, scope: Scope, nid: Nid, days: UsageDays, models_max: u32) -> StoreResult<TenantUsage> {
        self.run("add up usage", move |db| async move {
            if reaches(&scope, nid) {
                usage(&db, &scope, nid, days, models_max).await
            } else {
                Ok(TenantUsage::default())
            }
        })
    }

    fn usage_by_model_day(
        &self,
        scope: Scope,
        provider: String,
        days: UsageDays,
    ) -> StoreResult<Vec<ModelDay>> {
        self.run("add up usage by model and day", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            let mut args = edges(days).to_vec();
            args.push(provider.into());
            db.fetch(&scope, statements::BY_MODEL_DAY, args).await?.iter().map(model_day).collect()
        })
    }

    fn put_usage(&self, holder: Holder, rows: Vec<UsageDelta>) -> StoreResult<()> {
        self.run("count verifications", move |db| async move {
            let mut tx = db.write().await?;
            tx.execute_rows(&statements::PUT, values(holder, &rows)).await?;
            tx.commit().await
        })
    }

    fn roll_usage_up(&self, before: UtcDay) -> StoreResult<u64> {
        self.run("roll usage up", move |db| async move { house::roll_up(&db, before).await })
    }

    fn forget_usage(&self, before: UtcDay) -> StoreResult<u64> {
        self.run("forget old usage", move |db| async move { house::forget(&db, before).await })
    }

    fn usage_kept_from(&self) -> StoreResult<Option<UtcDay>> {
        self.run("read since when usage is kept", |db| async move { house::kept_from(&db).await })
    }
}

async fn usage(
    db: &Db,
    scope: &Scope,
    nid: Nid,
    days: UsageDays,
    models_max: u32,
) -> Result<TenantUsage, sqlx::Error> {
    let of_tenant = |more: &[Value]| -> Vec<Value> {
        [nid.into()].into_iter().chain(edges(days)).chain(more.iter().cloned()).collect()
    };
    let mut tx = db.read_at_once(scope).await?;
    let by_day = tx.fetch(statements::BY_DAY, of_tenant(&[])).await?;
    let llm = [UsageKind::Llm.as_str().into(), models_max.into()];
    let by_model = tx.fetch(statements::BY_MODEL, of_tenant(&llm)).await?;
    let servers = tx.fetch(statements::DISTINCT, of_tenant(&[UsageKind::Servers.as_str().into()])).await?;
    tx.commit().await?;
    Ok(TenantUsage {
        days: by_day.iter().map(day).collect::<Result<_, _>>()?,
        models: by_model.iter().map(model).collect::<Result<_, _>>()?,
        servers: servers.first().map_or(Ok(0), |row| row.count(0))?,
    })
}

/// Where days begin and end: first hour, hour after, first day, day after.
fn edges(UsageDays { first, last }: UsageDays) -> [Value; 4] {
    let after = last.plus(1);
    [first.first_hour().0.into(), after.first_hour().0.into(), first.0.into(), after.0.into()]
}

fn day(row: &Row) -> Result<(UtcDay, UsageKind, UsageSums), sqlx::Error> {
    let kind = UsageKind::parse(&row.text(1)?).ok_or_else(|| malformed(1, "a kind of usage"))?;
    let mut sums = plain_sums(row, 2)?;
    let mut latency = [0; LATENCY_BUCKETS];
    for (column, count) in (2 + PLAIN_COUNTS..).zip(&mut latency) {
        *count = row.count(column)?;
    }
    sums.latency = Latency(latency);
    Ok((UtcDay(row.int(0)?), kind, sums))
}

fn model(row: &Row) -> Result<(String, String, UsageSums), sqlx::Error> {
    Ok((row.text(0)?, row.text(1)?, plain_sums(row, 2)?))
}

fn model_day(row: &Row) -> Result<ModelDay, sqlx::Error> {
    Ok(ModelDay { day: UtcDay(row.int(0)?), model: row.text(1)?, sums: plain_sums(row, 2)? })
}

/// Everything but latency, in the order of the statements.
fn plain_sums(row: &Row, first: usize) -> Result<UsageSums, sqlx::Error> {
    let count = |place: usize| row.count(first + place);
    Ok(UsageSums {
        requests: count(0)?,
        denied: count(1)?,
        failed: count(2)?,
        units: count(3)?,
        tokens: TokenCounts {
            input: count(4)?,
            output: count(5)?,
            cache_read: count(6)?,
            cache_write: count(7)?,
            reasoning: count(8)?,
        },
        cost: row.nano(first + 9)?,
        latency: Latency::default(),
    })
}

/// The rows that a process adds, laid end to end.
pub(crate) fn values(holder: Holder, usage: &[UsageDelta]) -> Vec<Value> {
    let holder = uuid_text(holder.0);
    let row = |delta: &UsageDelta| -> [Value; 29] {
        let UsageDelta { key, sums } = delta;
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11] = sums.latency.0.map(Value::from);
        [
            key.nid.into(),
            key.hour.0.into(),
            key.kind.as_str().into(),
            key.caller.as_str().into(),
            key.provider.as_str().into(),
            key.model.as_str().into(),
            (&holder).into(),
            sums.requests.into(),
            sums.denied.into(),
            sums.failed.into(),
            sums.units.into(),
            sums.tokens.input.into(),
            sums.tokens.output.into(),
            sums.tokens.cache_read.into(),
            sums.tokens.cache_write.into(),
            sums.tokens.reasoning.into(),
            sums.cost.into(),
            b0,
            b1,
            b2,
            b3,
            b4,
            b5,
            b6,
            b7,
            b8,
            b9,
            b10,
            b11,
        ]
    };
    usage.iter().flat_map(row).collect()
}
