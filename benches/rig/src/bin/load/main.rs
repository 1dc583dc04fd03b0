//! Closed-loop (or fixed-rate) HTTP/1.1 load generator for LLM gateways: chat completions, or responses or messages
//! when the path ends so. Loopback only, one thread.
//!
//! load --url http://127.0.0.1:PORT/v1/chat/completions [-c 64] [-d SECONDS] [-n MAX_REQUESTS] [-w WARMUP_SECONDS]
//!      [--stream] [--rate RPS] [--prompt-bytes 600] [--directive "rig:delay_ms=50 "] [--model mock-model] [-H 'name: value']...
//!      [--body-file FILE] [--keys-file FILE]
//! With --body-file the file is what is posted, whatever the path. With --keys-file (one key a line, all of one length)
//! each request carries the next key: where the posted file has the first one, else as its bearer.
//! Prints one JSON line. Latency is first request byte to last response byte; with --rate it is counted from
//! the scheduled start (no coordinated omission). TTFT is the time to the first `data:` of a streamed body.
mod keys;
mod stats;
mod wire;

use keys::Keys;
use stats::{hist, Open, Stats};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An exchange that takes longer has failed.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Cfg {
    addr: String,
    req: Rc<Vec<u8>>,
    keys: Option<Rc<Keys>>,
    stream: bool,
    c: usize,
    rate: f64,
}

struct Resp {
    status: u16,
    close: bool,
    events: u64,
    reads: u64,
    bytes: u64,
    first: Option<Instant>,
    done: bool,
}

async fn exchange(
    s: &mut TcpStream,
    cfg: &Cfg,
    req: &[u8],
    buf: &mut Vec<u8>,
    st: &RefCell<Stats>,
) -> std::io::Result<Resp> {
    s.write_all(req).await?;
    let mut _open = None;
    buf.clear();
    let mut r = Resp { status: 0, close: false, events: 0, reads: 0, bytes: 0, first: None, done: false };
    let eof = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "eof");
    let (mut pos, mut clen, mut chunked);
    (clen, chunked) = (None::<usize>, false);
    // head
    loop {
        if s.read_buf(buf).await? == 0 {
            return Err(eof());
        }
        r.reads += 1;
        if let Some(h) = memchr::memmem::find(buf, b"\r\n\r\n") {
            let mut hs = [httparse::EMPTY_HEADER; 96];
            let mut p = httparse::Response::new(&mut hs);
            p.parse(&buf[..h + 4]).map_err(|_| eof())?;
            r.status = p.code.unwrap_or(0);
            if p.version == Some(0) {
                r.close = true;
            }
            for x in p.headers.iter() {
                if x.name.eq_ignore_ascii_case("content-length") {
                    clen = std::str::from_utf8(x.value).ok().and_then(|v| v.trim().parse().ok());
                } else if x.name.eq_ignore_ascii_case("transfer-encoding") {
                    chunked = memchr::memmem::find(x.value, b"chunked").is_some();
                } else if x.name.eq_ignore_ascii_case("connection") && x.value.eq_ignore_ascii_case(b"close")
                {
                    r.close = true;
                }
            }
            pos = h + 4;
            break;
        }
    }
    let body0 = pos;
    let mut scan = pos; // SSE scan position
    let mut need = 0usize; // bytes still to skip in the current transfer chunk, with its CRLF
    loop {
        if cfg.stream {
            if r.first.is_none() && memchr::memmem::find(&buf[body0..], b"data:").is_some() {
                r.first = Some(Instant::now());
                _open = Some(Open::new(st));
            }
            let from = scan.saturating_sub(5).max(body0);
            let mut last = scan;
            for p in memchr::memmem::find_iter(&buf[from..], b"data:") {
                if from + p + 5 > scan {
                    r.events += 1;
                    last = from + p + 5;
                }
            }
            scan = last.max(buf.len());
        }
        if chunked {
            loop {
                if need > 0 {
                    let k = need.min(buf.len() - pos);
                    pos += k;
                    need -= k;
                    if need > 0 {
                        break;
                    }
                }
                match memchr::memmem::find(&buf[pos..], b"\r\n") {
                    None => break,
                    Some(e) => {
                        let line = &buf[pos..pos + e];
                        let hex = line.split(|b| *b == b';').next().unwrap_or(line);
                        let n = usize::from_str_radix(std::str::from_utf8(hex).unwrap_or("").trim(), 16)
                            .map_err(|_| eof())?;
                        if n == 0 {
                            if buf.len() >= pos + e + 4 {
                                r.done = true;
                            }
                            break;
                        }
                        pos += e + 2;
                        need = n + 2;
                    }
                }
            }
        } else if let Some(n) = clen {
            if buf.len() - body0 >= n {
                r.done = true;
            }
        }
        if r.done {
            break;
        }
        let n = s.read_buf(buf).await?;
        if n == 0 {
            if !chunked && clen.is_none() {
                r.done = true;
                r.close = true;
                break;
            }
            return Err(eof());
        }
        r.reads += 1;
    }
    r.bytes = buf.len() as u64;
    Ok(r)
}

async fn worker(
    id: usize,
    cfg: Cfg,
    st: Rc<RefCell<Stats>>,
    t0: Instant,
    end: Instant,
    left: Rc<RefCell<u64>>,
) {
    let mut sock: Option<TcpStream> = None;
    let mut buf = Vec::with_capacity(64 * 1024);
    let mut req = cfg.req.to_vec();
    let period =
        if cfg.rate > 0.0 { Duration::from_secs_f64(cfg.c as f64 / cfg.rate) } else { Duration::ZERO };
    let mut next = t0 + period.mul_f64(id as f64 / cfg.c as f64);
    loop {
        let mut start = Instant::now();
        if start >= end {
            return;
        }
        if cfg.rate > 0.0 {
            if next >= end {
                return;
            }
            if next > start {
                tokio::time::sleep_until(next.into()).await;
            }
            start = next;
            next += period;
        }
        {
            let mut l = left.borrow_mut();
            if *l == 0 {
                return;
            }
            *l -= 1;
        }
        if sock.is_none() {
            match TcpStream::connect(&cfg.addr).await {
                Ok(s) => {
                    let _ = s.set_nodelay(true);
                    sock = Some(s);
                }
                Err(_) => {
                    st.borrow_mut().io += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            }
        }
        if let Some(keys) = &cfg.keys {
            keys.rotate(&mut req);
        }
        let r = tokio::time::timeout(
            EXCHANGE_WITHIN,
            exchange(sock.as_mut().unwrap(), &cfg, &req, &mut buf, &st),
        )
        .await;
        let now = Instant::now();
        let mut s = st.borrow_mut();
        match r {
            Ok(Ok(r)) => {
                if r.close {
                    sock = None;
                }
                if r.status == 200 {
                    s.ok += 1;
                    s.events += r.events;
                    s.reads += r.reads;
                    s.bytes += r.bytes;
                    let _ = s.lat.record((now - start).as_nanos() as u64);
                    if let Some(f) = r.first {
                        let _ = s.ttft.record((f - start).as_nanos() as u64);
                    }
                } else {
                    s.bad += 1;
                    if s.last_bad.is_empty() {
                        s.last_bad = String::from_utf8_lossy(&buf[..buf.len().min(400)]).into_owned();
                    }
                }
            }
            _ => {
                s.io += 1;
                sock = None;
            }
        }
    }
}

/// This process's CPU time in µs: the kernel's own count of its only thread, in ns.
fn cpu_us() -> u64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1000
}

fn main() {
    let (mut url, mut c, mut d, mut n, mut w, mut stream, mut rate, mut pb, mut model) =
        (String::new(), 1usize, 10.0f64, u64::MAX, 1.0f64, false, 0.0f64, 600usize, "mock-model".to_string());
    let mut headers: Vec<String> = vec![];
    let mut directive = String::new();
    let mut keys = Vec::new();
    let mut body_file = None;
    let mut a = std::env::args().skip(1);
    while let Some(k) = a.next() {
        if k == "--stream" {
            stream = true;
            continue;
        }
        let v = a.next().expect("value");
        match k.as_str() {
            "--url" => url = v,
            "-c" => c = v.parse().unwrap(),
            "-d" => d = v.parse().unwrap(),
            "-n" => n = v.parse().unwrap(),
            "-w" => w = v.parse().unwrap(),
            "--rate" => rate = v.parse().unwrap(),
            "--prompt-bytes" => pb = v.parse().unwrap(),
            "--model" => model = v,
            "-H" => headers.push(v),
            "--directive" => directive = v,
            "--body-file" => body_file = Some(std::fs::read_to_string(&v).expect("the body's file")),
            "--keys-file" => keys = Keys::read(&v),
            _ => panic!("unknown {k}"),
        }
    }
    let rest = url.strip_prefix("http://").expect("http://");
    let (addr, path) = match rest.find('/') {
        Some(i) => (&rest[..i], &rest[i..]),
        None => (rest, "/"),
    };
    assert!(addr.starts_with("127.0.0.1:"), "loopback only");
    let prompt: String = directive
        + &"Summarise the following text in one line please. ".chars().cycle().take(pb).collect::<String>();
    let body = body_file.unwrap_or_else(|| wire::body(path, &model, &prompt, stream).to_string());
    let mut req = format!("POST {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\naccept: */*\r\nuser-agent: gwrig/0.1\r\ncontent-length: {}\r\n", body.len());
    for h in &headers {
        req.push_str(h);
        req.push_str("\r\n");
    }
    let first = keys.first().map(|key| String::from_utf8(key.clone()).expect("a key in ASCII"));
    let in_body = first.as_ref().and_then(|first| body.find(first.as_str()));
    let bearer = first.as_ref().filter(|_| in_body.is_none()).map(|first| {
        req.push_str("authorization: Bearer ");
        let at = req.len();
        req.push_str(first);
        req.push_str("\r\n");
        at
    });
    req.push_str("\r\n");
    let at = bearer.or(in_body.map(|at| req.len() + at));
    req.push_str(&body);
    let keys = at.map(|at| Rc::new(Keys::at(keys, at)));
    let cfg =
        Cfg { addr: addr.to_string(), req: Rc::new(req.into_bytes()), keys: keys.clone(), stream, c, rate };
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let phase = |secs: f64, n: u64| {
        let st = Rc::new(RefCell::new(Stats::fresh()));
        let t0 = Instant::now();
        let end = t0 + Duration::from_secs_f64(secs);
        let left = Rc::new(RefCell::new(n));
        local.block_on(&rt, async {
            let hs: Vec<_> = (0..c)
                .map(|i| tokio::task::spawn_local(worker(i, cfg.clone(), st.clone(), t0, end, left.clone())))
                .collect();
            for h in hs {
                let _ = h.await;
            }
        });
        (Rc::try_unwrap(st).ok().unwrap().into_inner(), t0.elapsed().as_secs_f64())
    };
    if w > 0.0 {
        phase(w, u64::MAX);
    }
    // A line on stderr marks the start of the measured phase, and waits for the harness to read counters.
    if std::env::var_os("RIG_SYNC").is_some() {
        eprintln!("GO");
        let mut s = String::new();
        let _ = std::io::stdin().read_line(&mut s);
    }
    let c0 = cpu_us();
    let (s, secs) = phase(d, n);
    let used = cpu_us() - c0;
    let keys_used = keys.map_or(1, |keys| keys.used());
    println!(
        "{}",
        serde_json::json!({"c": c, "stream": stream, "rate": rate, "secs": secs, "ok": s.ok, "non200": s.bad, "io_errors": s.io, "rps": s.ok as f64 / secs,
        "lat_us": hist(&s.lat), "ttft_us": hist(&s.ttft), "sse_events_per_req": s.events as f64 / (s.ok.max(1) as f64), "reads_per_req": s.reads as f64 / (s.ok.max(1) as f64),
        "bytes_per_req": s.bytes / s.ok.max(1), "load_cpu_us_per_req": used as f64 / (s.ok.max(1) as f64), "load_cpu_frac": used as f64 / 1e6 / secs, "first_non200": s.last_bad,
        "streams_open_max": s.open_max, "keys_used": keys_used})
    );
}
