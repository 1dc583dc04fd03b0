//! Which statement answers a list, and from where to where it reads.
//!
//! Every list is one range of one index. A filter's times and its cursor are both edges of that range; the tighter
//! one is used, so that a deep page costs as much as the first.

use bh_app::ports::{EvidenceFilter, Position};
use bh_domain::tenant::{Nid, Scope};

use crate::db::{AFTER_ALL, BEFORE_ALL, EVERYWHERE, Value};
use crate::statements;

/// A place between rows in the order (instant, nid, seq).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    at_ms: i64,
    nid: String,
    seq: i64,
}

impl Edge {
    /// Before every row of this instant.
    fn before(at_ms: i64) -> Self {
        Self { at_ms, nid: BEFORE_ALL.to_owned(), seq: i64::MIN }
    }

    /// After every row of this instant.
    fn after(at_ms: i64) -> Self {
        Self { at_ms, nid: AFTER_ALL.to_owned(), seq: i64::MAX }
    }

    fn at(position: &Position) -> Self {
        let seq = i64::try_from(position.seq).unwrap_or(i64::MAX);
        Self { at_ms: position.at.0, nid: position.nid.to_string(), seq }
    }

    /// The same place among one tenant's rows alone, where only instant and seq count.
    fn within(&self, nid: Nid) -> (i64, i64) {
        match self.nid.as_str().cmp(nid.to_string().as_str()) {
            std::cmp::Ordering::Less => (self.at_ms, i64::MIN),
            std::cmp::Ordering::Equal => (self.at_ms, self.seq),
            std::cmp::Ordering::Greater => (self.at_ms, i64::MAX),
        }
    }
}

/// The statement and its arguments for a list.
pub(crate) fn list(scope: &Scope, filter: &EvidenceFilter) -> (&'static str, Vec<Value>) {
    let mut args: Vec<Value> = vec![
        (&filter.caller).into(),
        (&filter.model).into(),
        (&filter.invocation_type).into(),
        filter.allowed.into(),
        filter.limit.into(),
    ];
    let (far, near) = edges(filter);
    if let (Some(nid), None) = (scope.nid(), &filter.session_id) {
        let (at_ms, seq) = near.within(nid);
        args.extend([nid.into(), far.into(), at_ms.into(), seq.into()]);
        let oldest_first = filter.oldest_first;
        return (if oldest_first { statements::RECORDS_OLDEST } else { statements::RECORDS_NEWEST }, args);
    }
    args.extend([far.into(), near.at_ms.into(), near.nid.into(), near.seq.into()]);
    let Some(session) = &filter.session_id else {
        let everywhere = (statements::RECORDS_OLDEST_EVERYWHERE, statements::RECORDS_NEWEST_EVERYWHERE);
        return (if filter.oldest_first { everywhere.0 } else { everywhere.1 }, args);
    };
    args.extend([session.as_str().into(), scope.nid().map_or_else(|| EVERYWHERE.into(), Value::from)]);
    let of_session = (statements::RECORDS_OLDEST_OF_SESSION, statements::RECORDS_NEWEST_OF_SESSION);
    (if filter.oldest_first { of_session.0 } else { of_session.1 }, args)
}

/// The far end of a list as an instant, and its near end, where it starts.
fn edges(filter: &EvidenceFilter) -> (i64, Edge) {
    let from = filter.from.map_or(i64::MIN, |from| from.0);
    let to = filter.to.map_or(i64::MAX, |to| to.0);
    let cursor = filter.after.as_ref().map(Edge::at);
    if filter.oldest_first {
        let start = Edge::after(from.saturating_sub(1));
        (to, cursor.map_or(start.clone(), |cursor| cursor.max(start)))
    } else {
        let start = Edge::before(to);
        (from, cursor.map_or(start.clone(), |cursor| cursor.min(start)))
    }
}

#[cfg(test)]
mod tests {
    use bh_domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn nid(low: u128) -> Nid {
        Nid(Uuid::from_u128(low))
    }

    #[test]
    fn the_tighter_of_cursor_and_time_is_where_a_list_starts() {
        let cursor = |at| Some(Position { at: Timestamp(at), nid: nid(7), seq: 3 });
        let mut filter = EvidenceFilter { to: Some(Timestamp(50)), after: cursor(40), ..Default::default() };
        assert_eq!(edges(&filter), (i64::MIN, Edge::at(&filter.after.unwrap())));
        filter.after = cursor(60);
        assert_eq!(edges(&filter), (i64::MIN, Edge::before(50)));
        filter = EvidenceFilter { from: Some(Timestamp(50)), oldest_first: true, ..Default::default() };
        assert_eq!(edges(&filter), (i64::MAX, Edge::after(49)));
    }

    #[test]
    fn a_cursor_between_tenants_counts_within_one() {
        let edge = Edge::at(&Position { at: Timestamp(5), nid: nid(7), seq: 3 });
        assert_eq!(edge.within(nid(7)), (5, 3));
        assert_eq!(edge.within(nid(8)), (5, i64::MIN));
        assert_eq!(edge.within(nid(6)), (5, i64::MAX));
    }
}
