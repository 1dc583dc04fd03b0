//! The tree against the definitions of RFC 6962 §2.1, written out naively.

use proptest::prelude::*;

use super::plan::{consistency_ranges, decompose, inclusion_ranges, multiproof_ranges};
use super::*;
use crate::evidence::hex;

/// MTH of RFC 6962 §2.1, over leaf hashes.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves.len() {
        0 => empty_root(),
        1 => leaves[0],
        n => {
            let k = (1..n).rev().find(|k| k.is_power_of_two()).unwrap();
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

/// PATH of RFC 6962 §2.1.1.
fn naive_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = (1..leaves.len()).rev().find(|k| k.is_power_of_two()).unwrap();
    let (mut path, sibling) = if m < k {
        (naive_path(m, &leaves[..k]), naive_root(&leaves[k..]))
    } else {
        (naive_path(m - k, &leaves[k..]), naive_root(&leaves[..k]))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 6962 §2.1.2.
fn naive_subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let k = (1..leaves.len()).rev().find(|k| k.is_power_of_two()).unwrap();
    let (mut path, sibling) = if m <= k {
        (naive_subproof(m, &leaves[..k], whole), naive_root(&leaves[k..]))
    } else {
        (naive_subproof(m - k, &leaves[k..], false), naive_root(&leaves[..k]))
    };
    path.push(sibling);
    path
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&[&i.to_be_bytes()])).collect()
}

/// A tree as the store keeps it: leaf hashes and the nodes that appending handed out.
fn stored(leaves: &[Hash]) -> (Frontier, NodeMap) {
    let (mut frontier, mut rows) = (Frontier::default(), NodeMap::default());
    for (index, leaf) in leaves.iter().enumerate() {
        rows.insert_leaf(index as u64, *leaf);
        for node in frontier.append(*leaf) {
            rows.insert_node(node.level, node.index, node.hash);
        }
    }
    (frontier, rows)
}

/// Only the rows that a plan asks for.
fn fetched(rows: &NodeMap, plan: &FetchPlan) -> NodeMap {
    let mut read = NodeMap::default();
    for index in plan.leaf_ranges.iter().cloned().flatten() {
        read.insert_leaf(index, rows.node(0, index).unwrap());
    }
    for (level, positions) in &plan.node_ranges {
        for index in positions.clone() {
            read.insert_node(*level, index, rows.node(*level, index).unwrap());
        }
    }
    read
}

#[test]
fn roots_match_the_published_test_tree_of_certificate_transparency() {
    let data: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let expected = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::default();
    assert_eq!(
        hex::encode(&frontier.root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (leaf, root) in data.into_iter().zip(expected) {
        frontier.append(leaf_hash(&[leaf]));
        assert_eq!(hex::encode(&frontier.root()), root);
    }
}

#[test]
fn a_frontier_survives_storage_and_damage_is_refused() {
    let (frontier, _) = stored(&leaves(1_234));
    let bytes = frontier.to_bytes();
    assert_eq!(bytes.len(), 8 + 32 * 1_234_u64.count_ones() as usize);
    assert_eq!(Frontier::from_bytes(&bytes), Ok(frontier));
    assert_eq!(
        Frontier::from_bytes(&bytes[..bytes.len() - 1]),
        Err(FrontierError { bytes: bytes.len() - 1 })
    );
    assert_eq!(Frontier::from_bytes(&bytes[..7]), Err(FrontierError { bytes: 7 }));
    assert_eq!(Frontier::from_bytes(&[255; 8 + 32 * 64]), Err(FrontierError { bytes: 8 + 32 * 64 }));
}

#[test]
fn closing_65536_leaves_hands_out_both_levels_and_a_proof_needs_few_rows() {
    let leaves = leaves(70_000);
    let mut frontier = Frontier::default();
    let mut handed_out = Vec::new();
    for leaf in &leaves[..65_536] {
        handed_out = frontier.append(*leaf);
    }
    let positions: Vec<_> = handed_out.iter().map(|node| (node.level, node.index)).collect();
    assert_eq!(positions, [(8, 255), (16, 0)]);
    assert_eq!(handed_out[1].hash, naive_root(&leaves[..65_536]));

    let (frontier, rows) = stored(&leaves);
    let ranges = inclusion_ranges(12_345, 70_000);
    let plan = fetch_plan(&ranges);
    let count: u64 =
        plan.leaf_ranges.iter().chain(plan.node_ranges.iter().map(|(_, r)| r)).map(|r| r.end - r.start).sum();
    assert!(count <= 255 * 3, "{count} rows");
    let path = range_hashes(&ranges, &fetched(&rows, &plan)).unwrap();
    assert_eq!(verify_inclusion(&leaves[12_345], 12_345, 70_000, &path, &frontier.root()), Ok(()));
}

#[test]
fn a_missing_row_is_named() {
    let (_, mut rows) = stored(&leaves(300));
    rows.0.remove(&(0, 280));
    let ranges = inclusion_ranges(3, 300);
    assert_eq!(range_hashes(&ranges, &rows), Err(MissingNode { level: 0, index: 280 }));
}

#[test]
fn positions_outside_the_tree_prove_nothing() {
    let leaf = leaf_hash(&[b"x"]);
    assert_eq!(verify_inclusion(&leaf, 1, 1, &[], &leaf), Err(ProofError::OutOfRange));
    assert_eq!(verify_inclusion(&leaf, 0, u64::MAX, &[], &leaf), Err(ProofError::OutOfRange));
    assert_eq!(verify_inclusion(&leaf, 0, 1, &[leaf], &leaf), Err(ProofError::WrongLength));
    assert_eq!(verify_consistency((2, &leaf), (1, &leaf), &[]), Err(ProofError::OutOfRange));
    let set = LeafSet::from_iter([5]);
    assert_eq!(multiproof_root(5, &set, &[leaf], &[]), Err(ProofError::OutOfRange));
    assert_eq!(inclusion_ranges(3, 3), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn roots_and_stored_nodes_agree_with_the_definition(size in 0_u64..1_200) {
        let leaves = leaves(size);
        let (frontier, _) = stored(&leaves);
        prop_assert_eq!((frontier.size(), frontier.root()), (size, naive_root(&leaves)));
    }

    #[test]
    fn an_audit_path_is_the_one_of_the_definition_and_verifies(
        (size, index) in (1_u64..1_200).prop_flat_map(|size| (Just(size), 0..size)),
    ) {
        let leaves = leaves(size);
        let (frontier, rows) = stored(&leaves);
        let ranges = inclusion_ranges(index, size);
        let path = range_hashes(&ranges, &fetched(&rows, &fetch_plan(&ranges))).unwrap();
        prop_assert_eq!(&path, &naive_path(index as usize, &leaves));
        let (leaf, root) = (leaves[index as usize], frontier.root());
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &path, &root), Ok(()));
        prop_assert!(verify_inclusion(&root, index, size, &path, &root).is_err() || size == 1);
        if let Some(other) = index.checked_sub(1) {
            prop_assert!(verify_inclusion(&leaf, other, size, &path, &root).is_err());
        }
        if !path.is_empty() {
            prop_assert!(verify_inclusion(&leaf, index, size, &path[1..], &root).is_err());
        }
    }

    #[test]
    fn a_consistency_proof_is_the_one_of_the_definition_and_verifies(
        (new, old) in (1_u64..1_200).prop_flat_map(|new| (Just(new), 1..=new)),
    ) {
        let leaves = leaves(new);
        let (_, rows) = stored(&leaves);
        let ranges = consistency_ranges(old, new);
        let path = range_hashes(&ranges, &fetched(&rows, &fetch_plan(&ranges))).unwrap();
        prop_assert_eq!(&path, &naive_subproof(old as usize, &leaves, true));
        let (old_root, new_root) = (naive_root(&leaves[..old as usize]), naive_root(&leaves));
        prop_assert_eq!(verify_consistency((old, &old_root), (new, &new_root), &path), Ok(()));
        prop_assert!(verify_consistency((old, &leaves[0]), (new, &new_root), &path).is_err() || old == 1);
        prop_assert!(verify_consistency((old, &old_root), (new, &[7; 32]), &path).is_err());
    }

    #[test]
    fn a_multiproof_leads_to_the_root_and_one_changed_hash_does_not(
        (size, members) in (1_u64..900).prop_flat_map(|n| (Just(n), proptest::collection::btree_set(0..n, 0..40))),
        pick in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(size);
        let (frontier, rows) = stored(&leaves);
        let set: LeafSet = members.iter().copied().collect();
        prop_assert_eq!(set.count(), members.len() as u64);
        let ranges = multiproof_ranges(size, &set);
        let mut proof = range_hashes(&ranges, &fetched(&rows, &fetch_plan(&ranges))).unwrap();
        let mut held: Vec<Hash> = members.iter().map(|i| leaves[*i as usize]).collect();
        let tree = (size, &frontier.root());
        prop_assert_eq!(verify_multiproof(tree, &set, &held, &proof), Ok(()));
        let changed = pick.index(held.len() + proof.len());
        match changed.checked_sub(held.len()) {
            None => held[changed][0] ^= 1,
            Some(at) => proof[at][31] ^= 1,
        }
        prop_assert_eq!(verify_multiproof(tree, &set, &held, &proof), Err(ProofError::WrongRoot));
        proof.push([0; 32]);
        prop_assert_eq!(verify_multiproof(tree, &set, &held, &proof), Err(ProofError::WrongLength));
    }

    #[test]
    fn a_range_divides_into_neighbouring_aligned_subtrees(start in 0_u64..5_000, length in 0_u64..5_000) {
        let parts = decompose(&(start..start + length));
        let mut next = start;
        for part in &parts {
            prop_assert_eq!(part.index << part.level, next);
            next += 1 << part.level;
        }
        prop_assert_eq!(next, start + length);
        prop_assert!(parts.len() <= 26);
    }
}
