//! Grades and scores at the edges of the scale.

use assay_domain::decimal::Ppt;
use assay_domain::grade::{CredoraLetter, ExpectedLossPpt, Grade, MilliNotch};
use proptest::prelude::*;

use crate::model_support::{methodology, vector};

#[test]
fn v11_rating_scale() {
    let scale = methodology().scale;
    let v11 = vector("V11_rating_scale");
    for row in v11["table"].as_array().unwrap() {
        let grade: Grade = row["grade"].as_str().unwrap().parse().unwrap();
        let idealised: u64 = row["idealised_EL_ppt"].as_str().unwrap().parse().unwrap();
        assert_eq!(scale.idealised(grade), Some(ExpectedLossPpt(idealised)));
    }
    for row in v11["tests"].as_array().unwrap() {
        let loss = ExpectedLossPpt(row["EL_ppt"].as_str().unwrap().parse().unwrap());
        assert_eq!(scale.grade(loss).letters(), row["grade"].as_str().unwrap(), "{loss:?}");
        let score = scale.milli_notch(loss).0;
        assert_eq!(u64::from(score), row["milli_notch"].as_u64().unwrap(), "{loss:?}");
    }
}

#[test]
fn the_upper_bound_is_the_last_loss_of_a_grade() {
    let scale = methodology().scale;
    for grade in Grade::ALL {
        let Some(bound) = scale.upper_bound(grade) else {
            assert!(matches!(grade, Grade::CccM | Grade::D));
            continue;
        };
        assert_eq!(scale.grade(bound), grade);
        assert_eq!(scale.grade(ExpectedLossPpt(bound.0 + 1)), grade.one_worse());
    }
}

#[test]
fn letters_and_numbers_come_back() {
    for (grade, number) in Grade::ALL.into_iter().zip(1..) {
        assert_eq!(grade.number(), number);
        assert_eq!(Grade::from_number(number), Some(grade));
        assert_eq!(grade.to_string().parse(), Ok(grade));
        assert_eq!(borsh::to_vec(&grade).unwrap(), [number]);
        assert!(grade.to_string().is_ascii());
    }
    assert_eq!(Grade::from_number(0), None);
    assert_eq!(Grade::from_number(21), None);
    assert_eq!("NR".parse::<Grade>().ok(), None);
    assert!(borsh::from_slice::<Grade>(&[21]).is_err());
    assert_eq!(Grade::CccM.knot(), MilliNotch(18_000));
    assert_eq!(Grade::D.knot(), MilliNotch::DEFAULT_EVENT);
}

#[test]
fn the_credora_letter_answers_the_other_question() {
    let cases = [(0, "A+"), (999_999_999, "A+"), (1_000_000_000, "A"), (77_787_943_007, "C+")];
    for (psl, letters) in cases {
        assert_eq!(CredoraLetter::of(Ppt(psl)).letters(), letters);
    }
    assert_eq!(CredoraLetter::of(Ppt::ONE), CredoraLetter::D);
}

proptest! {
    #[test]
    fn more_loss_is_never_a_better_grade_or_score(
        a in 0..=1_000_000_000_000_u64,
        b in 0..=1_000_000_000_000_u64,
    ) {
        let scale = methodology().scale;
        let (low, high) = (ExpectedLossPpt(a.min(b)), ExpectedLossPpt(a.max(b)));
        prop_assert!(scale.grade(low) <= scale.grade(high));
        prop_assert!(scale.milli_notch(low) <= scale.milli_notch(high));
    }
}
