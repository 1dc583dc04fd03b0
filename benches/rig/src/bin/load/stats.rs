//! What a run counts.

use hdrhistogram::Histogram;
use std::cell::RefCell;

pub(crate) struct Stats {
    pub(crate) lat: Histogram<u64>,
    pub(crate) ttft: Histogram<u64>,
    pub(crate) ok: u64,
    pub(crate) bad: u64,
    pub(crate) io: u64,
    pub(crate) events: u64,
    pub(crate) reads: u64,
    pub(crate) bytes: u64,
    pub(crate) last_bad: String,
    /// Streams whose first event has come and whose end has not: now, and at most.
    pub(crate) open: u64,
    pub(crate) open_max: u64,
}

impl Stats {
    pub(crate) fn fresh() -> Self {
        let h = || Histogram::new_with_bounds(1, 120_000_000_000, 3).unwrap();
        Self {
            lat: h(),
            ttft: h(),
            ok: 0,
            bad: 0,
            io: 0,
            events: 0,
            reads: 0,
            bytes: 0,
            last_bad: String::new(),
            open: 0,
            open_max: 0,
        }
    }
}

/// Counts a stream as open, from its first event until it is dropped.
pub(crate) struct Open<'a>(&'a RefCell<Stats>);

impl<'a> Open<'a> {
    pub(crate) fn new(st: &'a RefCell<Stats>) -> Self {
        let mut s = st.borrow_mut();
        s.open += 1;
        s.open_max = s.open_max.max(s.open);
        Self(st)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().open -= 1;
    }
}

pub(crate) fn hist(h: &Histogram<u64>) -> serde_json::Value {
    let q = |p: f64| (h.value_at_quantile(p) as f64) / 1000.0;
    serde_json::json!({"n": h.len(), "mean": h.mean() / 1000.0, "min": h.min() as f64 / 1000.0, "p50": q(0.5), "p90": q(0.9), "p99": q(0.99), "p999": q(0.999), "max": h.max() as f64 / 1000.0})
}
