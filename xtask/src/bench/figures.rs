//! From runs to figures: medians with their spread, ratios to the floor.

use super::sample::Sample;
use super::scenario::{Measured, Pair, Scenario};

/// A median and the smallest and largest value beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// The spread of some values; `None` without any.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

/// One target's figures. `None` where a scenario failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) cpu_us: Option<Spread>,
    pub(super) requests_per_s: Option<Spread>,
    pub(super) added_p50_us: Option<Spread>,
    pub(super) added_p99_us: Option<Spread>,
    pub(super) large_cpu_us: Option<Spread>,
    pub(super) chunk_cpu_us: Option<Spread>,
    pub(super) added_first_token_us: Option<Spread>,
}

impl Figures {
    /// The figures of one target.
    pub(super) fn of(measured: &Measured, target: usize) -> Self {
        let runs = |scenario| valid(measured.of(target, scenario));
        let cpu_us = each(runs(Scenario::Peak), |s| s.cpu_us);
        let base = cpu_us.map_or(0.0, |spread| spread.median);
        Self {
            cpu_us,
            requests_per_s: each(runs(Scenario::Peak), |s| s.requests_per_s),
            added_p50_us: added(runs(Scenario::Single), |s| s.p50_us),
            added_p99_us: added(runs(Scenario::Single), |s| s.p99_us),
            large_cpu_us: each(runs(Scenario::Large), |s| s.cpu_us),
            // A stream costs what a request costs, and then so much for each chunk.
            chunk_cpu_us: each(runs(Scenario::Streams), |s| {
                (s.cpu_us - base) / s.events_per_request.max(1.0)
            }),
            added_first_token_us: added(runs(Scenario::FirstToken), |s| s.first_token_p50_us),
        }
    }
}

fn valid(pairs: &[Pair]) -> &[Pair] {
    if pairs.iter().any(|pair| pair.sample.is_invalid()) { &[] } else { pairs }
}

fn each(pairs: &[Pair], figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(pairs.iter().map(|pair| figure(&pair.sample)).collect())
}

/// What the target adds to the direct run of the same round.
fn added(pairs: &[Pair], figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
    let differences =
        pairs.iter().filter_map(|pair| Some(figure(&pair.sample) - figure(pair.direct.as_ref()?)));
    Spread::of(differences.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_with_its_edges() {
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), spread(2.0, 1.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn figures_are_paired_with_their_round_and_void_after_failures() {
        let sample = |p50_us, failed| Sample { p50_us, good: 100, failed, ..Sample::default() };
        let mut measured = Measured::default();
        measured.add(0, Scenario::Single, sample(30.0, 0), Some(&sample(10.0, 0)));
        measured.add(0, Scenario::Single, sample(50.0, 0), Some(&sample(20.0, 0)));
        measured.add(1, Scenario::Single, sample(50.0, 9), Some(&sample(20.0, 0)));
        assert_eq!(
            Figures::of(&measured, 0).added_p50_us,
            Some(Spread { median: 25.0, min: 20.0, max: 30.0 })
        );
        assert_eq!(Figures::of(&measured, 1).added_p50_us, None);
    }

    #[test]
    fn a_chunk_costs_what_the_stream_costs_beyond_one_request() {
        let sample = |cpu_us| Sample { cpu_us, events_per_request: 50.0, good: 1, ..Sample::default() };
        let mut measured = Measured::default();
        measured.add(0, Scenario::Peak, sample(15.0), None);
        measured.add(0, Scenario::Streams, sample(815.0), None);
        assert_eq!(Figures::of(&measured, 0).chunk_cpu_us.map(|s| s.median), Some(16.0));
    }
}
