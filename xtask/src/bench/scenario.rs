//! What is asked of every target, and where the answers are collected.

use std::collections::BTreeMap;

use super::options::Options;
use super::sample::{Keys, Load, Sample};

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    /// As fast as 64 connections go: CPU per request, requests per second.
    Peak,
    /// The same with prompts of 32 KiB.
    Large,
    /// One connection, everything on one core: the latency added, without the cost of waking another core.
    Single,
    /// 64 streams of 50 chunks, one each 10 ms: CPU per chunk.
    Streams,
    /// One stream after another: the time added to the first token.
    FirstToken,
}

impl Scenario {
    pub(super) const ALL: [Self; 5] =
        [Self::Peak, Self::Large, Self::Single, Self::Streams, Self::FirstToken];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Peak => "peak",
            Self::Large => "32 KiB",
            Self::Single => "single",
            Self::Streams => "streams",
            Self::FirstToken => "first token",
        }
    }

    /// Latencies only mean something beside the same request without a proxy, made in the same round.
    pub(super) fn is_paired(self) -> bool {
        match self {
            Self::Single | Self::FirstToken => true,
            Self::Peak | Self::Large | Self::Streams => false,
        }
    }

    /// Whether every key is used in turn. Streams are so few a second that ten thousand keys would rest longer between
    /// two calls than a gateway keeps money for them: that would measure first calls, not chunks.
    pub(super) fn rotates_keys(self) -> bool {
        match self {
            Self::Peak | Self::Large | Self::Single => true,
            Self::Streams | Self::FirstToken => false,
        }
    }

    /// The load to make, before its durations are scaled.
    pub(super) fn load<'a>(self, url: &'a str, keys: &'a Keys, options: &Options) -> Load<'a> {
        let (connections, seconds, stream, directive) = match self {
            Self::Peak => (64, 6.0, false, ""),
            Self::Large => (64, 4.0, false, ""),
            Self::Single => (1, 4.0, false, ""),
            Self::Streams => (64, 5.0, true, "rig:chunk_us=10000 "),
            Self::FirstToken => (1, 4.0, true, "rig:chunk_us=1000 "),
        };
        Load {
            url,
            keys,
            connections,
            seconds: seconds * options.scale,
            warm_up_s: 0.8 * options.scale.max(0.5),
            prompt_bytes: if self == Self::Large { 32 * 1024 } else { 600 },
            stream,
            directive,
            requests_max: None,
            rate: None,
        }
    }
}

/// One run of a target, and the run without a proxy it is paired with.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) sample: Sample,
    pub(super) direct: Option<Sample>,
}

/// Every run, by target (its index) and scenario, one for each round.
#[derive(Debug, Default)]
pub(super) struct Measured(BTreeMap<(usize, Scenario), Vec<Pair>>);

impl Measured {
    pub(super) fn add(&mut self, target: usize, scenario: Scenario, sample: Sample, direct: Option<&Sample>) {
        self.0.entry((target, scenario)).or_default().push(Pair { sample, direct: direct.cloned() });
    }

    /// The runs of one target in one scenario, by round.
    pub(super) fn of(&self, target: usize, scenario: Scenario) -> &[Pair] {
        self.0.get(&(target, scenario)).map_or(&[], Vec::as_slice)
    }
}
