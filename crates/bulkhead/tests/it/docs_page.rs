//! `/docs`, as a browser shows it: the routes are there, nothing goes wrong, and nothing is asked of anybody else.

use bh_testkit::browser::look_at;
use bh_testkit::{FakeProvider, Gateway, Script};

use crate::auth::BULKHEAD;

const PATHS: [&str; 4] =
    ["/v1/chat/completions", "/api/v1/admin/tenants", "/v2alpha1/admin/apiKeys:verify", "/openapi.json"];

#[tokio::test]
async fn a_browser_shows_every_chapter_of_the_page_and_asks_nobody_else() {
    let gateway = Gateway::builder(BULKHEAD).start().await;
    let (page, origin) = (gateway.at("/docs"), gateway.at("/"));
    let seen = tokio::task::spawn_blocking(move || look_at(&page)).await.unwrap();
    for path in PATHS {
        assert!(seen.dom.contains(path), "{path} is not on the page: {}", seen.dom);
    }
    assert_eq!(seen.console, Vec::<String>::new());
    assert!(seen.requests.iter().any(|url| url.ends_with("/openapi.json")), "{:?}", seen.requests);
    let elsewhere: Vec<&String> = seen.requests.iter().filter(|url| !url.starts_with(&origin)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

/// Whoever looks sees what is wrong with a page, or the test above could not fail.
#[tokio::test]
async fn a_page_that_asks_elsewhere_and_complains_is_seen_to() {
    let provider = FakeProvider::start();
    let html = "<html><body><script>console.error('boom'); document.body.append('made by ' + 'a script')</script>\
                <img src='http://elsewhere.example/x.png'></body></html>";
    provider.on(move |_| Some(Script::bytes(200, "text/html", html)));
    let url = format!("{}/page", provider.url());
    let seen = tokio::task::spawn_blocking(move || look_at(&url)).await.unwrap();
    assert!(seen.dom.contains("made by a script"), "{}", seen.dom);
    assert!(seen.console.iter().any(|line| line.contains("boom")), "{:?}", seen.console);
    assert!(seen.requests.iter().any(|url| url == "http://elsewhere.example/x.png"), "{:?}", seen.requests);
}
