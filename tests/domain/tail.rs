//! Loss blocks become the exact distribution.

use assay_domain::decimal::{Atto, Ppt};
use assay_domain::loss_block::{LossProfile, platform_block};
use assay_domain::operator_set::set_profile;
use assay_domain::tail::{ForcedSale, Run, Tail, loss_above_one_percent, loss_model};

use crate::model_support::{methodology, unknown_set};

/// A set of which nothing is known, with the platform under it, on a share of what is rated.
fn profile(share: Ppt) -> LossProfile {
    let methodology = methodology();
    let set = set_profile(&unknown_set(&methodology), &methodology);
    let blocks = set.blocks().iter().map(|block| block.clone().on(share));
    let platform = platform_block("eigenlayer", Atto::ONE, &methodology);
    LossProfile::settle(blocks.chain([platform]).collect())
}

#[test]
fn the_significant_loss_of_a_profile_is_that_of_its_distribution() {
    let methodology = methodology();
    let shares = [1, 7, 300, 4_321, 10_000, 250_000, 999_999].map(|share| Ppt(share * 1_000_000));
    for share in shares {
        let profile = profile(share);
        let model = loss_model(&profile, None, &methodology).unwrap();
        let whole = model.distribution().probability_above(100).to_ppt();
        let found = loss_above_one_percent(&profile, &methodology).0;
        assert!(found.abs_diff(whole) <= 1, "{share}: {found} and {whole}");
    }
}

#[test]
fn the_mean_of_the_distribution_is_the_sum_of_the_blocks() {
    let methodology = methodology();
    for share in [Ppt::ONE, Ppt(300_000_000_000), Ppt(7_654_321_098), Ppt(1_234_567)] {
        let profile = profile(share);
        let model = loss_model(&profile, None, &methodology).unwrap();
        assert_eq!(model.blocks().len(), profile.blocks().len());
        for (block, loss) in profile.blocks().iter().zip(model.losses_by_block()) {
            assert_eq!(block.id, loss.id.to_string());
            // On the grid a loss keeps its mean; its size is known to a ppt an atom.
            let mean = block.severity.times(block.exposure);
            let gap = loss.mean_loss.to_ppt().abs_diff(mean.0);
            assert!(gap <= 20, "{}: {} and {}", block.id, loss.mean_loss, mean);
            // Over the climate the probability is a little below that of a normal year.
            let mixed = loss.probability.to_ppt();
            assert!(mixed <= block.hazard.0 && mixed > block.hazard.0 / 2, "{}", block.id);
        }
    }
}

#[test]
fn a_run_makes_losses_above_the_guard_worse_and_no_other() {
    let methodology = methodology();
    let profile = profile(Ppt(500_000_000_000));
    let run = Run { guard: Ppt(30_000_000_000), redeemed: Ppt(200_000_000_000), forced: None };
    let plain = Tail::of(&loss_model(&profile, None, &methodology).unwrap(), 0);
    let worse = Tail::of(&loss_model(&profile, Some(run), &methodology).unwrap(), 0);
    assert!(worse.expected_loss > plain.expected_loss);
    let above = |tail: &Tail, bp: u16| tail.exceedance.iter().find(|one| one.0 == bp).unwrap().1;
    // Nothing changes up to the guard; a loss of half becomes 62.5 %.
    assert_eq!(above(&worse, 250), above(&plain, 250));
    assert!(above(&worse, 6_000) > above(&plain, 6_000));
    // What lenders sell from a loss of half on leaves too: half becomes 71.4 %, a tenth as before.
    let from = Ppt(500_000_000_000);
    let sale = Some(ForcedSale { share: Ppt(100_000_000_000), from });
    let sold = Run { forced: sale, ..run };
    let sold = Tail::of(&loss_model(&profile, Some(sold), &methodology).unwrap(), 0);
    assert!(sold.expected_loss > worse.expected_loss);
    assert!(above(&worse, 7_000) < above(&sold, 7_000));
    assert_eq!(above(&worse, 1_000), above(&sold, 1_000));
    let all = Run { guard: Ppt::ONE, ..run };
    assert_eq!(Tail::of(&loss_model(&profile, Some(all), &methodology).unwrap(), 0), plain);
}

#[test]
fn the_exact_significant_loss_is_below_the_bound_from_the_blocks() {
    let methodology = methodology();
    let profile = profile(Ppt::ONE);
    let one_percent = Ppt(10_000_000_000);
    let quiet = profile
        .blocks()
        .iter()
        .filter(|block| block.severity.times(block.exposure) > one_percent)
        .fold(Ppt::ONE, |quiet, block| quiet.times(block.hazard.complement()));
    let exact = loss_above_one_percent(&profile, &methodology);
    assert!(exact < quiet.complement() && exact > Ppt(quiet.complement().0 / 2));
}
