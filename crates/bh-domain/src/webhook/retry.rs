//! When a delivery that failed is tried again.

use std::time::Duration;

use jiff::fmt::rfc2822;

use crate::time::Timestamp;

/// Pauses after the first attempt, the second and so on, in seconds; the last one repeats.
const PAUSES_S: [u64; 6] = [5, 300, 1_800, 7_200, 18_000, 36_000];
/// A receiver's `Retry-After` counts up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A pause is lengthened by up to one part in so many, so that deliveries that failed together do not return together.
const JITTER_PART: u32 = 5;
/// A whole turn of the dice.
const DICE: u64 = 1 << 16;

/// How deliveries are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause; the others keep their proportion to it. 5 s by default.
    pub first: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(PAUSES_S[0]) }
    }
}

impl Backoff {
    /// The pause after the attempt with this number, counted from 1. `dice` is any random number, and `retry_after` what
    /// the receiver asked for: it is waited for at least.
    #[must_use]
    pub fn pause(&self, attempt: u32, dice: u16, retry_after: Option<Duration>) -> Duration {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(PAUSES_S.len() - 1);
        let units = u32::try_from(PAUSES_S[index] / PAUSES_S[0]).unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(units);
        let jitter_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / u64::from(JITTER_PART);
        let jitter = Duration::from_millis(jitter_ms.saturating_mul(u64::from(dice)) / DICE);
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        pause.saturating_add(jitter).max(asked)
    }
}

/// What a receiver's `Retry-After` asks for at `now`: a number of seconds, or an HTTP date.
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    Some(Duration::from_millis(u64::try_from(date.saturating_sub(now.0)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_ten_hours_and_are_never_shorter_than_asked() {
        let pauses = |backoff: Backoff| {
            [1, 2, 3, 4, 5, 6, 7, 20].map(|attempt| backoff.pause(attempt, 0, None).as_secs())
        };
        assert_eq!(pauses(Backoff::default()), [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 36_000]);
        let quick = Backoff { first: Duration::from_millis(10) };
        assert_eq!(quick.pause(2, 0, None), Duration::from_millis(600));
        let most = quick.pause(2, u16::MAX, None);
        assert!(most > Duration::from_millis(715) && most < Duration::from_millis(720), "{most:?}");
        assert_eq!(quick.pause(1, 0, Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(quick.pause(1, 0, Some(Duration::MAX)), RETRY_AFTER_MAX);
    }

    #[test]
    fn a_receiver_asks_in_seconds_or_with_a_date() {
        let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
        let cases = [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0)),
            ("soon", None),
            ("-3", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
