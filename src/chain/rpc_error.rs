//! What a provider's refusal means. Pure; the wordings are those of real providers.

use std::time::Duration;

use super::source::Limit;

/// Why a single request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Too much at once.
    TooLarge { message: String, limit: Limit },
    /// The answer took too long or was cut off: perhaps too much at once, perhaps bad luck.
    Cut { message: String },
    /// Asked too often.
    RateLimited { message: String, wait: Option<Duration> },
    /// Worth another try.
    Transient { message: String },
    /// Will not be answered.
    Refused { message: String },
}

impl CallError {
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::TooLarge { message, .. }
            | Self::Cut { message }
            | Self::RateLimited { message, .. }
            | Self::Transient { message }
            | Self::Refused { message } => message,
        }
    }
}

/// Words of providers that count requests.
const RATE_WORDS: &[&str] = &[
    "rate limit",
    "too many requests",
    "request count exceeded",
    "requests per second",
    "compute units per second",
    "throughput",
    "capacity exceeded",
];

/// Words of providers that limit blocks or logs.
const SIZE_WORDS: &[&str] = &[
    "block range",
    "range limit",
    "range is too",
    "range too",
    "ranges over",
    "returned more than",
    "more than 10000",
    "max results",
    "too many results",
    "too many logs",
    "too many blocks",
    "response size",
    "response too large",
    "size exceeded",
    "limit exceeded",
    "query timeout",
    "timed out",
    "timeout",
];

/// JSON-RPC errors that no repetition cures: no such method, no such parameters.
const HOPELESS_CODES: &[i64] = &[-32600, -32601, -32602];

/// The error most providers use for every kind of limit.
const LIMIT_CODE: i64 = -32005;

/// What a JSON-RPC error means. `from` and `to` are the blocks asked for, where it was a range.
pub(crate) fn classify(code: i64, message: &str, range: Option<(u64, u64)>) -> CallError {
    let lower = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let message = format!("error {code}: {}", shorten(message));
    if has(RATE_WORDS) || code == 429 {
        return CallError::RateLimited { message, wait: None };
    }
    if let Some((from, to)) = range
        && (has(SIZE_WORDS) || code == LIMIT_CODE)
    {
        return CallError::TooLarge { message, limit: limit(&lower, from, to) };
    }
    if code == LIMIT_CODE {
        return CallError::RateLimited { message, wait: None };
    }
    if HOPELESS_CODES.contains(&code) {
        return CallError::Refused { message };
    }
    CallError::Transient { message }
}

/// What an HTTP status means that is not success.
pub(crate) fn classify_status(status: u16, body: &str, wait: Option<Duration>) -> CallError {
    let message = format!("HTTP status {status}: {}", shorten(body));
    match status {
        429 => CallError::RateLimited { message, wait },
        413 => CallError::TooLarge { message, limit: Limit::Unknown },
        408 | 504 => CallError::Cut { message },
        503 if wait.is_some() => CallError::RateLimited { message, wait },
        400..=499 => CallError::Refused { message },
        _ => CallError::Transient { message },
    }
}

/// The range an error message says would work.
///
/// Forms seen: `Try with this block range [0x1, 0x2].`, `retry with the range 1-2`, `query exceeds
/// max block range 1000`, `limited to a 10,000 range`, `up to a 500 block range`.
fn limit(message: &str, from: u64, to: u64) -> Limit {
    let numbers = numbers(message);
    for pair in numbers.windows(2) {
        let [first, last] = pair else { continue };
        if first.value == from && (from..to).contains(&last.value) && last.start - first.end <= 4 {
            return Limit::ThisRange(last.value - from + 1);
        }
    }
    let asked = to - from + 1;
    let message = message.replace("eth_getlogs", "");
    let speaks_of_results = message.contains("result") || message.contains("logs");
    let speaks_of_range = message.contains("range") || message.contains("blocks");
    if speaks_of_range && !speaks_of_results {
        let mut fitting = numbers.iter().map(|number| number.value);
        if let Some(blocks) = fitting.find(|blocks| (1..asked).contains(blocks)) {
            return Limit::EveryRange(blocks);
        }
    }
    Limit::Unknown
}

struct Number {
    value: u64,
    start: usize,
    end: usize,
}

/// The numbers in a text: hex after `0x`, else decimal with or without thousands separators.
fn numbers(text: &str) -> Vec<Number> {
    let mut numbers = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(start) = rest.find(|c: char| c.is_ascii_digit()).map(|skip| at + skip) else {
            break;
        };
        let digits = text.get(start..).unwrap_or_default();
        let (radix, prefix) = if digits.starts_with("0x") { (16, 2) } else { (10, 0) };
        let digits = digits.get(prefix..).unwrap_or_default();
        let in_number = |c: char| c.is_digit(radix) || (radix == 10 && c == ',');
        let length = digits.find(|c: char| !in_number(c)).unwrap_or(digits.len());
        let written: String =
            digits.chars().take(length).filter(|character| *character != ',').collect();
        let end = start + prefix + length;
        if let Ok(value) = u64::from_str_radix(&written, radix) {
            numbers.push(Number { value, start, end });
        }
        at = end;
    }
    numbers
}

/// The start of a text, on one line.
pub(crate) fn shorten(text: &str) -> String {
    /// Characters of a provider's message that are shown.
    const SHOWN_CHARS: usize = 300;
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: i64, message: &str, expected: Limit) {
        match classify(code, message, Some((100, 5_000_099))) {
            CallError::TooLarge { limit, .. } => assert_eq!(limit, expected, "{message}"),
            other => panic!("{message}: {other:?}"),
        }
    }

    #[test]
    fn a_range_that_a_provider_names_is_understood() {
        check(
            -32005,
            "query returned more than 10000 results. Try with this block range [0x64, 0xc7].",
            Limit::ThisRange(100),
        );
        check(
            -32602,
            "query exceeds max results 20000, retry with the range 100-299",
            Limit::ThisRange(200),
        );
        check(-32602, "query exceeds max block range 1000", Limit::EveryRange(1000));
        check(-32614, "eth_getLogs is limited to a 10,000 range limit", Limit::EveryRange(10_000));
        check(-32600, "up to a 500 block range are allowed", Limit::EveryRange(500));
        check(-32000, "query timeout exceeded", Limit::Unknown);
        check(-32005, "query returned more than 10000 results", Limit::Unknown);
    }

    #[test]
    fn limits_on_requests_are_not_taken_for_limits_on_blocks() {
        let error = classify(-32005, "daily request count exceeded, request rate limited", None);
        assert!(matches!(error, CallError::RateLimited { .. }), "{error:?}");
        let error = classify(429, "exceeded its compute units per second capacity", Some((1, 9)));
        assert!(matches!(error, CallError::RateLimited { .. }), "{error:?}");
        assert!(matches!(classify(-32601, "no such method", None), CallError::Refused { .. }));
        assert!(matches!(classify(-32000, "header not found", None), CallError::Transient { .. }));
    }
}
