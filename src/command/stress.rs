//! `assay stress`: what the ratings would be if something happened.

use alloy::primitives::Address;
use anyhow::{Context as _, bail};
use assay_domain::decimal::Ppt;
use assay_domain::grade::Grade;
use assay_domain::methodology::Methodology;
use assay_domain::rationale::percent;
use assay_domain::scenario::{
    Baseline, Effect, Scenario, Shock, StressSet, Targets, apply, effects,
};
use assay_domain::state::ChainState;
use assay_domain::{AvsId, ChainId, OperatorId, OperatorSetId, State};
use clap::Args;
use serde_json::{Map, Value, json};

use super::database::DatabaseArgs;
use super::progress::during;
use super::read::{self, ServerArgs};

/// Lines of a table; `--json` has all.
const LINES_MAX: usize = 40;

#[derive(Debug, Args)]
pub(super) struct StressArgs {
    /// Play only this one of the fixed scenarios; repeat for more [default: all of them].
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    #[command(flatten)]
    shocks: ShockArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// Print one JSON object with every figure; a server's answer as it is.
    #[arg(long)]
    json: bool,
}

/// What happens.
#[derive(Debug, Args)]
pub(super) struct ShockArgs {
    /// Slash an operator by a share of all its allocations.
    #[arg(long, value_name = "OPERATOR=PERCENT%")]
    slash: Vec<String>,
    /// Let the slasher of a set take everything.
    #[arg(long, value_name = "AVS:ID")]
    compromise: Vec<String>,
    /// A consensus bug in a client with this share of the validators.
    #[arg(long, value_name = "PERCENT%")]
    client_bug: Option<String>,
    /// Nobody can leave for so many days more.
    #[arg(long, value_name = "DAYS")]
    exits_stop: Option<u64>,
    /// Let the price that the log has of a strategy or token fall.
    #[arg(long, value_name = "ASSET=-PERCENT%")]
    price: Vec<String>,
    /// The chain, where the log has several.
    #[arg(long)]
    pub(super) chain_id: Option<ChainId>,
}

impl ShockArgs {
    fn read(&self) -> anyhow::Result<Vec<Shock>> {
        let mut shocks = Vec::new();
        for slash in &self.slash {
            let (operator, share) =
                slash.split_once('=').context("--slash wants OPERATOR=PERCENT%")?;
            shocks.push(Shock::OperatorsSlashed {
                operators: Targets::Named(vec![OperatorId(address(operator)?)]),
                share: share_of_percent(share)?,
            });
        }
        for set in &self.compromise {
            let set = operator_set(set)?;
            shocks.push(Shock::SlashersCompromised { sets: Targets::Named(vec![set]) });
        }
        if let Some(affected) = &self.client_bug {
            shocks.push(Shock::ClientBug { affected: share_of_percent(affected)? });
        }
        if let Some(days) = self.exits_stop {
            shocks.push(Shock::ExitsStopped { days });
        }
        for price in &self.price {
            let fall = price.split_once("=-").context("--price wants ASSET=-PERCENT%: it falls")?;
            let (asset, share) = (address(fall.0)?, share_of_percent(fall.1)?);
            shocks.push(Shock::PriceFallen { asset, share });
        }
        Ok(shocks)
    }

    /// The same as the API wants it; null where nothing happens.
    pub(super) fn input(&self) -> anyhow::Result<Value> {
        let (mut slash, mut compromise, mut price) = (Vec::new(), Vec::new(), Vec::new());
        let mut input = Map::new();
        for shock in self.read()? {
            match shock {
                Shock::OperatorsSlashed { operators: Targets::Named(operators), share } => {
                    slash.extend(operators.iter().map(|operator| {
                        json!({ "operator": operator.0, "sharePpt": share.0.to_string() })
                    }));
                }
                Shock::SlashersCompromised { sets: Targets::Named(sets) } => {
                    compromise.extend(
                        sets.iter().map(|set| json!({ "avs": set.avs.0, "operatorSetId": set.id })),
                    );
                }
                Shock::ClientBug { affected } => {
                    input.insert("clientBugPpt".to_owned(), json!(affected.0.to_string()));
                }
                Shock::ExitsStopped { days } => {
                    input.insert("exitsStoppedDays".to_owned(), json!(days));
                }
                Shock::PriceFallen { asset, share } => {
                    price.push(json!({ "asset": asset, "sharePpt": share.0.to_string() }));
                }
                Shock::OperatorsSlashed { .. } | Shock::SlashersCompromised { .. } => {}
            }
        }
        for (name, all) in [("slash", slash), ("compromise", compromise), ("price", price)] {
            if !all.is_empty() {
                input.insert(name.to_owned(), json!(all));
            }
        }
        Ok(if input.is_empty() { Value::Null } else { Value::Object(input) })
    }
}

impl StressArgs {
    fn scenarios(&self, shocks: Vec<Shock>, set: &StressSet) -> anyhow::Result<Vec<Scenario>> {
        if !shocks.is_empty() {
            return Ok(vec![Scenario::own(shocks)]);
        }
        if self.scenario.is_empty() {
            return Ok(set.scenarios.clone());
        }
        let find = |name: &String| {
            set.find(name).cloned().with_context(|| {
                let names: Vec<&str> = set.scenarios.iter().map(|s| s.name.as_str()).collect();
                format!("there is no scenario {name}; there are {}", names.join(", "))
            })
        };
        self.scenario.iter().map(find).collect()
    }
}

/// The chain asked for, or the only one.
pub(super) fn chain_of(
    state: &State,
    wanted: Option<ChainId>,
) -> anyhow::Result<(ChainId, &ChainState)> {
    let chain_id = match (wanted, state.chains.len()) {
        (Some(chain_id), _) => chain_id,
        (None, 1) => *state.chains.keys().next().context("the log is empty")?,
        (None, 0) => bail!("the log is empty"),
        (None, _) => bail!("the log has several chains; choose one with --chain-id"),
    };
    let chain = state.chains.get(&chain_id).context("the log holds nothing of that chain")?;
    Ok((chain_id, chain))
}

/// An operator set as `AVS:ID`.
pub(super) fn operator_set(text: &str) -> anyhow::Result<OperatorSetId> {
    let (avs, id) = text.split_once(':').context("an operator set is AVS:ID")?;
    let id = id.parse().with_context(|| format!("{id} is no operator set's number"))?;
    Ok(OperatorSetId { avs: AvsId(address(avs)?), id })
}

pub(super) fn address(text: &str) -> anyhow::Result<Address> {
    text.parse().with_context(|| format!("{text} is no address"))
}

pub(super) fn share_of_percent(text: &str) -> anyhow::Result<Ppt> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent = assay_domain::decimal::parse_scaled(number, 10)
        .with_context(|| format!("{text} is no percentage"))?;
    let share = u64::try_from(percent).ok().map(Ppt).filter(|share| *share <= Ppt::ONE);
    share.with_context(|| format!("{text} is above 100 %"))
}

pub(super) async fn run(database: &DatabaseArgs, args: StressArgs) -> anyhow::Result<()> {
    let shocks = args.shocks.read()?;
    if !shocks.is_empty() && !args.scenario.is_empty() {
        bail!("name fixed scenarios or shocks of your own, not both");
    }
    if args.server.is_remote() {
        let shocks = args.shocks.input()?;
        let source = args.server.open(database).await?;
        let chain_id = args.shocks.chain_id;
        return read::stress(source, chain_id, &args.scenario, shocks, args.json).await;
    }
    let set = StressSet::version_1().context("the embedded scenarios are wrong")?;
    let methodology = Methodology::version_1().context("the embedded methodology is wrong")?;
    let scenarios = args.scenarios(shocks, &set)?;
    let open = database.open().await?;
    let mut rater = open.rater().await?;
    during("folding the log", rater.catch_up()).await?;
    let state = rater.state().context("nothing was folded")?;
    let (chain_id, chain) = chain_of(state, args.shocks.chain_id)?;
    let baseline = Baseline::of(chain, chain_id, &methodology);
    let mut played = Vec::new();
    for scenario in scenarios {
        let stressed = apply(chain, chain_id, &scenario, &methodology)?;
        let effects = effects(chain, &baseline, &stressed, &methodology);
        played.push((scenario, effects));
    }
    if args.json {
        let scenarios: Vec<_> = played
            .iter()
            .map(|(scenario, effects)| {
                json!({ "name": scenario.name, "title": scenario.title,
                    "shocks": scenario.shocks, "effects": effects })
            })
            .collect();
        super::say(&serde_json::to_string(&json!({
            "chainId": chain_id,
            "block": chain.block_number,
            "methodologyHash": methodology.hash(),
            "stressVersion": set.version,
            "stressHash": set.hash,
            "scenarios": scenarios,
        }))?);
        return Ok(());
    }
    let hash = set.hash;
    super::say(&format!("block {}, stress scenarios {} ({hash})", chain.block_number, set.version));
    for (scenario, effects) in &played {
        say_effects(scenario, effects);
    }
    Ok(())
}

fn say_effects(scenario: &Scenario, effects: &[Effect]) {
    super::say(&format!("\n{}: {}", scenario.name, scenario.title));
    if effects.is_empty() {
        super::say("moves nothing that the log knows");
        return;
    }
    let mut table =
        super::table::table(&["entity", "lost", "before", "after", "EL before", "EL after"]);
    let grade = |grade: Option<Grade>| grade.map_or("NR".to_owned(), |grade| grade.to_string());
    for effect in effects.iter().take(LINES_MAX) {
        table.add_row([
            effect.entity.to_string(),
            effect.lost.map_or("unknown".to_owned(), |lost| format!("{} %", percent(lost.0))),
            grade(effect.grade_before),
            grade(effect.grade_after),
            format!("{} %", percent(effect.expected_loss_before.0)),
            format!("{} %", percent(effect.expected_loss_after.0)),
        ]);
    }
    super::say(&table.to_string());
    if effects.len() > LINES_MAX {
        super::say(&format!("and {} more: --json has all", effects.len() - LINES_MAX));
    }
}
