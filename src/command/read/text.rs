//! How figures are written for people. What comes from a chain is never written raw.

use alloy::primitives::U256;
use assay_domain::rationale;
use assay_domain::text::is_plain;
use serde_json::Value;

/// Seconds between two blocks.
const BLOCK_SECONDS: u64 = 12;

/// A text whose every character can do no more than be read.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) {
            clean.push(character);
        } else {
            clean.extend(character.escape_unicode());
        }
    }
    clean
}

/// The same JSON, with every character that could steer a terminal escaped as JSON does it.
pub(crate) fn clean_json(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) || character == '\n' {
            clean.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                clean += &format!("\\u{unit:04x}");
            }
        }
    }
    clean
}

/// A string of the answer; empty where there is none.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map(clean).unwrap_or_default()
}

/// A word of the API's enumerations as people write it.
pub(super) fn word(value: &Value) -> String {
    text(value).to_lowercase().replace('_', " ")
}

/// Parts in 1e12 as a percentage; a dash where there is no figure.
pub(super) fn percent(value: &Value) -> String {
    match value.as_str().and_then(|ppt| ppt.parse::<i64>().ok()) {
        Some(ppt) => {
            let sign = if ppt < 0 { "−" } else { "" };
            format!("{sign}{} %", rationale::percent(ppt.unsigned_abs()))
        }
        None => "–".to_owned(),
    }
}

/// The difference of two shares in 1e12, in percentage points.
pub(super) fn percent_change(before: &Value, after: &Value) -> String {
    let number = |value: &Value| value.as_str().and_then(|ppt| ppt.parse::<i128>().ok());
    let Some((before, after)) = number(before).zip(number(after)) else { return "–".to_owned() };
    let change = u64::try_from((after - before).unsigned_abs()).unwrap_or(u64::MAX);
    let sign = if after < before { "−" } else { "+" };
    if change == 0 { "0".to_owned() } else { format!("{sign}{} pp", rationale::percent(change)) }
}

/// The grades at the ends of an interval.
pub(super) fn grades(interval: &Value) -> String {
    match interval.is_null() {
        true => "–".to_owned(),
        false => format!("{} .. {}", text(&interval["bestGrade"]), text(&interval["worstGrade"])),
    }
}

/// A whole number with its sign.
pub(super) fn signed(number: i64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:+}") }
}

/// Who gets what a set of an AVS slashes.
pub(super) fn recipient(recipient: &Value, avs: &Value) -> String {
    match recipient.as_str() {
        None => "burnt".to_owned(),
        Some(recipient) if avs.as_str().is_some_and(|avs| avs.eq_ignore_ascii_case(recipient)) => {
            "to the AVS itself".to_owned()
        }
        Some(recipient) => format!("to {}", super::sheet::name(recipient)),
    }
}

/// Parts per million as a percentage.
pub(super) fn percent_of_million(value: &Value) -> String {
    match value.as_u64() {
        Some(ppm) => format!("{} %", rationale::percent(ppm.saturating_mul(1_000_000))),
        None => "–".to_owned(),
    }
}

/// 1e-18 as a percentage.
pub(super) fn percent_of_wad(value: &Value) -> String {
    match value.as_str().and_then(|wad| wad.parse::<u128>().ok()) {
        Some(wad) => match u64::try_from(wad / 1_000_000) {
            Ok(ppt) => format!("{} %", rationale::percent(ppt)),
            Err(_) => "–".to_owned(),
        },
        None => "–".to_owned(),
    }
}

/// An amount with 18 decimals: whole ones above a hundred, else three significant digits.
pub(super) fn amount(value: &Value) -> String {
    let Some(wei) = value.as_str().and_then(|wei| wei.parse::<U256>().ok()) else {
        return "–".to_owned();
    };
    let unit = U256::from(10_u64.pow(18));
    match u64::try_from(wei / unit) {
        Ok(whole) if whole >= 100 => group(whole),
        // Below 100 units there are at most 1e20 parts: as a percentage of 100 it has three digits.
        Ok(_) => rationale::percent(u64::try_from(wei / U256::from(100_000_000_u64)).unwrap_or(0)),
        Err(_) => clean(value.as_str().unwrap_or_default()),
    }
}

/// `24,763,745` for a number.
pub(crate) fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The number of a block, in groups.
pub(super) fn block(value: &Value) -> String {
    value["number"].as_u64().map_or_else(|| "–".to_owned(), group)
}

/// `2026-03-29 14:05 UTC`.
pub(super) fn moment(time: &str) -> String {
    match time.get(..16) {
        Some(minute) if time.ends_with('Z') => format!("{} UTC", clean(&minute.replace('T', " "))),
        _ => clean(time),
    }
}

/// When a block was.
pub(super) fn time(block: &Value) -> String {
    block["time"].as_str().map_or_else(|| "–".to_owned(), moment)
}

/// Blocks as time, in the two largest units.
pub(super) fn blocks_as_time(blocks: u64) -> String {
    let minutes = blocks.saturating_mul(BLOCK_SECONDS) / 60;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `operator-set-1-0x12b75d5e…-0` for a slug, `0x12b75d5e…` for an address.
pub(crate) fn short(name: &str) -> String {
    let name = clean(name);
    match name.find("0x") {
        Some(start) if name.is_ascii() && name.len() >= start + 42 => {
            format!("{}…{}", &name[..start + 10], &name[start + 42..])
        }
        _ => name,
    }
}

/// Native ether by its name, any other strategy by its address.
pub(super) fn strategy(value: &Value) -> String {
    const BEACON_CHAIN_ETH: &str = "0xbeac0eeeeeeeeeeeeeeeeeeeeeeeeeeeeeebeac0";
    let address = text(value);
    if address.eq_ignore_ascii_case(BEACON_CHAIN_ETH) {
        "native ETH".to_owned()
    } else {
        short(&address)
    }
}

/// A loss block in words: its class, and what it concerns.
pub(crate) fn cause(block: &Value) -> String {
    let block = text(block);
    let (class, rest) = block.split_once('|').unwrap_or((&block, ""));
    let words = match class {
        "C1" | "C1w" => "signing faults",
        "C2" => "liveness slashes",
        "C3" => "slasher bugs",
        "C4" => "slasher authority",
        "C5" => "profitable corruption",
        "C6" => "base layer",
        "C7" => "platform contracts",
        "C8" => "token contracts",
        "reserve" => "first-loss reserve",
        "cap" | "CAP" => return format!("ceiling: {}", rest.replace('_', " ")),
        _ => return block,
    };
    words.to_owned()
}

/// What a loss block concerns, short.
pub(super) fn concerns(block: &Value) -> String {
    let block = text(block);
    let rest = block.split('|').skip(1).map(short).collect::<Vec<_>>();
    if block.to_lowercase().starts_with("cap") { String::new() } else { rest.join(" ") }
}

/// The block that drives a score most.
pub(super) fn main_driver(attribution: &Value) -> String {
    let blocks = attribution.as_array().into_iter().flatten();
    let most = blocks.filter(|one| one["points"].as_i64() > Some(0));
    most.max_by_key(|one| one["points"].as_i64())
        .map_or_else(String::new, |one| cause(&one["block"]))
}

/// Outlook and watch in a word or two.
pub(super) fn outlook(rating: &Value) -> String {
    let outlook = word(&rating["outlook"]);
    match rating["isWatchNegative"].as_bool() {
        Some(true) => format!("{outlook}, on watch").trim_start_matches(", ").to_owned(),
        _ if outlook.is_empty() => "–".to_owned(),
        _ => outlook,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_from_a_chain_steers_a_terminal() {
        assert_eq!(clean("a\u{1b}[2J\u{9b}1m\u{202e}b\n"), r"a\u{1b}[2J\u{9b}1m\u{202e}b\u{a}");
        let json = clean_json("{\"a\":\"\u{9b}1m \u{e0041}\"}\n");
        assert_eq!(json, "{\"a\":\"\\u009b1m \\udb40\\udc41\"}\n");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["a"], "\u{9b}1m \u{e0041}");
    }

    #[test]
    fn figures_have_three_digits() {
        let whole = format!("1{}", "0".repeat(18));
        for (wei, written) in [
            ("0", "0"),
            (whole.as_str(), "1"),
            ("1234567890000000000", "1.23"),
            ("99996000000000000000", "100"),
            ("118204000000000000000000", "118,204"),
            ("x", "–"),
        ] {
            assert_eq!(amount(&json!(wei)), written);
        }
        assert_eq!(percent_change(&json!("10000000000"), &json!("5000000000")), "−0.5 pp");
        assert_eq!(percent_of_wad(&json!("250000000000000000")), "25 %");
        assert_eq!(blocks_as_time(50_400), "7 d 0 h");
        assert_eq!(blocks_as_time(299), "59 min");
    }
}
