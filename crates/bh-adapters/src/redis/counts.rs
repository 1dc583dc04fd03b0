//! Counts of requests that replicas share in Redis.

use std::time::Duration;

use bh_app::ports::{SharedCounts, SharedFault, SharedLimit, SharedResult};
use redis::{Cmd, RedisError};

use super::Redis;

/// One step on the server: whoever is cut off in the middle has counted all of it or nothing, and leaves no count that
/// never ends.
const TAKE: &str = include_str!("take.lua");

/// An instant that stands for the server's clock, in tests.
type Instant = (u64, u64);

/// Counts in Redis.
#[derive(Clone, Debug)]
pub struct RedisCounts {
    redis: Redis,
    timeout: Duration,
}

impl RedisCounts {
    /// Counts on this server; each answer has the server's time limit.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        let timeout = redis.timeout;
        Self { redis, timeout }
    }

    fn ask(&self, command: Cmd) -> SharedResult<Vec<u64>> {
        let (mut manager, timeout) = (self.redis.manager.clone(), self.timeout);
        Box::pin(async move {
            // Over everything: finding the server and connecting are in it.
            match tokio::time::timeout(timeout, command.query_async(&mut manager)).await {
                Ok(answer) => answer.map_err(|error: RedisError| SharedFault(Box::new(error))),
                Err(elapsed) => Err(SharedFault(Box::new(elapsed))),
            }
        })
    }
}

impl SharedCounts for RedisCounts {
    fn take(&self, limits: Vec<SharedLimit>) -> SharedResult<Vec<u64>> {
        self.ask(command(&limits, None))
    }
}

fn command(limits: &[SharedLimit], at: Option<Instant>) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(TAKE).arg(limits.len());
    for SharedLimit { name, .. } in limits {
        command.arg(name);
    }
    for SharedLimit { limit, own_ns, .. } in limits {
        command.arg(limit.period_ns()).arg(limit.increment_ns()).arg(*own_ns);
    }
    if let Some((seconds, nanos)) = at {
        command.arg(seconds).arg(nanos);
    }
    command
}

#[cfg(test)]
mod tests {
    use bh_domain::limit::RateLimit;
    use proptest::prelude::*;

    use super::*;

    /// Longer than any test: what is compared here is arithmetic.
    const TIMEOUT: Duration = Duration::from_secs(30);
    const NOW_S: u64 = 1_795_000_000;
    const SECOND_NS: u64 = 1_000_000_000;

    fn counts(server: &bh_testkit::Redis) -> RedisCounts {
        let url = format!("redis://{}/0", server.address());
        RedisCounts::new(Redis::at(&url.into(), TIMEOUT).unwrap())
    }

    fn limit(name: &str, requests: u64, window_s: u64) -> SharedLimit {
        SharedLimit { name: name.to_owned(), limit: RateLimit::new(requests, window_s).unwrap(), own_ns: 0 }
    }

    /// Windows whose counts, in the server's own time, outlive a run.
    fn limits() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let window = prop_oneof![(1_u64..40, Just(3_600_u64)), (1_u64..60, Just(86_400_u64))];
        prop::collection::vec(window, 1..4)
    }

    /// Between requests: nothing, a moment, or a good part of an hour.
    fn steps() -> impl Strategy<Value = Vec<u64>> {
        let step = prop_oneof![Just(0), 1..2_000_u64, 0..1_000 * SECOND_NS];
        prop::collection::vec(step, 1..60)
    }

    #[test]
    fn redis_decides_as_memory_does() {
        let server = bh_testkit::Redis::private();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = std::cell::Cell::new(0);
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
        let counts = runtime.block_on(async { counts(&server) });
        let outcome = runner.run(&(limits(), steps(), 0..SECOND_NS), |(limits, steps, nanos)| {
            run.set(run.get() + 1);
            let named = |(index, (requests, window_s)): (usize, &(u64, u64))| {
                limit(&format!("run-{}:{index}", run.get()), *requests, *window_s)
            };
            let limits: Vec<SharedLimit> = limits.iter().enumerate().map(named).collect();
            let mut memory = vec![0_u64; limits.len()];
            let mut now_ns = NOW_S * SECOND_NS + nanos;
            for step in steps {
                now_ns += step;
                let at = (now_ns / SECOND_NS, now_ns % SECOND_NS);
                let told = runtime.block_on(counts.ask(command(&limits, Some(at)))).unwrap();
                let expected: Vec<u64> = memory.iter().map(|whole| whole.saturating_sub(now_ns)).collect();
                prop_assert_eq!(told, expected);
                let decide = |(limit, whole): (&SharedLimit, &u64)| limit.limit.decide(*whole, now_ns).1;
                let next: Option<Vec<u64>> = limits.iter().zip(&memory).map(decide).collect();
                memory = next.unwrap_or(memory);
            }
            Ok(())
        });
        outcome.unwrap();
    }

    #[test]
    fn a_server_that_has_lost_its_counts_is_told_what_the_asker_let_in() {
        let server = bh_testkit::Redis::private();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let whole = limit("hour", 4, 3_600);
        let used = SharedLimit { own_ns: 3 * whole.limit.increment_ns(), ..whole.clone() };
        runtime.block_on(async {
            let counts = counts(&server);
            assert_eq!(counts.take(vec![used.clone()]).await.unwrap(), [used.own_ns]);
            // What is counted there counts from then on, whatever a replica with less to tell says.
            let backlog = counts.take(vec![whole.clone()]).await.unwrap()[0];
            assert!(backlog > used.own_ns, "{backlog}");
            // What was let in while it did not answer counts too.
            let since = SharedLimit { own_ns: 5 * whole.limit.increment_ns(), ..whole.clone() };
            assert_eq!(counts.take(vec![since.clone()]).await.unwrap(), [since.own_ns]);
        });
    }

    /// Proves: CONN-26
    #[test]
    fn every_count_ends_by_itself_with_its_allowance_whole() {
        let server = bh_testkit::Redis::private();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limits = [limit("minute", 1_000, 60), limit("hour", 7, 3_600), limit("day", 1_000_000, 86_400)];
        runtime.block_on(async {
            let counts = counts(&server);
            for _ in 0..9 {
                counts.take(limits.to_vec()).await.unwrap();
            }
        });
        let ends_in = |name: &str| -> i64 {
            String::from_utf8(server.ask(&["PTTL", name])).unwrap().trim().parse().unwrap()
        };
        // Seven were let in; the last two found no room and left no trace in the other windows.
        assert!((3_000_000..=3_600_000).contains(&ends_in("hour")), "{}", ends_in("hour"));
        for (name, most_ms) in [("minute", 7 * 60), ("day", 7 * 87)] {
            assert!(
                (-2..=most_ms).contains(&ends_in(name)) && ends_in(name) != -1,
                "{name}: {}",
                ends_in(name)
            );
        }
    }
}
