//! Microbenchmarks: what verifying a key, limiting a rate, parsing a body and signing a record cost, in-process.
//! verifybench [SQLITE_FILE]   prints one JSON object per line: {"bench", "ns"} (median of 5 rounds, min, max).
use ed25519_dalek::{Signer, SigningKey, Verifier};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Mutex, RwLock};
use std::time::Instant;

fn bench(name: &str, n: usize, mut f: impl FnMut(usize)) {
    for i in 0..n / 10 {
        f(i);
    }
    let mut v: Vec<f64> = (0..5)
        .map(|_| {
            let t = Instant::now();
            for i in 0..n {
                f(i);
            }
            t.elapsed().as_nanos() as f64 / n as f64
        })
        .collect();
    v.sort_by(|a, b| a.total_cmp(b));
    println!(
        "{}",
        serde_json::json!({"bench": name, "ns": (v[2] * 10.0).round() / 10.0, "min": (v[0] * 10.0).round() / 10.0, "max": (v[4] * 10.0).round() / 10.0})
    );
}
fn lcg(x: &mut u64) -> u64 {
    *x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *x >> 33
}

fn main() {
    let key =
        |i: u64| format!("sk-{i:016x}{:032x}", (i as u128).wrapping_mul(0x9e3779b97f4a7c15f39cc0605cedc835));
    let ks: Vec<String> = (0..1024).map(key).collect();
    bench("sha256 of a 51-byte key", 1_000_000, |i| {
        black_box(Sha256::digest(ks[i & 1023].as_bytes()));
    });
    let pepper = [9u8; 32];
    bench("hmac-sha256 of a 51-byte key", 500_000, |i| {
        let mut m = <Hmac<Sha256> as Mac>::new_from_slice(&pepper).unwrap();
        m.update(ks[i & 1023].as_bytes());
        black_box(m.finalize());
    });
    let pre = <Hmac<Sha256> as Mac>::new_from_slice(&pepper).unwrap();
    bench("hmac-sha256, precomputed key state", 500_000, |i| {
        let mut m = pre.clone();
        m.update(ks[i & 1023].as_bytes());
        black_box(m.finalize());
    });
    bench("blake3 keyed hash of a 51-byte key", 1_000_000, |i| {
        black_box(blake3::keyed_hash(&pepper, ks[i & 1023].as_bytes()));
    });
    for n in [10_000u64, 1_000_000] {
        let m: RwLock<HashMap<[u8; 32], u64>> =
            RwLock::new((0..n).map(|i| (Sha256::digest(key(i)).into(), i)).collect());
        let mut x = 1;
        let some: Vec<[u8; 32]> = (0..65536).map(|_| Sha256::digest(key(lcg(&mut x) % n)).into()).collect();
        bench(&format!("RwLock<HashMap> lookup by digest, {n} keys"), 2_000_000, |i| {
            black_box(m.read().unwrap().get(&some[i & 65535]));
        });
        let texts: Vec<String> = (0..65536).map(|_| key(lcg(&mut x) % n)).collect();
        bench(&format!("sha256 + lookup, {n} keys"), 1_000_000, |i| {
            let d: [u8; 32] = Sha256::digest(texts[i & 65535].as_bytes()).into();
            black_box(m.read().unwrap().get(&d));
        });
    }
    struct B {
        tokens: f64,
        last: Instant,
    }
    let b: Vec<Mutex<B>> = (0..10_000).map(|_| Mutex::new(B { tokens: 1e6, last: Instant::now() })).collect();
    let mut x = 7;
    bench("in-memory token bucket (Mutex, Instant::now)", 2_000_000, |_| {
        let mut g = b[lcg(&mut x) as usize % 10_000].lock().unwrap();
        let n = Instant::now();
        g.tokens = (g.tokens + (n - g.last).as_secs_f64() * 10.0).min(1e6);
        g.last = n;
        if g.tokens >= 1.0 {
            g.tokens -= 1.0;
        }
        black_box(g.tokens);
    });
    let sk = SigningKey::from_bytes(&[3; 32]);
    let msg = [5u8; 32];
    bench("ed25519 sign 32 bytes", 20_000, |_| {
        black_box(sk.sign(black_box(&msg)));
    });
    let sig = sk.sign(&msg);
    let vk = sk.verifying_key();
    bench("ed25519 verify", 10_000, |_| {
        black_box(vk.verify(black_box(&msg), &sig)).unwrap();
    });
    for kb in [1usize, 16, 128] {
        let body = serde_json::json!({"model": "mock-model", "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Summarise the following \"text\" please.\n".chars().cycle().take(kb * 1024).collect::<String>()}], "max_tokens": 128}).to_string();
        let n = 400_000 / kb;
        bench(&format!("sha256 of a {kb} KiB body"), n, |_| {
            black_box(Sha256::digest(body.as_bytes()));
        });
        bench(&format!("blake3 of a {kb} KiB body"), n, |_| {
            black_box(blake3::hash(body.as_bytes()));
        });
        bench(&format!("serde_json::Value parse, {kb} KiB"), n, |_| {
            black_box(serde_json::from_slice::<serde_json::Value>(black_box(body.as_bytes())).unwrap());
        });
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        struct R<'a> {
            #[serde(borrow)]
            model: &'a str,
            #[serde(default)]
            stream: bool,
            #[serde(borrow)]
            messages: &'a serde_json::value::RawValue,
        }
        bench(&format!("serde_json envelope (RawValue messages), {kb} KiB"), n, |_| {
            black_box(serde_json::from_slice::<R>(black_box(body.as_bytes())).unwrap().model.len());
        });
        let f = memchr::memmem::Finder::new("BEGIN PRIVATE KEY");
        bench(&format!("memmem scan, {kb} KiB"), n, |_| {
            black_box(f.find(black_box(body.as_bytes())));
        });
    }
    let path = std::env::args().nth(1).unwrap_or_else(|| "gwrig-verify.sqlite".into());
    let _ = std::fs::remove_file(&path);
    let mut db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE keys(hash BLOB PRIMARY KEY, tenant INTEGER, budget INTEGER, models TEXT) WITHOUT ROWID;").unwrap();
    let n = 1_000_000u64;
    {
        let t = db.transaction().unwrap();
        {
            let mut s = t.prepare("INSERT INTO keys VALUES(?,?,?,?)").unwrap();
            for i in 0..n {
                let d: [u8; 32] = Sha256::digest(key(i)).into();
                s.execute(rusqlite::params![&d[..], i, 1000i64, "a,b"]).unwrap();
            }
        }
        t.commit().unwrap();
    }
    let some: Vec<[u8; 32]> = (0..65536).map(|_| Sha256::digest(key(lcg(&mut x) % n)).into()).collect();
    {
        let mut s = db.prepare("SELECT tenant, budget FROM keys WHERE hash=?").unwrap();
        bench("SQLite point lookup, 1M keys, prepared, in-process", 100_000, |i| {
            black_box(s.query_row([&some[i & 65535][..]], |r| r.get::<_, i64>(0)).unwrap());
        });
    }
    {
        let mut s = db.prepare("UPDATE keys SET budget=budget-1 WHERE hash=?").unwrap();
        bench("SQLite budget UPDATE, WAL, synchronous=NORMAL, own txn", 20_000, |i| {
            s.execute([&some[i & 65535][..]]).unwrap();
        });
    }
    db.execute_batch("PRAGMA synchronous=FULL;").unwrap();
    {
        let mut s = db.prepare("UPDATE keys SET budget=budget-1 WHERE hash=?").unwrap();
        bench("SQLite budget UPDATE, WAL, synchronous=FULL (fsync)", 500, |i| {
            s.execute([&some[i & 65535][..]]).unwrap();
        });
    }
    drop(db);
    let _ = std::fs::remove_file(&path);
    let fp = format!("{path}.journal");
    let mut f = std::fs::OpenOptions::new().create(true).append(true).open(&fp).unwrap();
    use std::io::Write;
    let line = [b'x'; 400];
    bench("append 400 bytes to a file (no fsync)", 100_000, |_| {
        f.write_all(&line).unwrap();
    });
    bench("append 400 bytes + fdatasync", 500, |_| {
        f.write_all(&line).unwrap();
        f.sync_data().unwrap();
    });
    let _ = std::fs::remove_file(&fp);
}
