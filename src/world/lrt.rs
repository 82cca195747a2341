//! The made-up world's liquid restaking tokens: one that is covered, one that is not quite, and
//! one whose operators are slashed.
//!
//! Each speaks by the real ABIs of one protocol, through the manifest that reads that protocol on
//! mainnet; only the addresses are invented.

use alloy::dyn_abi::DynSolValue;
use alloy::primitives::{Address, I256, U256, bytes};
use assay_domain::{Event, LrtId, StakerId, StrategyId};
use serde_json::json;

use super::{ETH, WAD, World, WorldError, address, ether, operator, set};
use crate::chain::observe::Observed;

/// A token: its name, the protocol whose ABIs it speaks, and for each restaker its operator and
/// ether.
type Token = (&'static str, &'static str, &'static [(Option<usize>, u64)]);

/// Proven, undercovered, slashed.
const TOKENS: [Token; 3] = [
    ("River ETH", "etherfi", &[(Some(0), 31_000), (Some(2), 9_500), (None, 1_200)]),
    ("Meadow ETH", "swell", &[(Some(5), 6_400), (Some(2), 3_100)]),
    ("Heath ETH", "kelp", &[(Some(1), 14_800), (Some(4), 5_250), (Some(3), 2_600)]),
];

/// The day on which the tokens appear, and the days between two reports.
const LRT_DAY: u64 = 300;
const REPORT_DAYS: u64 = 7;

/// From then on the second token's oracle counts less than its holders are owed.
const UNDERCOVERED_FROM: u64 = 340;

/// The third token's restaker buys shares of a strategy that nobody prices until it is attested.
pub(super) const UNPRICED_DAY: u64 = 325;

/// The day on which an operator of the third token is slashed in front of everybody, and the day on
/// which the recipient takes what was slashed.
pub(super) const LOSS_DAY: u64 = 316;
pub(super) const RELEASED_DAY: u64 = 324;

/// The strategy that nobody prices at first.
pub(super) fn unpriced() -> StrategyId {
    StrategyId(address("strategy", 1))
}

fn restaker(token: usize, number: usize) -> Address {
    address("restaker", 10 * token + number)
}

fn who(address: Address) -> DynSolValue {
    DynSolValue::Address(address)
}

fn number(value: u64) -> DynSolValue {
    U256::from(value).into()
}

fn zero() -> DynSolValue {
    U256::ZERO.into()
}

/// What a token is worth on a day, wei: it grows by 3 % a year, and the third is slashed twice.
fn rate(token: usize, day: u64) -> U256 {
    let growth = WAD / 100 * 3 / 365 * day;
    let thousandths = match (token, day) {
        (2, 363..) => 33,
        (2, LOSS_DAY..) => 11,
        _ => 0,
    };
    U256::from(WAD / 100 * 102 + growth - WAD / 1_000 * thousandths)
}

fn worth(tokens: U256, rate: U256) -> U256 {
    tokens * rate / U256::from(WAD)
}

impl World {
    /// What the tokens say on a day.
    pub(super) fn lrt_day(&mut self, day: u64) -> Result<(), WorldError> {
        if day < LRT_DAY {
            return Ok(());
        }
        self.at(day, 20);
        if day == LRT_DAY {
            self.deploy_tokens()?;
        }
        if day == UNPRICED_DAY {
            self.buy_unpriced();
        }
        if (day - LRT_DAY).is_multiple_of(REPORT_DAYS) || day == super::DAYS {
            for token in 0..TOKENS.len() {
                self.prove_pods(token, day);
                self.report(token, day)?;
            }
        }
        Ok(())
    }

    /// What the tokens answer when they are asked for their `name()`.
    pub(super) fn token_names(&self) -> Vec<Observed> {
        let named = |(called, protocol, _): &Token| {
            let manifest = self.manifests.iter().find(|one| one.name == *protocol)?;
            let (name, input) = (format!("{called} (DEMO)"), bytes!("06fdde03"));
            let mut observed = Observed::from(Event::ViewObserved {
                name: format!("name of {called}"),
                contract: manifest.token?.0,
                input,
                answer: DynSolValue::String(name.clone()).abi_encode().into(),
            });
            observed.said["figures"] = json!([name]);
            Some(observed)
        };
        TOKENS.iter().filter_map(named).collect()
    }

    /// The token that speaks a protocol's ABIs.
    pub(super) fn token(&self, protocol: &str) -> Option<LrtId> {
        self.manifests.iter().find(|one| one.name == protocol)?.token
    }

    fn deploy_tokens(&mut self) -> Result<(), WorldError> {
        for (token, (_, protocol, restakers)) in TOKENS.iter().enumerate() {
            let addresses: Vec<_> = (0..restakers.len()).map(|n| restaker(token, n)).collect();
            match *protocol {
                "etherfi" => {
                    for node in &addresses {
                        let node = [who(*node)];
                        self.emit(protocol, "StakingManager", "EtherFiNodeDeployed", &node)?;
                    }
                    let guard = [number(300)];
                    self.emit(protocol, "EtherFiAdmin", "MaxNegativeRebaseBpsUpdated", &guard)?;
                }
                "swell" => {
                    for staker in &addresses {
                        let staker = [who(*staker)];
                        self.emit(protocol, "EigenLayerManager", "StakerCreated", &staker)?;
                    }
                    let guard = [zero(), (ether(1) / U256::from(50)).into()];
                    let event = "MaximumRepriceDifferencePercentageUpdated";
                    self.emit(protocol, "rswETH", event, &guard)?;
                }
                _ => {
                    let all = [DynSolValue::Array(addresses.iter().copied().map(who).collect())];
                    self.emit(protocol, "LRTDepositPool", "NodeDelegatorAddedinQueue", &all)?;
                    let guard = [(ether(1) / U256::from(100)).into()];
                    self.emit(protocol, "LRTOracle", "PricePercentageLimitUpdate", &guard)?;
                    let delay = [number(57_600)];
                    let manager = "LRTWithdrawalManager";
                    self.emit(protocol, manager, "WithdrawalDelayBlocksUpdated", &delay)?;
                    let buffer = [who(address("user", 0)), ether(1_800).into()];
                    self.emit(protocol, "LRTUnstakingVault", "EthReceived", &buffer)?;
                }
            }
            for ((with, _), staker) in restakers.iter().zip(addresses) {
                if let Some(with) = with {
                    let (staker, operator) = (StakerId(staker), operator(*with));
                    self.say(Event::StakerDelegated { staker, operator });
                }
            }
        }
        Ok(())
    }

    /// The balances of a token's pods are proven: as deposited, and a thousandth more each month.
    fn prove_pods(&mut self, token: usize, day: u64) {
        for (number, (with, deposited)) in TOKENS[token].2.iter().enumerate() {
            let staker = restaker(token, number);
            let shares =
                ether(*deposited) + ether(*deposited) * U256::from(day) / U256::from(30_000);
            let before = self.pods.insert(staker, shares).unwrap_or_default();
            let staker = StakerId(staker);
            let new_total_shares = I256::from_raw(shares);
            self.say(Event::NewTotalShares { pod_owner: staker, new_total_shares });
            if let Some(with) = with {
                let (operator, strategy) = (operator(*with), StrategyId(ETH));
                let shares = shares - before;
                self.say(Event::OperatorSharesIncreased { operator, staker, strategy, shares });
            }
        }
    }

    /// What stands in a token's pods, if nothing had been slashed.
    fn in_pods(&self, token: usize) -> U256 {
        let restakers = (0..TOKENS[token].2.len()).map(|number| restaker(token, number));
        restakers.filter_map(|staker| self.pods.get(&staker)).sum()
    }

    /// A report of a protocol, somebody who redeems, and what the token trades at.
    fn report(&mut self, token: usize, day: u64) -> Result<(), WorldError> {
        let (_, protocol, _) = TOKENS[token];
        let (rate, last, week) = (rate(token, day), rate(token, day - 1), day / REPORT_DAYS);
        let tokens = self.in_pods(token) * U256::from(WAD) / rate;
        let user = who(address("user", usize::try_from(week).unwrap_or_default()));
        let waiting: DynSolValue = ether(20 + week).into();
        let mut price = rate;
        match protocol {
            "etherfi" => {
                let owed = worth(tokens, rate) / U256::from(1_000) * U256::from(999);
                let totals = [owed.into(), tokens.into()];
                self.emit(protocol, "LiquidityPool", "Rebase", &totals)?;
                let requests = "WithdrawRequestNFT";
                for (event, request) in
                    [("WithdrawRequestCreated", week + 1), ("WithdrawRequestClaimed", week)]
                {
                    let request = DynSolValue::Uint(U256::from(request), 32);
                    let request = [request, waiting.clone(), waiting.clone(), user.clone()];
                    self.emit(protocol, requests, event, &request)?;
                }
            }
            "swell" => {
                let owed = worth(tokens, rate);
                let parts = if day < UNDERCOVERED_FROM { 1_001 } else { 993 };
                let counted = owed / U256::from(1_000) * U256::from(parts);
                let block = || number(self.block.number);
                let snapshot = [block(), zero(), zero(), zero(), tokens.into(), zero()];
                let reserves =
                    [block(), zero(), zero(), zero(), zero(), counted.into(), zero(), zero()];
                let reprice = [owed.into(), rate.into(), zero(), zero(), zero()];
                self.emit(protocol, "RepricingOracle", "SnapshotSubmittedV2", &snapshot)?;
                self.emit(protocol, "RepricingOracle", "ReservesRecordedV2", &reserves)?;
                self.emit(protocol, "rswETH", "Reprice", &reprice)?;
                let request = [number(week), waiting, zero(), zero(), zero(), user];
                self.emit(protocol, "rswEXIT", "WithdrawRequestCreated", &request)?;
            }
            _ => {
                let prices = [rate.into(), last.into()];
                self.emit(protocol, "LRTOracle", "RsETHPriceUpdate", &prices)?;
                let asset = who(Address::repeat_byte(0xee));
                let queued = [user, asset, waiting, zero()];
                let manager = "LRTWithdrawalManager";
                self.emit(protocol, manager, "AssetWithdrawalQueued", &queued)?;
                if day > 362 {
                    price = rate / U256::from(1_000) * U256::from(957);
                }
            }
        }
        self.trade(token, price)
    }

    /// What a token trades at; the feed has 8 decimals.
    fn trade(&mut self, token: usize, price: U256) -> Result<(), WorldError> {
        let feed = ["weETH/ETH feed", "rswETH/ETH feed", "rsETH/ETH feed"][token];
        let answer = I256::from_raw(price / U256::from(10_000_000_000_u64));
        let values = [answer.into(), number(self.block.number), number(self.block.timestamp)];
        self.emit("market-prices", feed, "AnswerUpdated", &values)
    }

    /// Shares of a strategy that an operator set can slash and nobody prices: its token cannot be
    /// rated any more.
    fn buy_unpriced(&mut self) {
        let (strategy, staker) = (unpriced(), StakerId(restaker(2, 0)));
        let (operator, operator_set) = (operator(1), set(0, 0));
        self.say(Event::StrategyAddedToOperatorSet { operator_set, strategy });
        self.say(Event::Deposit { staker, strategy, shares: ether(900) });
        self.say(Event::OperatorSharesIncreased { operator, staker, strategy, shares: ether(900) });
        self.say(Event::AllocationUpdated {
            operator,
            operator_set,
            strategy,
            magnitude: WAD / 20,
            effect_block: u32::try_from(self.block.number).unwrap_or(u32::MAX),
        });
    }
}
