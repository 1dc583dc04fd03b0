//! What a provider sees of the pool: its connections, and what comes on them.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

const SHORT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ENDLESS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n";

/// What happened at the provider: the number of the connection, and the head it was sent or its end.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Head(usize, String),
    End(usize),
}

/// A provider that gives each request the same answer, and closes the connection after `per_connection` of them.
struct Provider {
    at: SocketAddr,
    seen: UnboundedReceiver<Seen>,
}

impl Provider {
    async fn new(answer: &'static str, per_connection: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (tell, seen) = unbounded_channel();
        tokio::spawn(async move {
            for number in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, number, answer, per_connection, tell.clone()));
            }
        });
        Self { at, seen }
    }

    async fn head(&mut self) -> (usize, String) {
        match self.seen.recv().await {
            Some(Seen::Head(number, head)) => (number, head),
            other => panic!("no request, but {other:?}"),
        }
    }

    fn request(&self) -> Request<ProviderBody> {
        let body = Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}).boxed_unsync();
        Request::post(format!("http://{}/v1/chat?x=1", self.at)).body(body).unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    number: usize,
    answer: &'static str,
    per_connection: usize,
    tell: UnboundedSender<Seen>,
) {
    let mut buffer = vec![0; 4_096];
    for _ in 0..per_connection {
        let mut read = 0;
        while !buffer[..read].ends_with(b"{}") {
            match stream.read(&mut buffer[read..]).await {
                Ok(more) if more > 0 => read += more,
                Ok(_) | Err(_) => {
                    tell.send(Seen::End(number)).ok();
                    return;
                }
            }
        }
        tell.send(Seen::Head(number, String::from_utf8_lossy(&buffer[..read]).into_owned())).ok();
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    drop(stream);
    tell.send(Seen::End(number)).ok();
}

fn pool() -> Arc<Pool> {
    let mut tcp = HttpConnector::new_with_resolver(GuardedResolver::new(false));
    tcp.enforce_http(false);
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let https =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Pool::new(https.wrap_connector(tcp))
}

async fn call(pool: &Arc<Pool>, provider: &Provider) -> Bytes {
    let answer = Arc::clone(pool).send(provider.request()).await;
    let Ok(answer) = answer else { panic!("no answer") };
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection_and_name_their_host() {
    let (pool, mut provider) = (pool(), Provider::new(SHORT, 9).await);
    for _ in 0..3 {
        assert_eq!(call(&pool, &provider).await, "ok");
        let (number, head) = provider.head().await;
        assert_eq!(number, 1);
        assert!(head.starts_with("POST /v1/chat?x=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {}\r\n", provider.at)), "{head}");
    }
}

#[tokio::test]
async fn calls_at_the_same_time_have_a_connection_each_which_later_ones_use() {
    let (pool, mut provider) = (pool(), Provider::new(SHORT, 9).await);
    let both = tokio::join!(call(&pool, &provider), call(&pool, &provider));
    assert_eq!(both, (Bytes::from_static(b"ok"), Bytes::from_static(b"ok")));
    let numbers = [provider.head().await.0, provider.head().await.0];
    assert_eq!(numbers.iter().sum::<usize>(), 3, "{numbers:?}");
    assert_eq!(call(&pool, &provider).await, "ok");
    assert!(provider.head().await.0 <= 2);
}

#[tokio::test]
async fn a_connection_that_the_provider_closes_after_an_answer_costs_no_call() {
    let (pool, mut provider) = (pool(), Provider::new(SHORT, 1).await);
    for number in 1..=5 {
        assert_eq!(call(&pool, &provider).await, "ok");
        assert_eq!(provider.head().await.0, number);
        assert_eq!(provider.seen.recv().await, Some(Seen::End(number)));
        // A call that meets the connection in the very moment of its end may be lost, and is not repeated here.
        while pool.idle.lock().values().flatten().any(|idle| idle.connection.is_ready()) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_dropped_before_its_end_closes_its_connection() {
    let (pool, mut provider) = (pool(), Provider::new(ENDLESS, 9).await);
    let Ok(answer) = Arc::clone(&pool).send(provider.request()).await else { panic!("no answer") };
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((provider.head().await.0, first), (1, Bytes::from_static(b"a")));
    drop(body);
    assert_eq!(provider.seen.recv().await, Some(Seen::End(1)));
    assert!(pool.idle.lock().is_empty());
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_after_a_while() {
    let (pool, mut provider) = (pool(), Provider::new(SHORT, 9).await);
    assert_eq!(call(&pool, &provider).await, "ok");
    assert_eq!(provider.head().await.0, 1);
    tokio::time::pause();
    tokio::time::advance(IDLE_TIMEOUT + SWEEP_EVERY).await;
    tokio::time::resume();
    assert_eq!(provider.seen.recv().await, Some(Seen::End(1)));
    assert!(pool.idle.lock().is_empty());
}

#[tokio::test]
async fn an_address_without_a_host_is_a_fault_and_no_panic() {
    let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
    let answer = pool().send(Request::get("/v1/models").body(body).unwrap()).await;
    assert!(matches!(answer, Err(PoolFault::Connect(_))));
}

#[test]
fn the_host_header_leaves_out_the_schemes_own_port_and_whoever_logs_in() {
    let host = |uri: &'static str| {
        let uri = Uri::from_static(uri);
        host_header(uri.scheme().unwrap(), uri.authority().unwrap()).unwrap()
    };
    assert_eq!(host("https://api.example.com/v1"), "api.example.com");
    assert_eq!(host("https://api.example.com:443/v1"), "api.example.com");
    assert_eq!(host("https://api.example.com:80/v1"), "api.example.com:80");
    assert_eq!(host("http://user:word@[::1]:8080/"), "[::1]:8080");
}
