//! Values of options, as members of requests.

use std::io::Read as _;

use serde_json::{Map, Value, json};

use crate::cli::Failure;

/// The largest credential on standard input, line end and some room included.
const STDIN_BYTES_MAX: u64 = 16 * 1_024;
/// The text that stands for standard input.
const STDIN: &str = "-";
/// What stands behind a named limit that holds for each verification.
const AUTO: &str = ":auto";
/// The text that takes a limit away.
pub(super) const NONE: &str = "none";

/// `--scopes ""` is an empty list rather than a list of one empty word.
pub(super) fn words(words: &[String]) -> Value {
    words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect()
}

pub(super) fn object(option: &str, text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Failure::new(format!("{option}: expected a JSON object"))),
        Err(error) => Err(Failure::new(format!("{option}: not JSON: {error}"))),
    }
}

pub(super) fn rate_limit(text: &str) -> Result<Value, Failure> {
    if text == NONE {
        return Ok(Value::Null);
    }
    let wrong = || Failure::new("--rate-limit: expected a number and a time such as 100/60s, or none");
    let (quota, window) = text.split_once('/').ok_or_else(wrong)?;
    quota.parse::<u64>().map_err(|_| wrong())?;
    Ok(json!({ "quota": quota, "window": window, "unit": "requests" }))
}

pub(super) fn put<T: Into<Value>>(body: &mut Map<String, Value>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// A secret from the command line, or the first line of standard input.
pub(super) fn secret(text: &str) -> Result<String, Failure> {
    if text != STDIN {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    std::io::stdin().take(STDIN_BYTES_MAX).read_to_string(&mut read)?;
    Ok(read.lines().next().unwrap_or_default().to_owned())
}

/// `NAME=QUOTA/WINDOW[:UNIT][:auto]`. What the parts may be is the server's to say.
fn named_limit(text: &str) -> Option<Value> {
    let (name, rest) = text.split_once('=')?;
    let (quota, rest) = rest.split_once('/')?;
    let (rest, auto_apply) = rest.strip_suffix(AUTO).map_or((rest, false), |rest| (rest, true));
    let (window, unit) = rest.split_once(':').map_or((rest, None), |(window, unit)| (window, Some(unit)));
    let mut limit = json!({ "name": name, "quota": quota, "window": window, "auto_apply": auto_apply });
    if let Some(unit) = unit {
        limit["unit"] = unit.into();
    }
    [name, quota, window].iter().all(|part| !part.is_empty()).then_some(limit)
}

/// Named limits; `none` alone is an empty list.
pub(super) fn named_limits(texts: &[String]) -> Result<Value, Failure> {
    if matches!(texts, [text] if text == NONE) {
        return Ok(json!([]));
    }
    let wrong =
        "--limit: expected NAME=QUOTA/WINDOW[:UNIT][:auto] such as exports=10/1h:requests:auto, or none";
    texts.iter().map(|text| named_limit(text).ok_or_else(|| Failure::new(wrong))).collect()
}

/// Limits that a verification takes from: `NAME` or `NAME=COST`.
pub(super) fn limit_uses(texts: &[String]) -> Value {
    let taken = |text: &String| match text.split_once('=') {
        Some((name, cost)) => json!({ "name": name, "cost": cost }),
        None => json!({ "name": text }),
    };
    texts.iter().map(taken).collect()
}

/// `daily:AMOUNT` or `monthly:AMOUNT[@DAY]`.
pub(super) fn refill(text: &str) -> Result<Value, Failure> {
    let read = || {
        let (interval, rest) = text.split_once(':')?;
        let (amount, day) = rest.split_once('@').map_or((rest, None), |(amount, day)| (amount, Some(day)));
        let amount: u64 = amount.parse().ok()?;
        match (interval, day) {
            ("daily" | "monthly", None) => Some(json!({ "interval": interval, "amount": amount })),
            ("monthly", Some(day)) => {
                let day: u8 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
                Some(json!({ "interval": interval, "amount": amount, "day": day }))
            }
            _ => None,
        }
    };
    read().ok_or_else(|| {
        Failure::new("--refill: expected daily:AMOUNT or monthly:AMOUNT[@DAY] such as monthly:1000@31")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_limit_is_read_with_and_without_what_may_be_left_out() {
        let limit = |window: &str, auto: bool| json!({"name": "a", "quota": "2.5", "window": window, "auto_apply": auto});
        assert_eq!(named_limit("a=2.5/1h"), Some(limit("1h", false)));
        assert_eq!(named_limit("a=2.5/60s:auto"), Some(limit("60s", true)));
        let mut cost = limit("60s", true);
        cost["unit"] = json!("cost");
        assert_eq!(named_limit("a=2.5/60s:cost:auto"), Some(cost));
        for wrong in ["", "a", "a=5", "a=/1h", "=5/1h", "a=5/", "a=5/:cost"] {
            assert_eq!(named_limit(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_refill_is_read_or_refused() {
        let told = |text: &str| refill(text).ok();
        assert_eq!(told("daily:5"), Some(json!({"interval": "daily", "amount": 5})));
        assert_eq!(told("monthly:5"), Some(json!({"interval": "monthly", "amount": 5})));
        assert_eq!(told("monthly:5@31"), Some(json!({"interval": "monthly", "amount": 5, "day": 31})));
        for wrong in
            ["", "daily", "weekly:5", "daily:5@3", "monthly:5@32", "monthly:5@0", "monthly:-5", "daily:x"]
        {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }
}
