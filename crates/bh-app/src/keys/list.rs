//! Lists of keys.

use bh_domain::keys::filter::ListFilter;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::refusal::Refusal;
use bh_domain::time::Timestamp;

use super::page::PageList;
use super::{Asker, KeyStory, invalid};
use crate::ports::KeyFilter;

/// Keys on a page that asks for no size.
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// The most keys on a page.
pub const PAGE_SIZE_MAX: u32 = 1_000;

/// One page.
#[derive(Debug)]
pub struct KeyPage {
    /// Newest first.
    pub keys: Vec<Key>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<String>,
}

/// The size of a page: one below 1 is the default, one above the largest is the largest.
pub(crate) fn page_size(asked: i64) -> u32 {
    match u32::try_from(asked).unwrap_or(if asked > 0 { PAGE_SIZE_MAX } else { 0 }) {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    }
}

/// A place in a list of keys, as its tokens say it.
fn place(text: &str) -> Option<(Timestamp, KeyId)> {
    let (created, key_id) = text.split_once(':')?;
    Some((Timestamp(created.parse().ok()?), KeyId::parse(key_id).ok()?))
}

impl KeyStory {
    /// A page of keys, newest first. A size below 1 is the default, one above the largest is the largest.
    ///
    /// # Errors
    /// `invalid_request` for a filter that cannot be read or a page token that is not of this tenant and list;
    /// `evidence_unavailable`.
    pub async fn list(
        &self,
        asker: &Asker,
        kind: KeyKind,
        size: i64,
        token: &str,
        filter: &str,
    ) -> Result<KeyPage, Refusal> {
        let parsed = ListFilter::parse(filter).map_err(|error| invalid("filter", error))?;
        let now = self.0.parts.clock.now();
        let name = match kind {
            KeyKind::Issued => "issued",
            KeyKind::Imported => "imported",
        };
        let list = PageList { nid: asker.tenant.nid, name, filter };
        let after = self.open_place(&asker.tenant, &list, token, place)?;
        let size = page_size(size);
        let filter = KeyFilter { actor_id: parsed.actor_id, status: parsed.status, now };
        // One more than asked for tells whether there is another page.
        let found = self.0.parts.store.list(asker.scope(), kind, filter, after, size + 1).await;
        let mut keys = found.map_err(|fault| fault.refusal())?;
        let more = keys.len() > size as usize;
        keys.truncate(size as usize);
        let last = keys.last().filter(|_| more);
        let last = last.map(|last| format!("{}:{}", last.created.0, last.key_id));
        let next = last.map(|last| self.seal_place(&asker.tenant, &list, &last)).transpose()?;
        Ok(KeyPage { keys, next })
    }
}
