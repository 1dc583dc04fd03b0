//! Reads of keys that memory does not know.
//!
//! Reads share statements: while one of a tenant is under way, everything else that is asked about its keys waits for the
//! next, so a thousand calls of one cold key cost a few reads. A tenant that is asked for unknown keys again and again
//! is read at a slow beat, so any number of made-up credentials costs a bounded number of reads; what its holders of good
//! keys pay for that is one beat, once per key.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bh_domain::keys::identity::{Identity, IdentityId};
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::tenant::{Nid, Scope};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::identities::IdentityRow;
use super::rows::{FoundKey, Row};
use crate::metrics::Metrics;
use crate::ports::{BoxFuture, KeyStore, StoreFault};

/// Ids of one read.
const READ_IDS_MAX: usize = 512;
/// Reads under way at once, each of another tenant's keys or of another kind.
const READS_MAX: usize = 4;
/// Questions that wait; whoever asks beyond that is told that the store does not answer.
const WAITING_MAX: usize = 65_536;
/// Keys not found within a second that a tenant is read for at once.
const ABSENT_PER_SECOND_MAX: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
/// The beat of reads beyond that.
const BEAT: Duration = Duration::from_millis(10);
/// Lines that are remembered although nobody stands in them.
const IDLE_LINES_MAX: usize = 4_096;

/// What was found, or that there is none; `Err` when the store did not answer.
type Answer<F> = Result<Option<F>, Unread>;

/// What is read by ids of keys, in lines of their own.
pub(super) trait Source: Send + Sync + 'static {
    /// Which line.
    type Place: Copy + Eq + Hash + Send + 'static;
    /// What is found.
    type Found: Clone + Send + Sync + 'static;
    /// Reads all of some ids of one place.
    fn read(
        &self,
        place: Self::Place,
        ids: Vec<KeyId>,
    ) -> BoxFuture<'static, Result<HashMap<KeyId, Self::Found>, StoreFault>>;
}

/// A store that did not answer; the log has the cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread;

/// A question that waits for a read.
struct Waiting<F> {
    ids: Vec<KeyId>,
    answer: oneshot::Sender<Answer<F>>,
}

/// Those who wait for the keys of one place.
struct Line<F> {
    waiting: Vec<Waiting<F>>,
    reading: bool,
    /// Keys not found since `since`.
    absent: usize,
    since: Instant,
    not_before: Instant,
}

impl<F> Line<F> {
    fn new(now: Instant) -> Self {
        Self { waiting: Vec::new(), reading: false, absent: 0, since: now, not_before: now }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty() && !self.reading && now >= self.since + SECOND
    }

    /// Takes as many questions as one read answers.
    fn take(&mut self) -> Vec<Waiting<F>> {
        let mut ids = 0;
        let fits = |question: &Waiting<F>| {
            ids += question.ids.len();
            ids <= READ_IDS_MAX
        };
        let count = self.waiting.iter().map(fits).take_while(|fits| *fits).count().max(1);
        let rest = self.waiting.split_off(count.min(self.waiting.len()));
        std::mem::replace(&mut self.waiting, rest)
    }

    /// Notes how many keys a read has not found.
    fn read(&mut self, absent: usize, now: Instant) {
        self.reading = false;
        if now >= self.since + SECOND {
            self.absent = 0;
            self.since = now;
        }
        self.absent += absent;
        if self.absent > ABSENT_PER_SECOND_MAX {
            self.not_before = now + BEAT;
        }
    }
}

/// Every line, and in which order those with questions are read: whoever fills one line does not hold up the others.
struct Lines<P, F> {
    of: HashMap<P, Line<F>>,
    order: VecDeque<P>,
    waiting: usize,
}

impl<P, F> Default for Lines<P, F> {
    fn default() -> Self {
        Self { of: HashMap::new(), order: VecDeque::new(), waiting: 0 }
    }
}

/// What to do next.
enum Next<P, F> {
    Read(P, Vec<Waiting<F>>),
    /// Nothing before that instant; `None`: not before somebody asks.
    Wait(Option<Instant>),
}

impl<P: Copy + Eq + Hash, F> Lines<P, F> {
    /// `false` when too many wait already.
    fn join(&mut self, place: P, question: Waiting<F>, now: Instant) -> bool {
        if self.waiting >= WAITING_MAX {
            return false;
        }
        if self.of.len() >= IDLE_LINES_MAX && !self.of.contains_key(&place) {
            self.of.retain(|_, line| !line.is_idle(now));
        }
        let line = self.of.entry(place).or_insert_with(|| Line::new(now));
        if line.waiting.is_empty() {
            self.order.push_back(place);
        }
        line.waiting.push(question);
        self.waiting += 1;
        true
    }

    fn next(&mut self, now: Instant) -> Next<P, F> {
        let mut soonest: Option<Instant> = None;
        for position in 0..self.order.len() {
            let Some(place) = self.order.get(position).copied() else { break };
            let Some(line) = self.of.get_mut(&place).filter(|line| !line.reading) else { continue };
            if line.not_before > now {
                soonest = Some(soonest.map_or(line.not_before, |soonest| soonest.min(line.not_before)));
                continue;
            }
            line.reading = true;
            let taken = line.take();
            let rest = !line.waiting.is_empty();
            self.waiting -= taken.len();
            self.order.remove(position);
            if rest {
                self.order.push_back(place);
            }
            return Next::Read(place, taken);
        }
        Next::Wait(soonest)
    }

    fn read(&mut self, done: Result<(P, usize), JoinError>, now: Instant) {
        match done {
            Ok((place, absent)) => {
                if let Some(line) = self.of.get_mut(&place) {
                    line.read(absent, now);
                }
            }
            // It cannot be told whose read broke off: all may read again.
            Err(_) => self.of.values_mut().for_each(|line| line.reading = false),
        }
    }
}

/// Reads for those who wait.
pub(super) struct Reads<S: Source> {
    source: Arc<S>,
    metrics: Arc<Metrics>,
    lines: Mutex<Lines<S::Place, S::Found>>,
    joined: Notify,
}

impl<S: Source> Reads<S> {
    pub(super) fn new(source: S, metrics: Arc<Metrics>) -> Self {
        Self { source: Arc::new(source), metrics, lines: Mutex::default(), joined: Notify::new() }
    }

    /// Reads what is kept under one of these ids: the first of them that there is.
    pub(super) async fn read(&self, place: S::Place, ids: Vec<KeyId>) -> Answer<S::Found> {
        let (answer, told) = oneshot::channel();
        let joined = self.lines.lock().join(place, Waiting { ids, answer }, Instant::now());
        if !joined {
            tracing::warn!(waiting = WAITING_MAX, "too many keys wait to be read");
            return Err(Unread);
        }
        self.joined.notify_one();
        told.await.unwrap_or(Err(Unread))
    }

    /// Answers questions, for as long as it is polled. One task runs this.
    pub(super) async fn run(&self) {
        let mut reads = JoinSet::new();
        loop {
            let full = reads.len() >= READS_MAX;
            let next = if full { Next::Wait(None) } else { self.lines.lock().next(Instant::now()) };
            let until = match next {
                Next::Read(place, waiting) => {
                    self.metrics.keys.reads.inc();
                    reads.spawn(answer(Arc::clone(&self.source), place, waiting));
                    continue;
                }
                Next::Wait(until) => until,
            };
            tokio::select! {
                () = self.joined.notified() => {}
                Some(done) = reads.join_next() => self.lines.lock().read(done, Instant::now()),
                () = at(until) => {}
            }
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Reads all ids of some questions at once, and answers each. How many found nothing.
async fn answer<S: Source>(
    source: Arc<S>,
    place: S::Place,
    waiting: Vec<Waiting<S::Found>>,
) -> (S::Place, usize) {
    let mut ids: Vec<KeyId> = waiting.iter().flat_map(|question| question.ids.iter().cloned()).collect();
    ids.sort_unstable();
    ids.dedup();
    let read = source.read(place, ids).await.map_err(|fault| {
        tracing::error!(error = &fault as &dyn std::error::Error, "keys were not read");
        Unread
    });
    let mut absent = 0;
    for question in waiting {
        let found = read.as_ref().map(|read| of_question(&question.ids, read));
        absent += usize::from(matches!(found, Ok(None)));
        // Whoever asked may be gone.
        let _gone = question.answer.send(found.map_err(|unread| *unread));
    }
    (place, absent)
}

/// Rows of keys, with whom they belong to.
pub(super) struct KeyRows(pub(super) Arc<dyn KeyStore>);

impl Source for KeyRows {
    type Place = (Nid, KeyKind);
    type Found = FoundKey;

    fn read(
        &self,
        (nid, kind): Self::Place,
        ids: Vec<KeyId>,
    ) -> BoxFuture<'static, Result<HashMap<KeyId, FoundKey>, StoreFault>> {
        let read = self.0.keys_with_identities(Scope::tenant(nid), kind, ids);
        Box::pin(async move { read.await.map(found) })
    }
}

/// Keys as they are kept in memory. Those of one identity share it.
fn found(keys: Vec<(Key, Option<Identity>)>) -> HashMap<KeyId, FoundKey> {
    let mut identities: HashMap<IdentityId, Arc<IdentityRow>> = HashMap::new();
    let mut shared = |identity: Identity| {
        let row = identities.entry(identity.id).or_insert_with(|| Arc::new(IdentityRow::new(identity)));
        Arc::clone(row)
    };
    let of = |(key, identity): (Key, Option<Identity>)| {
        (key.key_id.clone(), FoundKey { identity: identity.map(&mut shared), row: Arc::new(Row::new(key)) })
    };
    keys.into_iter().map(of).collect()
}

/// What answers a question: the likeliest. A key that is here under several hashes is told of, because to revoke it means
/// to revoke each.
fn of_question<F: Clone>(ids: &[KeyId], read: &HashMap<KeyId, F>) -> Option<F> {
    let mut there = ids.iter().filter(|id| read.contains_key(*id));
    let first = there.next()?;
    if let Some(silent) = there.next() {
        tracing::warn!(answers = %first, %silent, "a key was imported twice, as itself and as its hash");
    }
    read.get(first).cloned()
}

#[cfg(test)]
mod tests;
