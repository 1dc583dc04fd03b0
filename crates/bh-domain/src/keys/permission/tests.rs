use proptest::prelude::*;

use super::*;

fn granted(texts: &[&str]) -> Vec<Permission> {
    texts.iter().map(|text| Permission::parse(text).unwrap()).collect()
}

fn met(query: &str, permissions: &[&str]) -> bool {
    PermissionQuery::parse(query).unwrap().is_met_by(&granted(permissions))
}

#[test]
fn a_wildcard_at_the_end_covers_what_is_below_and_elsewhere_one_segment() {
    let cases = [
        ("documents.read", "documents.read", true),
        ("documents.read", "documents.write", false),
        ("documents.read", "documents", false),
        ("documents.read", "documents.read.all", false),
        ("documents.read", "Documents.read", false),
        ("documents.*", "documents.read", true),
        ("documents.*", "documents.a.b", true),
        ("documents.*", "documents", false),
        ("documents.*", "documentsx.read", false),
        ("api.*.create", "api.a1.create", true),
        ("api.*.create", "api.create", false),
        ("api.*.create", "api.a1.b2.create", false),
        ("api.*.create", "api.a1.delete", false),
        ("*.read", "documents.read", true),
        ("*", "documents.read", true),
        ("*", "admin", true),
        ("*.*", "admin", false),
        ("tool:x-1_y", "tool:x-1_y", true),
    ];
    for (permission, name, covered) in cases {
        assert_eq!(Permission::parse(permission).unwrap().covers(name), covered, "{permission} {name}");
    }
}

#[test]
fn what_cannot_be_granted_is_refused() {
    let long = "a".repeat(PERMISSION_BYTES_MAX + 1);
    for bad in ["", ".", "a.", ".a", "a..b", "a b", "a.b*", "**", "a/b", "é", "a AND b", long.as_str()] {
        let shown = bad[..bad.len().min(PERMISSION_BYTES_MAX)].to_owned();
        assert_eq!(Permission::parse(bad), Err(PermissionError(shown)));
    }
    assert_eq!(Permission::parse(&long[1..]).unwrap().as_str(), &long[1..]);
}

#[test]
fn and_binds_tighter_than_or_and_parentheses_tighter_than_both() {
    let cases: [(&str, &[&str], bool); 16] = [
        ("a", &["a"], true),
        ("a", &[], false),
        ("a AND b", &["a"], false),
        ("a AND b", &["a", "b"], true),
        ("a OR b", &["b"], true),
        ("a OR b AND c", &["a"], true),
        ("a OR b AND c", &["b"], false),
        ("a AND b OR c", &["c"], true),
        ("a AND b OR c", &["a"], false),
        ("a AND (b OR c)", &["c"], false),
        ("a AND (b OR c)", &["a", "c"], true),
        ("((a))", &["a"], true),
        (" ( a OR b )AND(c OR d)\n", &["b", "d"], true),
        ("a and b or c", &["c"], true),
        ("documents.read AND documents.write", &["documents.*"], true),
        ("order AND android", &["order", "android"], true),
    ];
    for (query, permissions, expected) in cases {
        assert_eq!(met(query, permissions), expected, "{query} {permissions:?}");
    }
}

#[test]
fn a_wrong_query_is_refused_with_its_place() {
    let open = "expected a permission or `(`";
    let end = "expected AND, OR or the end";
    let cases = [
        ("", 1, open),
        ("  ", 3, open),
        ("AND", 1, open),
        ("a AND", 6, open),
        ("a AND OR b", 7, open),
        ("a OR )", 6, open),
        ("()", 2, open),
        ("a && b", 3, end),
        ("a b", 3, end),
        ("a)", 2, end),
        ("a NOT b", 3, end),
        ("(a", 3, "expected AND, OR or `)`"),
        ("(a b)", 4, "expected AND, OR or `)`"),
        ("a OR é", 6, open),
        ("a OR b.*", 6, "a query names permissions in full, without `*`; this one begins"),
        ("*", 1, "a query names permissions in full, without `*`; this one begins"),
        ("a..b", 1, "a permission has a name on either side of each dot; this one begins"),
        ("a OR b.", 6, "a permission has a name on either side of each dot; this one begins"),
    ];
    for (query, at, problem) in cases {
        let problem = problem.into();
        assert_eq!(PermissionQuery::parse(query), Err(SyntaxError { at, problem }), "{query}");
    }
}

#[test]
fn a_query_is_bounded_in_length_names_and_depth() {
    let refused = |query: &str| PermissionQuery::parse(query).unwrap_err().to_string();
    let names = |count| vec!["a"; count].join(" OR ");
    assert!(met(&names(QUERY_PERMISSIONS_MAX), &["a"]));
    assert_eq!(
        refused(&names(QUERY_PERMISSIONS_MAX + 1)),
        "a query names at most 100 permissions; one more begins at character 501"
    );
    let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(met(&nested(QUERY_DEPTH_MAX), &["a"]));
    assert_eq!(refused(&nested(QUERY_DEPTH_MAX + 1)), "parentheses stand more than 32 deep at character 34");
    let side_by_side = format!("({})", vec!["(a)"; 90].join("AND"));
    assert!(met(&side_by_side, &["a"]), "depth is not the number of parentheses");
    assert!(met(&format!("{}a", " ".repeat(QUERY_CHARS_MAX - 1)), &["a"]));
    assert_eq!(
        refused(&format!("{}a", " ".repeat(QUERY_CHARS_MAX))),
        "the query is longer than 1000 characters at character 1"
    );
    let long = "a".repeat(PERMISSION_BYTES_MAX + 1);
    assert_eq!(refused(&long), "a permission has at most 255 characters; this one begins at character 1");
}

/// A random query over five names, as text and as a function of what is granted.
fn query() -> impl Strategy<Value = (String, Node)> {
    let name = prop::sample::select(vec!["a", "b.c", "b.d", "e:1", "f-2.g_3"]);
    let leaf = name.prop_map(|name| (name.to_owned(), Node::Name(name.into())));
    leaf.prop_recursive(4, 24, 3, |inner| {
        (prop::collection::vec(inner, 2..4), any::<bool>()).prop_map(|(parts, all)| {
            let word = if all { " AND " } else { " OR " };
            let texts = parts.iter().map(|(text, _)| format!("({text})")).collect::<Vec<_>>();
            let nodes = parts.into_iter().map(|(_, node)| node).collect();
            (texts.join(word), if all { Node::All(nodes) } else { Node::Any(nodes) })
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read((text, node) in query()) {
        prop_assume!(text.len() <= QUERY_CHARS_MAX);
        prop_assert_eq!(PermissionQuery::parse(&text), Ok(PermissionQuery(node)));
    }

    #[test]
    fn more_permissions_never_take_anything_away(
        (text, node) in query(),
        some in prop::sample::subsequence(vec!["a", "b.c", "b.*", "e:1", "f-2.g_3", "*"], 0..4),
        more in prop::sample::select(vec!["a", "b.c", "b.*", "e:1", "f-2.g_3", "*"]),
    ) {
        let query = PermissionQuery(node);
        let fewer = query.is_met_by(&granted(&some));
        let all = query.is_met_by(&granted(&[some, vec![more]].concat()));
        prop_assert!(all || !fewer, "{}", text);
        prop_assert!(query.is_met_by(&granted(&["*"])));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "(.{0,60}|[a-c.*() ANDORé]{0,80})") {
        let _ = PermissionQuery::parse(&text);
        let _ = Permission::parse(&text);
    }
}
