//! Lists of keys.

use bh_domain::keys::filter::ListFilter;
use bh_domain::keys::key::{Key, KeyKind};
use bh_domain::refusal::Refusal;

use super::{Asker, KeyStory, invalid, page, store_fault};
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
        let house = self.0.houses.of(&asker.tenant)?;
        let now = self.0.parts.clock.now();
        let list = page::List { nid: asker.tenant.nid, kind, filter };
        let after = match token {
            "" => None,
            token => Some(list.open(&house, token, now).ok_or_else(|| {
                invalid(
                    "page_token",
                    "not a token of this tenant, this list and this filter: start with none",
                )
            })?),
        };
        let size = match u32::try_from(size).unwrap_or(if size > 0 { PAGE_SIZE_MAX } else { 0 }) {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        };
        let filter = KeyFilter { actor_id: parsed.actor_id, status: parsed.status, now };
        // One more than asked for tells whether there is another page.
        let found = self.0.parts.store.list(asker.scope(), kind, filter, after, size + 1).await;
        let mut keys = found.map_err(|fault| store_fault(&fault))?;
        let more = keys.len() > size as usize;
        keys.truncate(size as usize);
        let last = keys.last().filter(|_| more);
        let next = last.map(|last| list.seal(&house, last)).transpose()?;
        Ok(KeyPage { keys, next })
    }
}
