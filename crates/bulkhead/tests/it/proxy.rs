//! `/v1/proxy/{provider}/…`: what a client sends is what the provider gets, and the other way round.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use bh_testkit::{Answer, Call, FakeProvider, RawSocket, Script, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{
    CHAT, KEY, MESSAGES, PATIENCE, PRICES, Rig, binary, chat, config, outcome, request_id, rig, rig_with,
};

/// JSON as no library would write it: spaces, an escape, a member twice as long as it need be, a trailing newline.
const ODD_BODY: &str = "{ \"model\":\"thinker\",\n  \"messages\" : [ {\"role\":\"user\",\"content\":\"caf\\u00e9 \u{1f980}\"} ],\
    \"temperature\":1.0e0 , \"unknown_member\":{\"deep\":[1,2.50,null]}}\n";

fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test]
async fn every_method_is_passed_on_with_its_path_query_and_body() {
    let rig = rig(Store::Sqlite).await;
    let target = "/v1/files/a%2Fb%20c;d=1?x=1&x=2&empty=&enc=%7e%2B+";
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let body = if method == "GET" { Vec::new() } else { b"\x00\xff raw \r\n bytes".to_vec() };
        let call = rig.call(method, &format!("/v1/proxy/openai{target}"));
        let answer = call.header("content-type", "application/x-odd").body(body.clone()).send().await;
        assert_eq!((answer.status, answer.header("x-echo-method")), (200, Some(method)), "{}", answer.text());
        let seen = rig.provider.last();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, target));
        assert_eq!((&seen.body, &answer.body), (&body, &body), "{method}");
        assert_eq!(seen.headers.all("content-type"), ["application/x-odd"]);
    }
    let head = rig.call("HEAD", "/v1/proxy/openai/v1/files/7?x=1").send().await;
    assert_eq!((head.status, head.header("x-echo-method"), head.body.len()), (200, Some("HEAD"), 0));
    assert_eq!(rig.provider.hits(), 7);
}

on_both_stores! {
    /// Proves: TALON-15
    async fn both_bodies_of_a_call_are_the_same_bytes_on_both_sides(store) {
        let rig = rig(store).await;
        for path in [CHAT, MESSAGES] {
            let answered = "{\n \"id\":\"x\" , \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2},\"odd\":\"\\u00e9\u{e9}\"}\n\n";
            rig.provider.then(Script::bytes(200, "application/json; charset=utf-8", answered).header("x-odd", "1"));
            let call = rig.call("POST", path).header("content-type", "application/json").body(ODD_BODY);
            let answer = call.send().await;
            assert_eq!((answer.status, answer.text().as_str()), (200, answered));
            assert_eq!(answer.headers.all("content-type"), ["application/json; charset=utf-8"]);
            assert_eq!(answer.header("x-odd"), Some("1"));
            assert_eq!(rig.provider.last().body, ODD_BODY.as_bytes());
            let hashes = json!({"input_hash": sha256(ODD_BODY.as_bytes()), "output_hash": sha256(answered.as_bytes())});
            assert_eq!(rig.record(&answer.headers).await["audit_trail"], hashes);
        }
    }
}

on_both_stores! {
    /// Proves: TALON-16
    async fn responses_are_proxied_and_store_is_set_as_the_provider_s_mode_says(store) {
        let provider = FakeProvider::start();
        let mode = |id: &str, mode: &str| {
            format!("    {id}: {{base_url: \"{}\", api_key: k, responses_store_mode: {mode}}}\n", provider.url())
        };
        let providers = [mode("keep", "preserve"), mode("absent", "force_if_absent"), mode("force", "force_true")];
        let config = config(&providers.concat(), "{}", "");
        let rig = Rig { gateway: binary().store(store).config(&config).start().await, provider };
        let said = [None, Some(json!(false)), Some(json!(true))];
        let stored = [
            ("keep", [None, Some(false), Some(true)]),
            ("absent", [Some(true), Some(false), Some(true)]),
            ("force", [Some(true), Some(true), Some(true)]),
        ];
        for (id, wanted) in stored {
            for (said, wanted) in said.iter().zip(wanted) {
                let mut body = json!({"model": "m", "input": "hi", "metadata": {"store": false}});
                if let Some(said) = said {
                    body["store"] = said.clone();
                }
                let answer = rig.post(&format!("/v1/proxy/{id}/v1/responses"), &body).send().await;
                assert_eq!((answer.status, &answer.json()["object"]), (200, &json!("response")));
                if let Some(wanted) = wanted {
                    body["store"] = json!(wanted);
                }
                assert_eq!(rig.provider.last().json(), body, "{id}, {said:?}");
            }
        }
        // Where nothing is to change, nothing does: not even a space.
        let odd = "{ \"input\":\"hi\",  \"store\" : true,\"model\":\"m\" }";
        for id in ["keep", "absent", "force"] {
            let call = rig.call("POST", &format!("/v1/proxy/{id}/v1/responses"));
            assert_eq!(call.header("content-type", "application/json").body(odd).send().await.status, 200);
            assert_eq!(rig.provider.last().body, odd.as_bytes());
        }
    }
}

#[tokio::test]
async fn a_chat_is_never_given_a_store_member() {
    let provider = FakeProvider::start();
    let line =
        format!("    openai: {{base_url: \"{}\", responses_store_mode: force_true}}\n", provider.url());
    let rig = Rig { gateway: binary().config(&config(&line, "{}", "")).start().await, provider };
    rig.post(CHAT, &chat("m")).send().await;
    assert_eq!(rig.provider.last().json(), chat("m"));
}

fn multipart(size: usize) -> Vec<u8> {
    let head = "--b0undary\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--b0undary\r\n\
        content-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n";
    let content = (0..size).map(|i| u8::try_from(i % 251).unwrap());
    [head.as_bytes().to_vec(), content.collect(), b"\r\n--b0undary--\r\n".to_vec()].concat()
}

#[tokio::test]
async fn an_upload_passes_unread_through_a_path_the_gateway_does_not_know() {
    let rig = rig(Store::Sqlite).await;
    let body = multipart(3 * 1024 * 1024);
    let kind = "multipart/form-data; boundary=b0undary";
    let call = rig.call("POST", "/v1/proxy/openai/v1/files").header("content-type", kind).body(body.clone());
    let answer = call.send().await;
    assert_eq!(answer.status, 200);
    let seen = rig.provider.last();
    assert!(seen.body == body && answer.body == body, "an upload arrives as it was sent");
    assert_eq!(seen.header("content-type"), Some(kind));
    let record = rig.record(&answer.headers).await;
    assert_eq!(record["audit_trail"]["input_hash"], json!(sha256(&body)));
    assert_eq!(outcome(&record), ("completed", None, 0));
}

#[tokio::test]
async fn an_upload_in_chunks_reaches_the_provider_whole() {
    let rig = rig(Store::Sqlite).await;
    let mut socket = RawSocket::connect(rig.gateway.url()).await;
    let head = format!(
        "POST /v1/proxy/openai/v1/files HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
        transfer-encoding: chunked\r\ncontent-type: text/plain\r\n\r\n"
    );
    socket.write(head).await;
    for piece in ["4\r\none,\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        socket.write(piece).await;
    }
    assert!(rig.provider.hits_reach(1, PATIENCE).await);
    let seen = rig.provider.last();
    assert_eq!(
        (String::from_utf8_lossy(&seen.body).as_ref(), seen.header("content-type")),
        ("one,two", Some("text/plain"))
    );
}

#[tokio::test]
async fn a_large_answer_streams_through_without_being_kept() {
    const SIZE: usize = 96 * 1024 * 1024;
    let rig = rig(Store::Sqlite).await;
    let before = rig.gateway.peak_rss_kib();
    rig.provider.then(Script::huge(SIZE));
    let answer = rig.call("GET", "/v1/proxy/openai/v1/files/f/content").send().await;
    assert_eq!((answer.status, answer.body.len()), (200, SIZE));
    assert!(answer.body.iter().all(|byte| *byte == b'x'));
    let grown = rig.gateway.peak_rss_kib() - before;
    assert!(grown < 32 * 1024, "96 MiB passed and the gateway grew by {grown} KiB");
}

/// One refusal in a family's envelope, and that the provider heard nothing of it.
fn assert_envelope(answer: &Answer, status: u16, error: &Value, anthropic_type: Option<&str>) {
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let wanted = match anthropic_type {
        None => json!({ "error": error }),
        Some(kind) => {
            let error = json!({"type": kind, "message": error["message"], "code": error["code"]});
            json!({"type": "error", "error": error, "request_id": request_id(&answer.headers)})
        }
    };
    assert_eq!((answer.status, answer.json()), (status, wanted));
}

fn openai_error(code: &str, message: &str) -> Value {
    json!({"message": message, "type": code, "param": null, "code": code})
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_in_each_family_s_words() {
    let more = format!("server:\n  body_bytes_max: 4096\n{PRICES}");
    let rig = rig_with(Store::Sqlite, "{}", &more).await;
    let error = openai_error(
        "request_too_large",
        "The request body is larger than 4096 bytes (server.body_bytes_max)",
    );
    let mut big = chat("thinker");
    big["messages"][0]["content"] = json!("x".repeat(4096));
    assert_envelope(&rig.post(CHAT, &big).send().await, 413, &error, None);
    assert_envelope(&rig.post(MESSAGES, &big).send().await, 413, &error, Some("request_too_large"));
    // Also where the body would pass unread.
    let upload = rig.call("POST", "/v1/proxy/openai/v1/files").body(multipart(4096)).send().await;
    assert_envelope(&upload, 413, &error, None);
    assert_eq!(rig.provider.hits(), 0);
    let record = rig.record(&upload.headers).await;
    assert_eq!(outcome(&record), ("denied", Some("request_too_large"), 0));
    let fits = rig.call("POST", "/v1/proxy/openai/v1/files").body(vec![b'x'; 4096]).send().await;
    assert_eq!((fits.status, rig.provider.hits()), (200, 1));
}

#[tokio::test]
async fn an_upload_in_chunks_over_the_limit_is_refused_too() {
    let more = format!("server:\n  body_bytes_max: 4096\n{PRICES}");
    let rig = rig_with(Store::Sqlite, "{}", &more).await;
    let mut socket = RawSocket::connect(rig.gateway.url()).await;
    let head = format!(
        "POST /v1/proxy/openai/v1/files HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
        transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    socket.write(format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    let answer = socket.read_for(PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"code\":\"request_too_large\""), "{answer}");
}

/// Proves: TALON-15
#[tokio::test]
async fn refusals_are_told_in_the_family_s_envelope_byte_for_byte() {
    let rig = rig(Store::Sqlite).await;
    let anonymous = |path: &str| Call::post(rig.gateway.at(path), &chat("m"));
    let answer = anonymous(CHAT).send().await;
    let told = "Invalid or missing tenant key";
    assert_eq!(
        (answer.status, answer.text()),
        (
            401,
            format!(
                r#"{{"error":{{"message":"{told}","type":"unauthorized","param":null,"code":"unauthorized"}}}}"#
            )
        )
    );
    let answer = anonymous(MESSAGES).send().await;
    let id = request_id(&answer.headers);
    let wanted = format!(
        r#"{{"type":"error","error":{{"type":"authentication_error","message":"{told}","code":"unauthorized"}},"request_id":"{id}"}}"#
    );
    assert_eq!((answer.status, answer.text()), (401, wanted));

    let unknown = openai_error(
        "provider_unknown",
        "No provider `nobody` is configured; there are: anthropic, azure, openai",
    );
    let answer = rig.post("/v1/proxy/nobody/v1/chat/completions", &chat("m")).send().await;
    assert_envelope(&answer, 400, &unknown, None);
    let answer = rig.post("/v1/proxy/nobody/v1/messages", &chat("m")).send().await;
    assert_envelope(&answer, 400, &unknown, Some("invalid_request_error"));
    assert_eq!(rig.provider.hits(), 0);
}

on_both_stores! {
    /// Proves: TALON-15
    async fn an_error_of_the_provider_passes_as_it_is_and_costs_nothing(store) {
        let rig = rig(store).await;
        let statuses = [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 529];
        for status in statuses {
            let openai = Script::openai_error(status, "its_own_type", "in its own words").retry_after(7);
            let anthropic = Script::anthropic_error(status, "its_own_type", "in its own words").retry_after(7);
            for (path, script) in [(CHAT, openai), (MESSAGES, anthropic)] {
                rig.provider.then(script.clone());
                let answer = rig.post(path, &chat("thinker")).send().await;
                assert_eq!((answer.status, &answer.body), (status, &script.body_bytes()));
                assert_eq!(answer.header("retry-after"), Some("7"));
                let record = rig.record(&answer.headers).await;
                assert_eq!(outcome(&record), ("failed", Some("provider_error"), 0));
                assert_eq!(record["execution"]["http_status"], json!(status));
            }
        }
        assert_eq!(rig.provider.hits(), 2 * statuses.len());
    }
}
