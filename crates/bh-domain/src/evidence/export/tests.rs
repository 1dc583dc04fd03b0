//! Exports against everything that can be done to them.

mod chain;

use super::*;
use crate::evidence::checkpoint::SigningKey;
use crate::evidence::reading::Reading;
use crate::evidence::record::samples;
use crate::evidence::{HmacKey, Sealed, hex, seal};
use crate::hash::sha256;
use crate::tenant::Nid;
use crate::time::Timestamp;
use chain::{Chain, HMAC, export, signing_key};

fn verify(export: &str) -> Result<Report, String> {
    let key = signing_key().public_key();
    let whole = verify_export(export.as_bytes(), &key).map_err(|error| error.to_string());
    let streamed = verify_read(export.as_bytes(), &key, None).map_err(|error| error.to_string());
    assert_eq!(whole, streamed, "in memory and as a stream");
    whole
}

fn fault(export: &str) -> (u64, Option<u64>, Fault) {
    match verify_export(export.as_bytes(), &signing_key().public_key()) {
        Err(VerifyError::Record(bad)) => (bad.index, bad.seq, bad.fault),
        other => panic!("{other:?}"),
    }
}

fn missing(seq: u64) -> Fault {
    Fault::Missing { tenant_id: "acme".to_owned(), seq }
}

/// An NDJSON export of records 1 to 5 out of 7, as lines; line 0 is the metadata.
fn five_lines() -> Vec<String> {
    let text = export(&[(&Chain::of("acme", 7), &[1, 2, 3, 4, 5])], Format::Ndjson);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn both_formats_verify_with_the_public_key_in_every_form() {
    let chain = Chain::of("acme", 300);
    let seqs: Vec<u64> = (1..=300).collect();
    for format in [Format::Json, Format::Ndjson] {
        let text = export(&[(&chain, &seqs)], format);
        let report = verify(&text).unwrap();
        assert_eq!((report.records, report.groups.len(), report.hmac_checked), (300, 1, false));
        assert_eq!(report.groups[0].seqs, [[1, 300]]);
        assert_eq!(report.groups[0].checkpoint.size, 300);
        let key = signing_key().public_key();
        let report = verify_export_with_hmac(text.as_bytes(), &key, &HMAC).unwrap();
        assert!(report.hmac_checked);
        let other = HmacKey::parse(&"z".repeat(32)).unwrap();
        let Err(VerifyError::Record(bad)) = verify_export_with_hmac(text.as_bytes(), &key, &other) else {
            panic!()
        };
        assert_eq!((bad.index, bad.fault), (0, Fault::Signature));
    }
}

#[test]
fn a_filtered_export_of_several_tenants_verifies_and_lists_what_it_holds() {
    let (acme, globex, idle) = (Chain::of("acme", 600), Chain::of("globex", 3), Chain::of("idle", 0));
    let text = export(&[(&acme, &[2, 3, 4, 9, 257, 600]), (&idle, &[]), (&globex, &[3])], Format::Json);
    let report = verify(&text).unwrap();
    let seqs: Vec<_> =
        report.groups.iter().map(|group| (group.tenant_id.as_str(), group.seqs.as_slice())).collect();
    assert_eq!(
        seqs,
        [("acme", &[[2, 4], [9, 9], [257, 257], [600, 600]][..]), ("idle", &[]), ("globex", &[[3, 3]])]
    );
}

#[test]
fn the_metadata_carries_the_members_that_are_promised() {
    let lines = five_lines();
    let metadata: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let metadata = &metadata["export_metadata"];
    let names: Vec<_> = metadata.as_object().unwrap().keys().map(String::as_str).collect();
    #[rustfmt::skip]
    assert_eq!(names, [
        "algorithm", "bulkhead_version", "checkpoint", "filter", "fingerprints", "first_seq", "generated_at",
        "last_seq", "nid", "proof", "public_key", "records_digest", "seqs", "signature", "signatures_digest", "signed",
        "tenant_id", "total_records",
    ]);
    assert_eq!(metadata["public_key"], signing_key().public_key().to_string());
    assert_eq!((&metadata["total_records"], &metadata["signed"]), (&5.into(), &true.into()));
}

#[test]
fn an_export_laid_out_anew_still_verifies() {
    let text = export(&[(&Chain::of("acme", 4), &[1, 2, 4])], Format::Json);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    verify(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
    verify(&serde_json::to_string(&value).unwrap()).unwrap();
    let lines: Vec<_> = five_lines().iter().map(|line| line.replace("\":", "\" : ")).collect();
    verify(&lines.join("\r\n\n")).unwrap();
}

#[test]
fn every_flipped_byte_of_a_small_export_is_found() {
    for format in [Format::Json, Format::Ndjson] {
        let text = export(&[(&Chain::of("acme", 4), &[1, 3])], format);
        verify(&text).unwrap();
        for position in 0..text.len() {
            for bit in [1, 4, 0x20] {
                let mut bytes = text.clone().into_bytes();
                bytes[position] ^= bit;
                // White space for white space between the parts is no change of content.
                if text.as_bytes()[position] == b'\n' && bytes[position].is_ascii_whitespace() {
                    continue;
                }
                let verdict = verify_export(&bytes, &signing_key().public_key());
                assert!(verdict.is_err(), "bit {bit} of byte {position} in {format:?}");
            }
        }
    }
}

#[test]
fn an_edited_record_is_named_by_position_id_and_sequence_number() {
    let mut lines = five_lines();
    lines[3] = lines[3].replace("\"helpdesk\"", "\"intruder\"");
    assert_eq!(fault(&lines.join("\n")), (2, Some(3), Fault::Edited));
    assert_eq!(
        verify(&lines.join("\n")).unwrap_err(),
        "record at index 2, id gw_000000000002, seq 3: its content or signature was changed"
    );
    let mut lines = five_lines();
    let at = lines[4].find("hmac-sha256:").unwrap() + 20;
    let digit = if &lines[4][at..=at] == "0" { "1" } else { "0" };
    lines[4].replace_range(at..=at, digit);
    assert_eq!(fault(&lines.join("\n")), (3, Some(4), Fault::Edited), "a changed signature");
    let mut lines = five_lines();
    lines[2] = lines[2].replace("\"seq\":2", "\"seq\":5");
    assert_eq!(fault(&lines.join("\n")), (1, Some(5), Fault::Edited), "a changed sequence number");
}

#[test]
fn a_forger_who_relinks_the_chain_is_still_found_at_the_first_record() {
    let honest = Chain::of("acme", 5);
    let mut forged = Chain::of("acme", 1);
    let mut draft = samples::full();
    (draft.id, draft.nid, draft.agent_id) = ("gw_000000000001".into(), honest.nid, "intruder".into());
    let sealed = seal(&draft, &forged.head, &HMAC).unwrap();
    forged.head.advance(&sealed);
    forged.records.push(sealed);
    (2..5).for_each(|number| forged.append(number));
    let mut lines: Vec<String> =
        export(&[(&honest, &[1, 2, 3, 4, 5])], Format::Ndjson).lines().map(str::to_owned).collect();
    for (line, record) in lines[1..].iter_mut().zip(&forged.records) {
        line.clone_from(&record.canonical);
    }
    assert_eq!(fault(&lines.join("\n")), (1, Some(2), Fault::Edited));
}

#[test]
fn removed_records_are_named_wherever_they_were() {
    for (removed, index, found) in [(1, 0, Some(2)), (3, 2, Some(4)), (5, 4, None)] {
        let mut lines = five_lines();
        lines.remove(removed);
        assert_eq!(fault(&lines.join("\n")), (index, found, missing(removed as u64)), "record {removed}");
    }
    assert_eq!(fault(&five_lines()[0]), (0, None, missing(1)), "all of them");
}

#[test]
fn reordered_repeated_and_added_records_are_told_apart() {
    let mut swapped = five_lines();
    swapped.swap(2, 4);
    assert_eq!(fault(&swapped.join("\n")), (1, Some(4), Fault::Reordered { expected_seq: 2 }));
    let mut repeated = five_lines();
    repeated.insert(4, repeated[2].clone());
    assert_eq!(fault(&repeated.join("\n")), (3, Some(2), Fault::Repeated));
    let mut added = five_lines();
    added.push(Chain::of("acme", 7).records[5].canonical.clone());
    assert_eq!(fault(&added.join("\n")), (5, Some(6), Fault::Unlisted));
    let mut longer = five_lines();
    longer.push(longer[1].clone());
    assert_eq!(fault(&longer.join("\n")), (5, Some(1), Fault::Repeated));
}

#[test]
fn a_record_of_another_tenant_is_foreign() {
    let mut lines = five_lines();
    lines.insert(3, Chain::of("globex", 3).records[2].canonical.clone());
    assert_eq!(fault(&lines.join("\n")), (2, Some(3), Fault::Foreign { tenant_id: "globex".to_owned() }));
    let (acme, globex) = (Chain::of("acme", 2), Chain::of("globex", 2));
    let text = export(&[(&acme, &[1, 2]), (&globex, &[1, 2])], Format::Ndjson);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.swap(2, 3);
    assert_eq!(fault(&lines.join("\n")), (1, Some(1), Fault::Reordered { expected_seq: 2 }));
}

#[test]
fn a_truncated_export_never_verifies() {
    for format in [Format::Json, Format::Ndjson] {
        let text = export(&[(&Chain::of("acme", 3), &[1, 2, 3])], format);
        for length in 0..text.len() - 1 {
            assert!(
                verify_export(&text.as_bytes()[..length], &signing_key().public_key()).is_err(),
                "{length}"
            );
        }
    }
}

#[test]
fn damaged_json_names_the_record_in_every_layout() {
    let rows = export(&[(&Chain::of("acme", 3), &[1, 2, 3])], Format::Json);
    let value: serde_json::Value = serde_json::from_str(&rows).unwrap();
    for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap(), rows]
    {
        let (index, _, fault) = fault(&text.replacen("gw_000000000002\",", "gw_000000000002,", 1));
        assert!(matches!((index, &fault), (2, Fault::Malformed(_))), "{index} {fault:?}");
    }
}

#[test]
fn a_document_ends_where_its_brackets_close() {
    let text = export(&[(&Chain::of("acme", 2), &[1, 2])], Format::Json);
    let damaged = [
        text.replace("},\n{", "}\n{"),
        text.replace("}\n]}\n", "},\n]}\n"),
        text.replace("]}\n", "]]\n"),
        text.replace("]}\n", "]}\n]}\n"),
        text.replace("\n]}\n", "]}\nx"),
    ];
    for text in damaged {
        assert!(verify(&text).unwrap_err().starts_with("record at index "), "{text}");
    }
    verify(&export(&[(&Chain::of("acme", 2), &[])], Format::Json)).unwrap();
}

#[test]
fn another_key_and_damaged_heads_are_refused_by_reason() {
    let lines = five_lines();
    let text = lines.join("\n");
    let other = SigningKey::from_seed("bulkhead.example", &[8; 32]).unwrap().public_key();
    assert!(matches!(verify_export(text.as_bytes(), &other), Err(VerifyError::WrongKey)));
    let renamed = text.replacen(&signing_key().public_key().to_string(), &other.to_string(), 1);
    assert!(matches!(verify_export(renamed.as_bytes(), &other), Err(VerifyError::MetadataSignature)));
    let recounted = text.replacen("\"total_records\":5", "\"total_records\":4", 1);
    assert_eq!(verify(&recounted).unwrap_err(), "the signature of the export's metadata is wrong");
    assert!(matches!(verify_export(b"id,timestamp\n", &other), Err(VerifyError::NotAnExport(_))));
    assert!(matches!(verify_export(b"{\"records\":[]}", &other), Err(VerifyError::NotAnExport(_))));
    let unsigned = verify_export(b"{\"export_metadata\":{\"total_records\":0}}\n", &other);
    assert!(matches!(unsigned, Err(VerifyError::Unsigned)));
}

/// A dishonest server can sign any metadata, but not with a checkpoint of a tree that lacks the records.
#[test]
fn records_outside_the_checkpoints_tree_are_found() {
    let (honest, mut other) = (Chain::of("acme", 5), Chain::of("acme", 4));
    other.append(40);
    let mut group = other.group(&[4, 5]);
    group.checkpoint = honest.group(&[4, 5]).checkpoint;
    let heading = Heading {
        generated_at: Timestamp(0),
        bulkhead_version: String::new(),
        filter: serde_json::Value::Null,
    };
    let mut writer =
        ExportWriter::new(heading.clone(), vec![group.clone()], &signing_key(), Format::Ndjson).unwrap();
    let mut text = writer.header();
    other.records[3..].iter().for_each(|sealed| writer.record(&sealed.canonical, &mut text));
    writer.finish(&mut text).unwrap();
    assert!(verify(&text).unwrap_err().contains("the proof leads to another root"));

    group.checkpoint = Chain::of("globex", 5).group(&[]).checkpoint;
    let writer = ExportWriter::new(heading, vec![group], &signing_key(), Format::Ndjson).unwrap();
    assert_eq!(verify(&writer.header()).unwrap_err(), "the checkpoint of tenant acme is of another tree");
    assert!(matches!(writer.finish(&mut text), Err(BuildError::Count { listed: 2, written: 0 })));
}

#[test]
fn records_come_in_order_and_from_one() {
    let mut builder = GroupBuilder::new("acme", Nid::SYSTEM);
    assert!(matches!(builder.push(0, &[0; 32], ""), Err(BuildError::OutOfOrder(0))));
    builder.push(3, &[0; 32], "").unwrap();
    assert!(matches!(builder.push(3, &[0; 32], ""), Err(BuildError::OutOfOrder(3))));
}

#[test]
fn a_displaced_record_is_named_before_damage_further_on() {
    let text = export(&[(&Chain::of("acme", 4), &[1, 2, 3, 4])], Format::Json);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(2);
    let damaged = lines.join("\n").replace("\n]}", "\n]");
    assert_eq!(fault(&damaged), (1, Some(3), missing(2)));
}

/// What a dishonest server could sign: records whose chain was cut and put together anew.
#[test]
fn a_link_to_another_record_is_found_though_everything_is_signed() {
    for (before, index) in [(0, 0), (1, 1), (2, 2)] {
        let mut chain = Chain::of("acme", before);
        chain.head.leaf_hash = [9; 32];
        (before..3).for_each(|number| chain.append(number));
        let text = export(&[(&chain, &[1, 2, 3])], Format::Ndjson);
        assert_eq!(fault(&text), (index, Some(index + 1), Fault::BrokenLink));
    }
}

#[test]
fn the_digests_are_over_all_leaf_hashes_and_all_signatures_and_are_checked() {
    let chain = Chain::of("acme", 2);
    let group = chain.group(&[1, 2]);
    let digest = |parts: [Vec<u8>; 2]| format!("sha256:{}", hex::encode(&sha256(&parts.concat())));
    let signature =
        |sealed: &Sealed| Reading::of(sealed.canonical.as_bytes()).unwrap().signature.into_owned();
    let [one, two] = &chain.records[..] else { panic!() };
    assert_eq!(group.records_digest, digest([one.leaf_hash.to_vec(), two.leaf_hash.to_vec()]));
    assert_eq!(group.signatures_digest, digest([signature(one).into_bytes(), signature(two).into_bytes()]));

    let (mut other_records, mut other_signatures) = (group.clone(), group.clone());
    other_records.records_digest.clone_from(&group.signatures_digest);
    other_signatures.signatures_digest.clone_from(&group.records_digest);
    for (group, verifies) in [(group, true), (other_records, false), (other_signatures, false)] {
        let heading = Heading {
            generated_at: Timestamp(0),
            bulkhead_version: String::new(),
            filter: serde_json::Value::Null,
        };
        let mut writer = ExportWriter::new(heading, vec![group], &signing_key(), Format::Ndjson).unwrap();
        let mut text = writer.header();
        chain.records.iter().for_each(|sealed| writer.record(&sealed.canonical, &mut text));
        let expected = "the digest over the records of tenant acme differs";
        assert_eq!(
            verify(&text).map(|_| ()).map_err(|error| error == expected),
            if verifies { Ok(()) } else { Err(true) }
        );
    }
}
