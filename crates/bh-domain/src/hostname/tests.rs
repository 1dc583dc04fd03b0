use proptest::prelude::*;

use super::*;

fn table(entries: &[(&str, &'static str)]) -> HostTable<&'static str> {
    let mut table = HostTable::default();
    for (pattern, tenant) in entries {
        assert_eq!(table.insert(HostPattern::parse(pattern).unwrap(), *tenant), None, "{pattern}");
    }
    table
}

/// A host name of so many characters.
fn long(length: usize) -> String {
    let mut name = "a".repeat(60) + ".";
    while name.len() < length {
        name.push_str(&"b".repeat(60.min(length - name.len())));
        if name.len() < length {
            name.push('.');
        }
    }
    name
}

/// Rows 1 to 27 and 34 to 38 of dossier §7.2; the others are about which header is read, and are tested at the door.
#[test]
fn the_rows_of_the_dossier_s_table_hold() {
    let l253 = long(253);
    let l254 = long(254);
    let mut hosts =
        table(&[("tenant1.example.com", "T1"), ("2001:db8::1", "T6"), ("xn--bcher-kva.example", "T7")]);
    hosts.insert(HostPattern::parse(&l253).unwrap(), "L253");
    let at_port = format!("{l253}:65535");
    let known = [
        ("tenant1.example.com", "T1"),
        ("Tenant1.Example.COM", "T1"),
        ("tenant1.example.com:8443", "T1"),
        ("TENANT1.EXAMPLE.COM:80", "T1"),
        ("tenant1.example.com:", "T1"),
        ("[2001:db8::1]:443", "T6"),
        ("[2001:db8::1]", "T6"),
        ("[2001:DB8::1]:443", "T6"),
        ("2001:db8::1", "T6"),
        (&l253, "L253"),
        (&at_port, "L253"),
        ("xn--bcher-kva.example", "T7"),
    ];
    for (host, tenant) in known {
        assert_eq!(hosts.find(host.as_bytes()), Some(&tenant), "{host}");
    }
    let unknown = [
        ":8443",
        "",
        "2001:db8::1:443",
        "[2001:0db8:0:0:0:0:0:1]:443",
        "[2001:db8::1",
        "2001:db8::1]",
        "[fe80::1%25eth0]",
        "tenant1.example.com.",
        &l254,
        "tenant1.example.com\0",
        "tenant1.example.com\u{200b}",
        "\u{202e}tenant1.example.com",
        "tenant1.example.com\t",
        "tenant1.example.com\u{7f}",
        "tenant1.example.com\u{85}",
        "tenant1.example.com\u{a0}",
        "tenant1 .example.com",
        "bücher.example",
        // The Kelvin sign, which Unicode folds to `k`.
        "\u{212a}.example.com",
        "tenant1.example.com, evil.com",
        "user@tenant1.example.com",
        "tenant1.example.com:abc",
        "[2001:db8::1]:abc",
        "10.0.0.5:4420",
        "localhost",
        "a';--",
    ];
    for host in unknown {
        assert_eq!(hosts.find(host.as_bytes()), None, "{host:?}");
    }
    assert_eq!(hosts.find(b"tenant1.example.com\xff"), None);
}

#[test]
fn a_name_is_normalised_and_what_is_none_is_rejected() {
    let cases = [
        ("Tenant1.Example.com:8443", Some("tenant1.example.com")),
        ("[2001:DB8::1]:443", Some("2001:db8::1")),
        ("2001:db8::1:443", Some("2001:db8::1:443")),
        ("[2001:db8::1", Some("[2001:db8::1")),
        ("2001:db8::1]", Some("2001:db8::1]")),
        ("[2001:db8::1]x:80", Some("[2001:db8::1]x:80")),
        ("[fe80::1%25eth0]", Some("fe80::1%25eth0")),
        ("a b", Some("a b")),
        ("a:b:80", Some("a:b:80")),
        ("[]", None),
        ("[]:80", None),
        (":", None),
        ("a:-1", None),
    ];
    for (raw, normal) in cases {
        assert_eq!(normalise(raw.as_bytes()).as_deref(), normal, "{raw}");
    }
    // The port goes before the length is measured.
    assert!(normalise(format!("{}:443", long(253)).as_bytes()).is_some());
    assert!(normalise(long(254).as_bytes()).is_none());
}

#[test]
fn the_narrowest_pattern_wins() {
    let hosts = table(&[
        ("*", "all"),
        ("*.example.com", "example"),
        ("*.W.example.com:443", "w"),
        ("a.w.example.com", "a"),
    ]);
    for (host, tenant) in [
        ("a.w.example.com", "a"),
        ("b.w.example.com", "w"),
        ("x.y.W.Example.com:8443", "w"),
        ("w.example.com", "example"),
        ("a.b.example.com", "example"),
        // A pattern for what is below a domain is not for the domain itself.
        ("example.com", "all"),
        (".example.com", "all"),
        ("notexample.com", "all"),
        ("localhost", "all"),
    ] {
        assert_eq!(hosts.find(host.as_bytes()), Some(&tenant), "{host}");
    }
    // What is no name at all is nobody's, even where there is a catch-all.
    for host in ["", ":80", "a\0b", "b\u{fc}cher.example", &long(254)] {
        assert_eq!(hosts.find(host.as_bytes()), None, "{host:?}");
    }
    assert_eq!(hosts.len(), 4);
}

#[test]
fn what_no_host_can_be_called_is_no_pattern() {
    for good in ["localhost", "10.0.0.5", "[::1]:80", "a_b.example", "*", "*.a", "*:443", "fe80::1%25eth0"] {
        assert!(HostPattern::parse(good).is_ok(), "{good}");
    }
    let l254 = long(254);
    for bad in [
        "",
        ":80",
        "a*.b",
        "*a.b",
        "a.*",
        "**",
        "*.",
        "*..a",
        "*.*.a",
        ".a",
        "a b",
        "a,b",
        "user@a",
        "a/b",
        "[::1",
        "::1]",
        "bücher.example",
        "a\0b",
        "a:x",
        &l254,
    ] {
        assert_eq!(HostPattern::parse(bad), Err(HostPatternError), "{bad}");
    }
}

#[test]
fn two_spellings_are_one_pattern() {
    let mut hosts = HostTable::default();
    for (first, second) in
        [("T1.example.com", "t1.EXAMPLE.com:99"), ("[::1]:80", "::1"), ("*.A.b", "*.a.B:1"), ("*", "*:80")]
    {
        assert_eq!(hosts.insert(HostPattern::parse(first).unwrap(), first), None);
        assert_eq!(hosts.insert(HostPattern::parse(second).unwrap(), second), Some(first));
    }
}

proptest! {
    #[test]
    fn normalising_never_panics_and_a_normal_name_of_a_host_stays_itself(raw in any::<Vec<u8>>()) {
        if let Some(name) = normalise(&raw) {
            prop_assert!(!name.is_empty() && name.len() <= HOSTNAME_BYTES_MAX);
            prop_assert!(!name.bytes().any(|b| b.is_ascii_uppercase() || !(b' '..=b'~').contains(&b)));
        }
    }

    #[test]
    fn a_pattern_reads_back_as_itself(text in "(\\*\\.)?[a-zA-Z0-9.:\\[\\]-]{1,40}") {
        if let Ok(pattern) = HostPattern::parse(&text) {
            prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }
}
