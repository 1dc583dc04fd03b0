//! The evidence log.

use std::sync::Arc;

use bh_app::ports::{
    Appended, Batch, Checkpoint, ContentRow, EvidenceFilter, EvidenceStore as _, KeyRef, NodeRow, Position,
    Purge, StoredContent,
};
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;
use bh_testkit::on_both_stores;

use super::fixture::{Fixture, batch, leaf, nid, places, record, system};

fn first(limit: u32) -> EvidenceFilter {
    EvidenceFilter { limit, ..EvidenceFilter::default() }
}

on_both_stores! {
    async fn what_was_appended_is_what_is_read(kind) {
        let fixture = Fixture::new(kind).await;
        let (a, b) = (nid(1), nid(2));
        let records: Vec<_> = (1..=70).map(|seq| record(a, seq, 1_000)).chain([record(b, 1, 900)]).collect();
        assert_eq!(fixture.append(records).await, Appended::Durable);

        let heads = fixture.store.heads(vec![a, b, nid(3)]).await.unwrap();
        assert_eq!((heads.len(), heads[&a].seq, heads[&b].seq), (2, 70, 1));
        assert_eq!((heads[&a].leaf_hash, heads[&a].frontier.clone()), (leaf(70), vec![7; 32]));
        assert_eq!(fixture.store.heads_everywhere(system()).await.unwrap().len(), 2);
        assert!(fixture.store.heads_everywhere(Scope::tenant(a)).await.unwrap().is_empty());

        let chain = fixture.store.chain(Scope::tenant(a), a, 3, 60, 2).await.unwrap();
        assert_eq!(places(&chain), [(a, 3), (a, 4)]);
        assert_eq!((chain[0].at, chain[0].leaf_hash), (Timestamp(1_000), leaf(3)));
        assert_eq!(chain[0].record.as_deref(), Some(r#"{"seq":3}"#));
        let hashes = fixture.store.leaf_hashes(system(), a, 69, 99).await.unwrap();
        assert_eq!(hashes, [leaf(69), leaf(70)]);
    }

    async fn a_batch_sealed_on_a_moved_head_is_refused_whole(kind) {
        let fixture = Fixture::new(kind).await;
        let (a, b) = (nid(1), nid(2));
        let sealed = vec![record(a, 1, 10), record(b, 1, 10)];
        assert_eq!(fixture.append(sealed.clone()).await, Appended::Durable);
        assert_eq!(fixture.append(sealed).await, Appended::Stale(vec![a, b]), "the same batch again");
        let mixed = vec![record(a, 2, 11), record(b, 3, 11)];
        assert_eq!(fixture.append(mixed).await, Appended::Stale(vec![b]));
        assert_eq!(places(&fixture.store.records(system(), first(9)).await.unwrap()), [(b, 1), (a, 1)]);
        let gone = vec![record(nid(3), 5, 11)];
        assert_eq!(fixture.append(gone).await, Appended::Stale(vec![nid(3)]), "a head that is not there");
        assert_eq!(fixture.append(vec![record(a, 2, 11), record(b, 2, 11)]).await, Appended::Durable);
    }

    async fn no_scope_reaches_another_tenants_evidence(kind) {
        let fixture = Fixture::new(kind).await;
        let (a, b) = (nid(1), nid(2));
        let mut sealed = batch(vec![record(a, 1, 10)]);
        sealed.nodes.push(NodeRow { nid: a, level: 8, index: 0, hash: leaf(9) });
        let id = sealed.records[0].id.clone();
        sealed.contents.push(ContentRow { nid: a, record_id: id.clone(), kind: "prompt", sealed: vec![1, 2], key: None });
        fixture.store.append(Arc::new(sealed)).await.unwrap();
        let note = Checkpoint { nid: a, size: 1, note: "n".to_owned(), at: Timestamp(5) };
        fixture.store.put_checkpoints(vec![note.clone()]).await.unwrap();

        for (scope, found) in [(Scope::tenant(a), 1), (Scope::tenant(b), 0), (system(), 1)] {
            let store = &fixture.store;
            let scope = || scope.clone();
            let lengths = [
                store.records(scope(), first(9)).await.unwrap().len(),
                store.record(scope(), id.clone()).await.unwrap().iter().count(),
                store.chain(scope(), a, 1, 9, 9).await.unwrap().len(),
                store.leaf_hashes(scope(), a, 1, 9).await.unwrap().len(),
                store.nodes(scope(), a, 8, 0, 9).await.unwrap().len(),
                store.checkpoint(scope(), a).await.unwrap().iter().count(),
                store.contents(scope(), a, id.clone()).await.unwrap().len(),
            ];
            assert_eq!(lengths, [found; 7], "{:?}", scope());
            assert_eq!(store.counts_since(scope(), Some(a), Timestamp(0)).await.unwrap(), (found as u64, 0));
        }
        assert_eq!(fixture.store.checkpoint(system(), a).await.unwrap(), Some(note));
        assert_eq!(fixture.store.nodes(system(), a, 8, 0, 0).await.unwrap(), [leaf(9)]);
        let contents = fixture.store.contents(system(), a, id).await.unwrap();
        assert_eq!(contents, [StoredContent { kind: "prompt".to_owned(), sealed: vec![1, 2], key: None }]);
        let purged = fixture.store.purge(Scope::tenant(b), a, Timestamp(99), 9).await.unwrap();
        assert_eq!(purged, None);
    }

    async fn pages_cover_a_list_once_in_both_directions(kind) {
        let fixture = Fixture::new(kind).await;
        // Three tenants, ties in time, and times that do not grow with the chain.
        let tenants = [nid(1), nid(2), nid(3)];
        let time = |seq: u64| 100 + i64::try_from(seq * 7 % 5).unwrap();
        let records = tenants.iter().flat_map(|n| (1..=9).map(|seq| record(*n, seq, time(seq)))).collect();
        fixture.append(records).await;
        for scope in [system(), Scope::tenant(nid(2))] {
            let own = |n: &_| scope.nid().is_none_or(|nid| nid == *n);
            let mut expected: Vec<_> =
                tenants.into_iter().filter(own).flat_map(|n| (1..=9).map(move |seq| (time(seq), n, seq))).collect();
            expected.sort_unstable();
            for oldest_first in [true, false] {
                let mut filter = EvidenceFilter { oldest_first, ..first(4) };
                let mut seen = Vec::new();
                loop {
                    let page = fixture.store.records(scope.clone(), filter.clone()).await.unwrap();
                    let Some(last) = page.last() else { break };
                    filter.after = Some(Position { at: last.at, nid: last.nid, seq: last.seq });
                    seen.extend(page.iter().map(|r| (r.at.0, r.nid, r.seq)));
                }
                assert_eq!(seen, expected, "{scope:?}, oldest first: {oldest_first}");
                expected.reverse();
            }
        }
    }

    async fn filters_narrow_a_list(kind) {
        let fixture = Fixture::new(kind).await;
        let a = nid(1);
        let mut rows: Vec<_> = (1..=6).map(|seq| record(a, seq, i64::try_from(seq).unwrap() * 10)).collect();
        rows[1].caller = "batch".to_owned();
        rows[2].allowed = false;
        rows[3].model = "claude".to_owned();
        rows[4].invocation_type = "budget".to_owned();
        rows[5].session_id = Some("s-1".to_owned());
        let mut foreign = record(nid(2), 1, 60);
        foreign.session_id = Some("s-1".to_owned());
        rows.push(foreign);
        fixture.append(rows).await;
        let text = |text: &str| Some(text.to_owned());
        let all = || first(9);
        let cases = [
            (EvidenceFilter { caller: text("batch"), ..all() }, vec![2]),
            (EvidenceFilter { allowed: Some(false), ..all() }, vec![3]),
            (EvidenceFilter { model: text("claude"), ..all() }, vec![4]),
            (EvidenceFilter { invocation_type: text("budget"), ..all() }, vec![5]),
            (EvidenceFilter { session_id: text("s-1"), ..all() }, vec![6]),
            (EvidenceFilter { session_id: text("s-1"), oldest_first: true, ..all() }, vec![6]),
            (EvidenceFilter { from: Some(Timestamp(30)), to: Some(Timestamp(50)), ..all() }, vec![4, 3]),
            (EvidenceFilter { from: Some(Timestamp(50)), oldest_first: true, ..all() }, vec![5, 6]),
            (EvidenceFilter { session_id: text("s-2"), ..all() }, vec![]),
            (first(0), vec![]),
        ];
        for (filter, expected) in cases {
            let found = fixture.store.records(Scope::tenant(a), filter.clone()).await.unwrap();
            assert_eq!(found.iter().map(|r| r.seq).collect::<Vec<_>>(), expected, "{filter:?}");
        }
        let everywhere = EvidenceFilter { session_id: text("s-1"), ..all() };
        let found = fixture.store.records(system(), everywhere).await.unwrap();
        assert_eq!(places(&found), [(nid(2), 1), (a, 6)]);
        assert_eq!(fixture.store.counts_since(Scope::tenant(a), None, Timestamp(30)).await.unwrap(), (4, 1));
        assert_eq!(fixture.store.counts_since(system(), None, Timestamp(0)).await.unwrap(), (7, 1));
    }

    async fn retention_leaves_tombstones_and_never_walks_over_them_again(kind) {
        let fixture = Fixture::new(kind).await;
        let a = nid(1);
        let mut sealed = batch((1..=5).map(|seq| record(a, seq, 100 + i64::from(seq > 2))).collect());
        let ids: Vec<_> = sealed.records.iter().map(|r| r.id.clone()).collect();
        sealed.contents = [&ids[0], &ids[4]]
            .map(|id| ContentRow { nid: a, record_id: id.clone(), kind: "answer", sealed: vec![9], key: Some(KeyRef { nid: a, version: 3 }) })
            .to_vec();
        fixture.store.append(Arc::new(sealed)).await.unwrap();
        let purge = async |before| fixture.store.purge(system(), a, Timestamp(before), 3).await.unwrap();
        let removed = |removed, first_seq, last_seq| Some(Purge { nid: a, removed, first_seq, last_seq });
        assert_eq!(purge(100).await, None);
        assert_eq!(purge(102).await, removed(3, 1, 3));
        let chain = fixture.store.chain(system(), a, 1, 9, 9).await.unwrap();
        let kept: Vec<_> = chain.iter().map(|r| r.record.is_some()).collect();
        assert_eq!(kept, [false, false, false, true, true]);
        assert_eq!((chain[0].leaf_hash, chain[0].id.as_str()), (leaf(1), ids[0].as_str()));
        assert!(fixture.store.contents(system(), a, ids[0].clone()).await.unwrap().is_empty());
        assert_eq!(purge(102).await, removed(2, 4, 5));
        assert!(fixture.store.contents(system(), a, ids[4].clone()).await.unwrap().is_empty());
        assert_eq!(purge(102).await, None);
    }

    async fn a_checkpoint_of_one_size_is_kept_once_and_the_largest_is_the_newest(kind) {
        let fixture = Fixture::new(kind).await;
        let note = |size, note: &str| Checkpoint { nid: nid(1), size, note: note.to_owned(), at: Timestamp(1) };
        fixture.store.put_checkpoints(vec![note(3, "first"), note(2, "older")]).await.unwrap();
        fixture.store.put_checkpoints(vec![note(3, "second")]).await.unwrap();
        assert_eq!(fixture.store.checkpoint(system(), nid(1)).await.unwrap(), Some(note(3, "first")));
        assert_eq!(fixture.store.checkpoint(system(), nid(2)).await.unwrap(), None);
    }

    async fn nothing_else_is_written_gently_after_a_gentle_batch(kind) {
        let fixture = Fixture::new(kind).await;
        let (store, a) = (&fixture.store, nid(1));
        let append = async |batch: Batch| store.append(Arc::new(Batch { gentle: true, ..batch })).await;
        let small = batch(vec![record(a, 1, 10)]);
        // One that takes more than one trip, too.
        let large = batch((2..=400).map(|seq| record(a, seq, 10)).collect());
        for sealed in [small, large] {
            assert_eq!(append(sealed.clone()).await.unwrap(), Appended::Durable);
            assert!(!store.0.is_gentle(), "after a commit");
            assert_eq!(append(sealed).await.unwrap(), Appended::Stale(vec![a]));
            assert!(!store.0.is_gentle(), "after a refusal");
        }
        let mut twice = batch(vec![record(a, 401, 10)]);
        twice.records = vec![record(a, 400, 10)];
        assert!(append(twice).await.is_err(), "that record is there");
        assert!(!store.0.is_gentle(), "after a failure");
    }

    async fn an_empty_batch_is_durable(kind) {
        let fixture = Fixture::new(kind).await;
        assert_eq!(fixture.store.append(Arc::new(Batch::default())).await.unwrap(), Appended::Durable);
    }
}
