//! One record per request: chained as it is made, written by a thread of its own in groups.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::admission::{Admitted, Usage};
use crate::Mode;

/// Most records in one write.
const BATCH_MAX: usize = 4096;

/// The chain's head and its writer.
pub struct Journal {
    mode: Mode,
    head: Mutex<(Hash, u64)>,
    signer: SigningKey,
    writer: mpsc::Sender<Line>,
}

type Hash = [u8; 32];

struct Line {
    bytes: Vec<u8>,
    head: Hash,
    written: Option<oneshot::Sender<()>>,
}

#[derive(serde::Serialize)]
struct Record<'a> {
    seq: u64,
    ts_us: u64,
    tenant: u32,
    model: &'a str,
    req_sha256: String,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost_micro: i64,
    decision: &'a str,
    prev: String,
}

impl Journal {
    /// Starts the writer, in the modes that have one.
    pub fn start(mode: Mode, path: &str, linger: Duration) -> Self {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let (writer, lines) = mpsc::channel();
        if mode >= Mode::Chain {
            let file =
                File::options().create(true).append(true).open(path).expect("the journal can be written");
            let key = signer.clone();
            std::thread::spawn(move || write_batches(&lines, file, &key, linger));
        }
        Self { mode, head: Mutex::new(([0; 32], 0)), signer, writer }
    }

    /// Adds a record; what resolves when it is on disk, in the mode that waits for it.
    pub fn add(&self, admitted: &Admitted, usage: Usage) -> Option<oneshot::Receiver<()>> {
        if self.mode < Mode::Chain {
            return None;
        }
        let mut chain = self.head.lock().unwrap();
        let (previous, seq) = *chain;
        let record = Record {
            seq,
            ts_us: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64,
            tenant: admitted.tenant,
            model: &admitted.model,
            req_sha256: hex(&admitted.request_sha256),
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cost_micro: usage.cost_micro(),
            decision: "allow",
            prev: hex(&previous),
        };
        let mut bytes = serde_json::to_vec(&record).expect("a record is JSON");
        let head: Hash = Sha256::digest(&bytes).into();
        *chain = (head, seq + 1);
        if self.mode == Mode::Sign {
            let signature = hex(&self.signer.sign(&head).to_bytes());
            bytes.pop();
            bytes.extend_from_slice(format!(",\"sig\":\"{signature}\"}}").as_bytes());
        }
        bytes.push(b'\n');
        let (written, wait) = if self.mode == Mode::Durable {
            let (written, wait) = oneshot::channel();
            (Some(written), Some(wait))
        } else {
            (None, None)
        };
        self.writer.send(Line { bytes, head, written }).ok();
        wait
    }
}

fn write_batches(lines: &mpsc::Receiver<Line>, mut file: File, key: &SigningKey, linger: Duration) {
    while let Ok(first) = lines.recv() {
        if !linger.is_zero() {
            std::thread::sleep(linger);
        }
        let (mut bytes, mut head, mut waiting) = (first.bytes, first.head, Vec::from_iter(first.written));
        let mut count = 1;
        while let Some(line) = (count < BATCH_MAX).then(|| lines.try_recv().ok()).flatten() {
            bytes.extend(line.bytes);
            waiting.extend(line.written);
            head = line.head;
            count += 1;
        }
        let signature = hex(&key.sign(&head).to_bytes());
        let end = format!("{{\"batch\":{count},\"head\":\"{}\",\"sig\":\"{signature}\"}}\n", hex(&head));
        bytes.extend_from_slice(end.as_bytes());
        file.write_all(&bytes).expect("the journal can be written");
        file.sync_data().expect("the journal can be synced");
        for written in waiting {
            written.send(()).ok();
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
