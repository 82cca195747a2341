//! Rows of liquid restaking tokens: rates, and what stands behind each assessment.

use assay_domain::Fact;
use assay_domain::canonical::CanonicalHead;
use assay_domain::lrt::{LrtOpinion, Place, Position, ReserveStatus};
use assay_domain::rating::Rating;
use assay_domain::state::ChainState;
use assay_domain::tail::Tail;
use serde_json::{Value, json};

use super::ReadModel;

pub(super) const RATE_COLUMNS: &str = "chain_id, token, position, block_number, block_time, \
    rate, is_stated, total_assets";
pub(super) const ASSESSMENT_COLUMNS: &str = "hash, nav, detail";
pub(super) const POSITION_COLUMNS: &str =
    "hash, ordinal, place, operator, avs, operator_set_id, strategy, value";

impl ReadModel {
    /// Writes down a token's rate where a fact changed it.
    pub(super) fn lrt_folded(&mut self, fact: &Fact, chain: &ChainState, head: CanonicalHead) {
        let Some(token) = fact.event.lrt() else { return };
        let Some(lrt) = chain.lrts.get(&token) else { return };
        let Some(rate) = lrt.rate else { return };
        let before = self.rates.insert((fact.chain_id, token), rate.wei);
        if before == Some(rate.wei) || head.position <= self.written_to {
            return;
        }
        self.tables
            .lrt_rates
            .integer(fact.chain_id)
            .bytes(token.0.as_slice())
            .integer(head.position)
            .integer(fact.block.number)
            .integer(fact.block.timestamp)
            .number(rate.wei)
            .boolean(rate.is_stated)
            .optional(lrt.stated_assets, |row, stated| row.number(stated.amount))
            .end();
    }

    /// Writes down what stands behind a token at an assessment that was never made before.
    pub(super) fn write_lrt(&mut self, rating: &Rating) {
        let Some(lrt) = &rating.lrt else { return };
        let hash = rating.assessment_hash;
        let tail = rating.verdict.as_ref().ok().and_then(|rated| rated.tail.as_ref());
        self.tables
            .lrt_assessments
            .bytes(hash.as_slice())
            .number(lrt.look_through.nav)
            .text(&detail(lrt, tail).to_string())
            .end();
        for (ordinal, position) in (0_u32..).zip(&lrt.look_through.positions) {
            self.write_position(hash.as_slice(), ordinal, position);
        }
    }

    fn write_position(&mut self, hash: &[u8], ordinal: u32, position: &Position) {
        let (place, operator, set, strategy) = match position.place {
            Place::Slashable { operator, operator_set, strategy } => {
                (1, Some(operator), Some(operator_set), Some(strategy))
            }
            Place::Unallocated { operator, strategy } => (2, Some(operator), None, Some(strategy)),
            Place::Undelegated { strategy } => (3, None, None, Some(strategy)),
            Place::Exiting { strategy } => (4, None, None, Some(strategy)),
            Place::Buffer => (5, None, None, None),
            Place::Unseen => (6, None, None, None),
        };
        self.tables
            .lrt_positions
            .bytes(hash)
            .integer(ordinal)
            .integer(place)
            .optional(operator, |row, operator| row.bytes(operator.0.as_slice()))
            .optional(set, |row, set| row.bytes(set.avs.0.as_slice()))
            .optional(set, |row, set| row.integer(set.id))
            .optional(strategy, |row, strategy| row.bytes(strategy.0.as_slice()))
            .number(position.value)
            .end();
    }
}

/// Figures as decimal text, so that no reader rounds them.
fn detail(lrt: &LrtOpinion, tail: Option<&Tail>) -> Value {
    let reserve = &lrt.reserve;
    let redemption = &lrt.liquidity.redemption;
    json!({
        "seen": lrt.look_through.seen.to_string(),
        "unpriced": lrt.look_through.unpriced,
        "reserve": {
            "status": status(reserve.status),
            "liabilities": reserve.liabilities.map(|owed| owed.to_string()),
            "assets": reserve.assets.to_string(),
            "coveragePpt": reserve.coverage.map(|share| share.0.to_string()),
            "stalePpt": reserve.stale_share.0.to_string(),
            "level": reserve.proof,
        },
        "liquidity": {
            "grade": lrt.liquidity.grade.number(),
            "daysGrade": lrt.liquidity.by_days.number(),
            "days": lrt.liquidity.days,
            "wanted": redemption.wanted.to_string(),
            "queued": redemption.queued.to_string(),
            "buffer": redemption.buffer.to_string(),
            "escrowed": redemption.escrowed.to_string(),
            "staked": redemption.staked.to_string(),
            "delayDays": redemption.delay_days,
            "isPaused": redemption.is_paused,
            "sale": lrt.liquidity.by_cost.map(|(grade, sale)| json!({
                "grade": grade.number(),
                "costPpt": sale.cost.0.to_string(),
                "depth": sale.depth.to_string(),
                "level": sale.level,
            })),
        },
        "lending": lrt.lending.map(|lending| json!({
            "loopedPpt": lending.looped.0.to_string(),
            "soldFromPpt": lending.sold_from.0.to_string(),
            "addedPpt": lrt.run.forced.map_or(0, |sale| sale.share.0).to_string(),
            "level": lending.level,
        })),
        "guardPpt": lrt.run.guard.0.to_string(),
        "redeemedPpt": lrt.run.redeemed.0.to_string(),
        "firstLoss": lrt.first_loss.as_ref().map(|reserve| json!({
            "wei": reserve.wei.to_string(),
            "bp": reserve.bp,
            "level": reserve.level,
            "bornePpt": reserve.borne.0.to_string(),
        })),
        "slashingLossPpt": lrt.slashing_loss.0.to_string(),
        "lossWithoutRunPpt": lrt.loss_without_run.0.to_string(),
        "marketOverValuePpt": lrt.market_over_value.map(|ratio| ratio.0.to_string()),
        "lossDays": lrt.loss_days,
        "worstWriteDownPpt": lrt.worst_write_down.0.to_string(),
        "distribution": tail.map(distribution),
    })
}

fn distribution(tail: &Tail) -> Value {
    let level = |(name, (at_risk, shortfall)): (&str, &(u16, assay_domain::decimal::Ppt))| {
        json!({
            "level": name,
            "valueAtRiskBp": at_risk,
            "expectedShortfallPpt": shortfall.0.to_string(),
        })
    };
    let names = ["0.95", "0.99", "0.999"];
    json!({
        "expectedLossPpt": tail.expected_loss.0.to_string(),
        "standardDeviationPpt": tail.standard_deviation.0.to_string(),
        "aboveOnePercentPpt": tail.above_one_percent.0.to_string(),
        "levels": names.into_iter().zip(&tail.levels).map(level).collect::<Vec<_>>(),
        "exceedance": tail.exceedance.iter().map(|(bp, above)| {
            json!({ "lossBp": bp, "probabilityPpt": above.0.to_string() })
        }).collect::<Vec<_>>(),
        "contributions": tail.contributions.iter().map(|(block, part)| {
            json!({ "block": block, "shortfallPpt": part.0.to_string() })
        }).collect::<Vec<_>>(),
        "afterReserve": tail.after_reserve.iter().map(|(bp, loss)| {
            json!({ "reserveBp": bp, "expectedLossPpt": loss.0.to_string() })
        }).collect::<Vec<_>>(),
        "worstBp": tail.worst,
        "hash": tail.pmf_hash,
    })
}

const fn status(status: ReserveStatus) -> &'static str {
    match status {
        ReserveStatus::Proven => "PROVEN",
        ReserveStatus::BelowFull => "BELOW_FULL",
        ReserveStatus::Insufficient => "INSUFFICIENT",
        ReserveStatus::Stale => "STALE",
        ReserveStatus::Absent => "ABSENT",
    }
}
