use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::samples::{ISSUER, NOW, NOW_S, claims, nid};
use super::*;

fn narrowed(caveats: &[Caveat]) -> Result<Narrowed, CaveatError> {
    narrowed_from(claims(), caveats)
}

fn narrowed_from(claims: Claims, caveats: &[Caveat]) -> Result<Narrowed, CaveatError> {
    let mut narrowed = Narrowed::from(claims);
    for caveat in caveats {
        narrowed.apply(caveat.clone())?;
    }
    Ok(narrowed)
}

fn some(entries: &[&str]) -> Option<Vec<String>> {
    Some(entries.iter().map(|entry| (*entry).to_owned()).collect())
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

#[test]
fn a_question_has_to_pass_every_list() {
    let first = Caveat { models: some(&["gpt-4*", "claude-*"]), ..Caveat::default() };
    let second = Caveat { models: some(&["gpt-4o", "gpt-5"]), ..Caveat::default() };
    let token = narrowed(&[first, second]).unwrap();
    let admitted = ["gpt-4o", "gpt-4", "gpt-5", "claude-4"].map(|model| token.admits_model(model));
    assert_eq!(admitted, [true, false, false, false]);
    assert!(token.limits_calls() && !narrowed(&[]).unwrap().limits_calls());
}

#[test]
fn a_permission_has_to_be_the_keys_and_every_caveats() {
    let granted =
        |texts: &[&str]| texts.iter().map(|text| Permission::parse(text).unwrap()).collect::<Vec<_>>();
    let caveat = Caveat { permissions: some(&["documents.*", "users.read"]), ..Caveat::default() };
    let token = narrowed(&[caveat]).unwrap();
    let admits = |query: &str, of_key: &[&str]| {
        token.admits_permissions(&PermissionQuery::parse(query).unwrap(), &granted(of_key))
    };
    assert!(admits("documents.read AND users.read", &["*"]));
    assert!(!admits("users.write", &["*"]) && !admits("documents.read", &["users.*"]));
    assert!(!admits("users.write OR documents.read", &["users.*"]), "no one permission has both");
    assert!(token.limits_permissions() && token.limits_calls());
}

#[test]
fn addresses_have_to_be_in_the_claims_and_in_every_caveat() {
    let caveat = Caveat { acl: some(&["10.1.0.0/16", "192.0.2.0/24"]), ..Caveat::default() };
    let token = narrowed(&[caveat]).unwrap();
    let admitted = ["10.1.2.3", "::ffff:10.1.2.3", "10.2.0.1", "192.0.2.1", "::1"]
        .map(|address| token.admits_address(ip(address)));
    assert_eq!(admitted, [true, true, false, false, false]);
    assert!(!token.admits_address(None));

    let open = Claims { allowed_cidrs: Vec::new(), ..claims() };
    assert!(Narrowed::from(open).admits_address(None));
    let unreadable = Claims { allowed_cidrs: vec!["anywhere".to_owned()], ..claims() };
    assert!(!Narrowed::from(unreadable).admits_address(ip("10.0.0.1")));
}

#[test]
fn the_audience_rule_holds_for_tokens_with_and_without_audiences() {
    let none = Claims { audiences: Vec::new(), ..claims() };
    let billing = Caveat { aud: some(&["billing", "other"]), ..Caveat::default() };
    let nobody = Caveat { aud: some(&["other"]), ..Caveat::default() };
    let cases = [
        (narrowed(&[]), [false, true, true, false]),
        (narrowed(std::slice::from_ref(&billing)), [false, true, false, false]),
        (narrowed(&[nobody]), [false, false, false, false]),
        (narrowed_from(none.clone(), &[]), [true, false, false, false]),
        (narrowed_from(none, &[billing]), [false, false, false, false]),
    ];
    for (token, wanted) in cases {
        let token = token.unwrap();
        let asked: [&[&str]; 4] = [&[], &["billing"], &["search"], &["other"]];
        assert_eq!(asked.map(|expected| token.admits_audience(expected)), wanted, "{:?}", token.audiences());
    }
}

#[test]
fn a_path_that_can_be_read_as_another_does_not_pass_a_list_of_paths() {
    let token = narrowed(&[Caveat { paths: some(&["/v1/chat/*"]), ..Caveat::default() }]).unwrap();
    assert!(token.admits_path("/v1/chat/completions"));
    for path in [
        "/v1/chat",
        "/v1/chat/../admin",
        "/v1/chat/..",
        "/v1/chat/./x",
        "/v1/chat/%2E%2e/admin",
        "/v1/chat/..%2fadmin",
        "/v1/chat/..\\admin",
        "/v1/chat//x",
        "",
    ] {
        assert!(!token.admits_path(path), "{path}");
    }
    assert!(narrowed(&[]).unwrap().admits_path("/v1/../x"));
}

#[test]
fn the_smallest_budget_and_the_shortest_life_hold() {
    let caveat =
        |budget: &str, exp| Caveat { budget: Some(budget.to_owned()), exp: Some(exp), ..Caveat::default() };
    let token =
        narrowed(&[caveat("2", NOW_S + 5), caveat("0.5", NOW_S + 9), caveat("1", NOW_S + 7)]).unwrap();
    assert_eq!(token.budget(), Some(NanoUsd(500_000_000)));
    let check = |ms| token.check(NOW.plus_ms(ms), Leeway::of_macaroon(0), &[ISSUER], nid());
    assert_eq!((check(4_999), check(5_000)), (Ok(()), Err(TokenFault::Expired)));
    let later = narrowed(&[Caveat { nbf: Some(NOW_S + 2), ..Caveat::default() }]).unwrap();
    assert_eq!(later.check(NOW, Leeway::of_macaroon(0), &[ISSUER], nid()), Err(TokenFault::NotYetValid));
}

const WORDS: [&str; 6] = ["a", "ab", "abc", "b", "bc", "c"];
const PATTERNS: [&str; 7] = ["a", "a*", "ab*", "abc", "b*", "*", "c"];
const GRANTED: [&str; 6] = ["a", "a.*", "a.b", "*.b", "b.*", "*"];
const QUERIES: [&str; 6] =
    ["a", "a.b", "a.b AND b.c", "a.b OR b.c", "(a OR a.b) AND (b.b OR b.c)", "a.b.c OR b.b AND a.c"];
const NETWORKS: [&str; 5] = ["10.0.0.0/8", "10.1.0.0/16", "::/0", "192.0.2.1", "0.0.0.0/0"];
const ADDRESSES: [&str; 4] = ["10.1.0.1", "10.2.0.1", "192.0.2.1", "2001:db8::1"];

/// Everything that can be asked of a token.
#[derive(Debug)]
struct Question {
    now_s: i64,
    address: Option<IpAddr>,
    expected: Vec<&'static str>,
    word: &'static str,
    spent: i64,
    query: PermissionQuery,
    of_key: Vec<Permission>,
}

/// Every check that a door can make, by name.
fn answers(token: &Narrowed, question: &Question) -> [(&'static str, bool); 10] {
    let Question { now_s, address, expected, word, spent, query, of_key } = question;
    let checked = token.check(Timestamp(now_s * 1_000), Leeway::of_macaroon(1), &[ISSUER], nid());
    [
        ("check", checked.is_ok()),
        ("address", token.admits_address(*address)),
        ("audience", token.admits_audience(expected)),
        ("scope", token.claims().scopes.iter().any(|scope| scope == word)),
        ("model", token.admits_model(word)),
        ("tool", token.admits_tool(word)),
        ("method", token.admits_method(word)),
        ("path", token.admits_path(&format!("/{word}"))),
        ("budget", token.budget().is_none_or(|budget| NanoUsd(*spent) <= budget)),
        ("permissions", token.admits_permissions(query, of_key)),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let address = prop::option::of(select(ADDRESSES.to_vec()).prop_map(|text| text.parse().unwrap()));
    let expected = subsequence(WORDS.to_vec(), 0..3);
    let permissions = (select(QUERIES.to_vec()), subsequence(GRANTED.to_vec(), 0..4));
    (NOW_S - 4..NOW_S + 8, address, expected, select(WORDS.to_vec()), 0_i64..4, permissions).prop_map(
        |(now_s, address, expected, word, units, (query, of_key))| Question {
            now_s,
            address,
            expected,
            word,
            spent: units * 1_000_000_000,
            query: PermissionQuery::parse(query).unwrap(),
            of_key: of_key.into_iter().map(|text| Permission::parse(text).unwrap()).collect(),
        },
    )
}

/// A list of some entries, or none.
fn list(of: &'static [&'static str], mark: &'static str) -> impl Strategy<Value = Option<Vec<String>>> {
    let entries = subsequence(of.to_vec(), 1..of.len());
    let entries = entries.prop_map(move |list| list.iter().map(|entry| [mark, entry].concat()).collect());
    prop::option::weighted(0.3, entries)
}

fn caveat() -> impl Strategy<Value = Caveat> {
    let times = (prop::option::of(NOW_S..NOW_S + 6), prop::option::of(NOW_S - 3..NOW_S + 3));
    let names = (list(&WORDS, ""), list(&WORDS, ""), list(&WORDS, ""), list(&NETWORKS, ""));
    let patterns = (list(&PATTERNS, ""), list(&PATTERNS, ""), list(&PATTERNS, "/"), list(&GRANTED, ""));
    let budget = prop::option::weighted(0.3, (0_u8..4).prop_map(|units| units.to_string()));
    (times, names, patterns, budget, any::<bool>()).prop_map(
        |(
            (exp, nbf),
            (scp, aud, methods, acl),
            (models, tools, paths, permissions),
            budget,
            names_tenant,
        )| Caveat {
            exp,
            nbf,
            scope: scp.as_ref().map(|scopes| scopes.join(" ")),
            scp,
            aud,
            acl,
            models,
            tools,
            methods,
            paths,
            permissions,
            budget,
            iss: names_tenant.then(|| ISSUER.to_owned()),
            nid: names_tenant.then(|| nid().to_string()),
        },
    )
}

fn parent() -> impl Strategy<Value = Claims> {
    let audiences = list(&WORDS, "").prop_map(Option::unwrap_or_default);
    let cidrs = list(&NETWORKS, "").prop_map(Option::unwrap_or_default);
    (audiences, cidrs).prop_map(|(audiences, allowed_cidrs)| Claims {
        scopes: WORDS.map(str::to_owned).to_vec(),
        expires_at_s: NOW_S + 5,
        audiences,
        allowed_cidrs,
        ..claims()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_child_never_passes_a_check_that_its_parent_fails(
        parent in parent(),
        caveats in prop::collection::vec(caveat(), 1..5),
        questions in prop::collection::vec(question(), 8),
    ) {
        let chain = (0..=caveats.len()).map(|length| narrowed_from(parent.clone(), &caveats[..length]));
        let chain: Vec<_> = chain.collect();
        for pair in chain.windows(2) {
            // A refused token passes nothing; its children must be refused too.
            let Ok(child) = &pair[1] else { continue };
            let above = pair[0].as_ref().expect("a child of a refused token is refused");
            for question in &questions {
                let key_has = question.query.is_met_by(&question.of_key);
                prop_assert!(key_has || !child.admits_permissions(&question.query, &question.of_key));
                for (child, parent) in answers(child, question).iter().zip(answers(above, question)) {
                    prop_assert!(!child.1 || parent.1, "{} {question:?}", child.0);
                }
            }
        }
    }
}
