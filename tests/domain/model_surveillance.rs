//! Grades over time.

use std::collections::BTreeSet;

use assay_domain::grade::{ExpectedLossPpt, Grade};
use assay_domain::surveillance::{
    GradeMove, Hysteresis, Outlook, Resolution, Watch, WatchMove, WatchTrigger, outlook, watch_step,
};

use crate::model_support::{methodology, vector};

#[test]
fn v15_hysteresis() {
    let methodology = methodology();
    let v15 = vector("V15_hysteresis");
    let mut state = Hysteresis {
        since_action_epochs: 100,
        ..Hysteresis::assigned(v15["start"].as_str().unwrap().parse().unwrap())
    };
    let mut found = Vec::new();
    for (day, loss) in v15["path_EL_ppt"].as_array().unwrap().iter().enumerate() {
        let loss = ExpectedLossPpt(loss.as_str().unwrap().parse().unwrap());
        let (next, action) = state.step(loss, &methodology.scale, &methodology.surveillance);
        state = next;
        match action {
            Some(GradeMove::Downgraded { to, .. }) => found.push((day, "downgrade", to)),
            Some(GradeMove::Upgraded { to, .. }) => found.push((day, "upgrade", to)),
            None => {}
        }
    }
    let actions = v15["actions"].as_array().unwrap();
    assert_eq!(found.len(), actions.len());
    for ((day, name, to), expected) in found.into_iter().zip(actions) {
        assert_eq!(u64::try_from(day).unwrap(), expected["day"].as_u64().unwrap());
        assert_eq!(name, expected["action"].as_str().unwrap());
        assert_eq!(to.letters(), expected["to"].as_str().unwrap());
    }
    assert_eq!(state.grade.letters(), v15["final"].as_str().unwrap());
}

#[test]
fn a_default_is_immediate_and_stays() {
    let methodology = methodology();
    let (state, action) = Hysteresis::assigned(Grade::Bbb).default_event();
    assert_eq!(action, Some(GradeMove::Downgraded { from: Grade::Bbb, to: Grade::D }));
    let mut later = state;
    for _ in 0..100 {
        let none = ExpectedLossPpt::ZERO;
        let (next, action) = later.step(none, &methodology.scale, &methodology.surveillance);
        assert_eq!(action, None);
        later = next;
    }
    assert_eq!(later.grade, Grade::D);
    assert_eq!(later.default_event().1, None);
}

#[test]
fn the_outlook_is_quick_to_darken_and_slow_to_brighten() {
    let parameters = methodology().surveillance;
    let outlook = |projections: &[Grade]| outlook(Grade::Bbb, projections, &parameters);
    assert_eq!(outlook(&[]), Outlook::Stable);
    assert_eq!(outlook(&[Grade::BbbP; 29]), Outlook::Stable);
    assert_eq!(outlook(&[Grade::BbbP; 30]), Outlook::Positive);
    let mut darkened = vec![Grade::BbbP; 40];
    darkened.push(Grade::BbbM);
    assert_eq!(outlook(&darkened), Outlook::Negative);
    darkened.push(Grade::BbbP);
    assert_eq!(outlook(&darkened), Outlook::Stable);
}

#[test]
fn a_watch_closes_after_21_clean_days_or_a_resolution() {
    let parameters = methodology().surveillance;
    let quiet = BTreeSet::new();
    let slash = BTreeSet::from([WatchTrigger::OperatorSlashed]);
    let step = |watch: Option<Watch>, epoch, triggers: &BTreeSet<WatchTrigger>| {
        watch_step(watch, epoch, triggers, Resolution::None, &parameters)
    };
    assert_eq!(step(None, 1, &quiet), (None, None));
    let (mut watch, opened) = step(None, 2, &slash);
    assert_eq!(opened, Some(WatchMove::Opened));
    for epoch in 3..23 {
        let (next, none) = step(watch, epoch, &quiet);
        assert_eq!(none, None);
        watch = next;
    }
    // The twentieth clean day is not enough, and a trigger starts the count again.
    let again = BTreeSet::from([WatchTrigger::SlasherUpdated]);
    let (mut watch, none) = step(watch, 23, &again);
    assert_eq!(none, None);
    assert_eq!(watch.as_ref().unwrap().triggers.len(), 2);
    for epoch in 24..44 {
        watch = step(watch, epoch, &quiet).0;
    }
    let resolved = watch_step(watch.clone(), 44, &slash, Resolution::Recorded, &parameters);
    assert_eq!(resolved, (None, Some(WatchMove::Closed)));
    assert_eq!(step(watch, 44, &quiet), (None, Some(WatchMove::Closed)));
}
