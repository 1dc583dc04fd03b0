//! The least an HTTP server in Rust can cost: hyper on one thread. It reads each request to its end and answers with
//! the same bytes. Loopback only.
//!
//! bare PORT FILE     FILE holds the answer: header lines, an empty line, the body
use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderName, HeaderValue, CONTENT_LENGTH, DATE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;

/// Header lines and a body; what the server says of length and time by itself is left out.
fn read(path: &str) -> (HeaderMap, Bytes) {
    let text = std::fs::read_to_string(path).expect("the answer's file");
    let (head, body) = text.split_once("\n\n").expect("an empty line before the body");
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        let name: HeaderName = name.parse().expect("a header's name");
        if name != CONTENT_LENGTH && name != DATE {
            headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        }
    }
    (headers, Bytes::from(body.to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, port, file] = args.as_slice() else { panic!("bare PORT FILE") };
    let (headers, body) = read(file);
    let address = ("127.0.0.1", port.parse().expect("a port"));
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        socket.set_nodelay(true).ok();
        let (headers, body) = (headers.clone(), body.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
                let (headers, body) = (headers.clone(), body.clone());
                async move {
                    request.into_body().collect().await.ok();
                    let mut response = Response::new(Full::new(body));
                    *response.headers_mut() = headers;
                    Ok::<_, Infallible>(response)
                }
            });
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer)
                .await
                .ok();
        });
    }
}
