//! The walk over the shipped mainnet ledger: what was said before each real slash.

use std::sync::Arc;

use assay::backtest::{DAYS_BEFORE, svg, walk};
use assay::event_store::Batch;
use assay_domain::grade::Grade;
use assay_domain::methodology::Methodology;

use crate::ledger::ledger_facts;
use crate::support;

#[tokio::test]
async fn every_real_slash_is_told_with_what_was_said_before_it_and_nothing_later() {
    let database = support::database().await;
    let store = database.store().await;
    let facts = ledger_facts();
    let finalized = Some(facts.last().unwrap().block);
    let batch = Batch { chain_id: 1, facts, finalized, ..Batch::default() };
    store.append(&batch).await.unwrap();
    let walked = walk(&store, Arc::new(Methodology::version_1().unwrap())).await.unwrap();
    assert_eq!(walked.slashes.len(), 15);
    for slash in &walked.slashes {
        for days in DAYS_BEFORE {
            let Some(said) = slash.said[&days] else { continue };
            assert!(said.time + days * 86_400 <= slash.time, "{slash:?}");
            // Something was said each day, so the newest is at most a day older than asked for.
            assert!(said.time + (days + 2) * 86_400 > slash.time, "{slash:?}");
        }
    }
    // The first total loss, of the set that pays what it slashes to its own AVS: warned a week
    // before, and two notches worse than the sets without that warning.
    let first = walked.slashes.iter().find(|slash| slash.wad_slashed > 900_000_000_000_000_000);
    let said = first.unwrap().said[&7].unwrap();
    assert_eq!((said.grade, said.is_warned), (Some(Grade::CccM), true));
    assert_eq!(walked.months.first().unwrap().month, "2025-08");
    assert_eq!(walked.months.iter().map(|month| month.slashes).sum::<u32>(), 15);
    let report = walked.report();
    assert_eq!(report.forecasts, 0, "no forecast has its year behind it in this ledger");
    assert!(report.open_forecasts > 200);
    assert!(report.statements.iter().any(|statement| statement.contains("in-sample")));
    let bars: usize = walked.months.iter().map(|month| month.sets.len()).sum();
    assert_eq!(svg::population(&walked.months).matches("</title></rect>").count(), bars);
    // A walk changes nothing.
    assert_eq!(store.messages(0, u64::MAX).await.unwrap(), []);
    assert_eq!(store.last_rating_position().await.unwrap(), 0);
}
