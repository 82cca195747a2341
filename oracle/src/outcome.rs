//! What became of a report, judged by what the contract holds and what it logged.

use assay_domain::Word;

use crate::contract::SkipReason;
use crate::outbox::Outcome;

/// Seconds an improvement waits in the contract after the last stored rating (`UpdateRules`).
const DWELL_SECONDS: u64 = 6 * 3_600;

/// What became of one word: `None` if the chain contradicts its own log, which a node that lags
/// behind does.
pub(crate) fn judge(
    ours: Word,
    stored: Option<Word>,
    logged: Option<Option<SkipReason>>,
) -> Option<Outcome> {
    let is_rated = logged == Some(None);
    if stored.is_some_and(|stored| stored.as_signed() == ours) {
        return Some(Outcome::Rated);
    }
    if stored.is_some_and(|stored| stored.fields().seq >= ours.fields().seq) {
        return Some(if is_rated { Outcome::Rated } else { Outcome::Passed });
    }
    match logged {
        Some(None) | Some(Some(SkipReason::NotNewer)) => None,
        None => Some(Outcome::Released { retry_at: None }),
        Some(Some(SkipReason::Unfit(_))) => Some(Outcome::Refused),
        Some(Some(SkipReason::Future)) => {
            Some(Outcome::Released { retry_at: Some(ours.fields().as_of) })
        }
        Some(Some(SkipReason::Dwell)) => {
            let stored_at = stored
                .map_or(0, |stored| stored.fields().as_of.saturating_add(stored.lag().into()));
            Some(Outcome::Released { retry_at: Some(stored_at.saturating_add(DWELL_SECONDS)) })
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use assay_domain::{Flags, WordFields};

    use super::*;

    fn word(seq: u32) -> Word {
        let as_of = 1_000 + u64::from(seq);
        let (flags, log_pos) = (Flags::default(), seq.into());
        let (model, grade, score, pd, el) = (1, 7, 6_000, 5, 5);
        Word::new(WordFields { as_of, log_pos, seq, model, flags, grade, score, pd, el }).unwrap()
    }

    /// As the contract stores it, `lag` seconds later and suspended.
    fn stored(seq: u32, lag: u32) -> Option<Word> {
        let suspended: U256 = U256::from(0x80) << 88;
        Word::unpack(word(seq).pack() | U256::from(lag) << 192 | suspended).ok()
    }

    #[test]
    fn the_slot_decides_and_the_log_explains() {
        let later = |retry_at| Some(Outcome::Released { retry_at });
        let skipped = |reason| Some(Some(reason));
        let unfit = SkipReason::Unfit(9);
        for (slot, logged, expected) in [
            // It is there, whoever brought it.
            (stored(5, 12), Some(None), Some(Outcome::Rated)),
            (stored(5, 12), skipped(SkipReason::NotNewer), Some(Outcome::Rated)),
            (stored(5, 12), None, Some(Outcome::Rated)),
            // A newer one is there.
            (stored(6, 0), Some(None), Some(Outcome::Rated)),
            (stored(6, 0), skipped(SkipReason::NotNewer), Some(Outcome::Passed)),
            // An older one is there, or none.
            (stored(4, 10), skipped(unfit), Some(Outcome::Refused)),
            (stored(4, 10), skipped(SkipReason::Dwell), later(Some(1_014 + DWELL_SECONDS))),
            (stored(4, 10), skipped(SkipReason::Future), later(Some(1_005))),
            (None, None, later(None)),
            // The node lags behind itself.
            (stored(4, 10), Some(None), None),
            (None, skipped(SkipReason::NotNewer), None),
        ] {
            assert_eq!(judge(word(5), slot, logged), expected, "{slot:?} {logged:?}");
        }
    }
}
