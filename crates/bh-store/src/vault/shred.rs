//! Destroying what a tenant's data was sealed with: from then on nobody reads it, wherever copies of it are.

use bh_domain::tenant::Nid;

use super::{Outcome, sql};
use crate::db::{Tx, Value};

/// As long as a wrapped key: its place in the file is written over, rather than only given back.
const NOTHING: [u8; 60] = [0; 60];

/// Destroys a tenant's data keys and secrets within the transaction that deletes the tenant.
pub(crate) async fn shred(tx: &mut Tx, nid: Nid) -> Outcome<()> {
    if nid == Nid::SYSTEM {
        return Err(sqlx::Error::InvalidArgument("the installation's own keys are not shredded".to_owned()));
    }
    // Keys are rewrapped under this row: two that change the same keys never meet in another order.
    tx.execute(sql::HOLD_ROOT, vec![Nid::SYSTEM.into()]).await?;
    tx.execute(sql::OVERWRITE_KEYS, vec![nid.into(), Value::Bytes(Some(NOTHING.to_vec()))]).await?;
    tx.execute(sql::DELETE_KEYS, vec![nid.into()]).await?;
    tx.execute(sql::DELETE_SECRETS, vec![nid.into()]).await.map(drop)
}
