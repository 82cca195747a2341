//! The address book: which contract lives where, on which chain.
//!
//! The built-in deployments are facts of the chains, in `deployments.toml`; further ones (a local
//! chain) can be given in the same form. An emitter that is in no deployment of the chain is not
//! EigenLayer, whatever its logs look like.

use alloy::primitives::Address;
use alloy::primitives::map::AddressMap;
use assay_domain::ChainId;
use serde::Deserialize;

use super::manifest::{Listed, Manifest, ManifestError};

/// The deployments Assay knows.
const BUILT_IN: &str = include_str!("deployments.toml");

/// A contract's role: it decides which events are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contract {
    /// Operators, delegation, withdrawals.
    DelegationManager,
    /// Operator sets, magnitudes, slashes.
    AllocationManager,
    /// Deposits of tokens.
    StrategyManager,
    /// Native restaking.
    EigenPodManager,
    /// A staker's validators: every contract that an EigenPodManager announced.
    EigenPod,
    /// Memberships before operator sets.
    AvsDirectory,
    /// Who may act for whom.
    PermissionController,
    /// Rewards; none of its events moves a rating.
    RewardsCoordinator,
    /// A contract that a manifest lists.
    Listed,
    /// One that has a say in what is slashed: of it is read who can change it.
    Named,
}

impl Contract {
    /// The name in EigenLayer's sources.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DelegationManager => "DelegationManager",
            Self::AllocationManager => "AllocationManager",
            Self::StrategyManager => "StrategyManager",
            Self::EigenPodManager => "EigenPodManager",
            Self::EigenPod => "EigenPod",
            Self::AvsDirectory => "AVSDirectory",
            Self::PermissionController => "PermissionController",
            Self::RewardsCoordinator => "RewardsCoordinator",
            Self::Listed => "listed contract",
            Self::Named => "named contract",
        }
    }
}

impl std::fmt::Display for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One deployment of EigenLayer's core contracts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// What it is called: `mainnet`, `holesky`, `preprod`.
    pub name: String,
    /// The chain it is on.
    pub chain_id: ChainId,
    /// The block of its first contract.
    pub start_block: u64,
    delegation_manager: Option<Address>,
    allocation_manager: Option<Address>,
    strategy_manager: Option<Address>,
    eigen_pod_manager: Option<Address>,
    avs_directory: Option<Address>,
    permission_controller: Option<Address>,
    rewards_coordinator: Option<Address>,
}

impl Deployment {
    /// Each contract with its address; a deployment need not have all.
    pub fn contracts(&self) -> impl Iterator<Item = (Contract, Address)> {
        [
            (Contract::DelegationManager, self.delegation_manager),
            (Contract::AllocationManager, self.allocation_manager),
            (Contract::StrategyManager, self.strategy_manager),
            (Contract::EigenPodManager, self.eigen_pod_manager),
            (Contract::AvsDirectory, self.avs_directory),
            (Contract::PermissionController, self.permission_controller),
            (Contract::RewardsCoordinator, self.rewards_coordinator),
        ]
        .into_iter()
        .filter_map(|(contract, address)| Some((contract, address?)))
    }
}

/// A list of deployments that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The text is not a list of deployments.
    #[error("deployments do not read as TOML")]
    Unreadable(#[from] toml::de::Error),
    /// Nothing is known of the chain. Give its deployments in a file.
    #[error("no deployment of EigenLayer is known on chain {chain_id}; known chains: {known}")]
    UnknownChain {
        /// The chain asked for.
        chain_id: ChainId,
        /// Those that are known.
        known: String,
    },
    /// A manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// One address is said to be two contracts.
    #[error("{address} is the {first} of one deployment and the {second} of another")]
    TwoRoles {
        /// The address.
        address: Address,
        /// Its first role.
        first: Contract,
        /// Its second role.
        second: Contract,
    },
}

/// Reads deployments: `[[deployment]]` tables as in `deployments.toml`.
pub fn parse_deployments(text: &str) -> Result<Vec<Deployment>, DeploymentError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        deployment: Vec<Deployment>,
    }
    Ok(toml::from_str::<File>(text)?.deployment)
}

/// All contracts of one chain, of all its deployments.
#[derive(Debug, Clone)]
pub struct Contracts {
    chain_id: ChainId,
    start_block: u64,
    deployments: Vec<String>,
    roles: AddressMap<Contract>,
    listed: Listed,
}

impl Contracts {
    /// The contracts of a chain that Assay knows, those of the manifests among them.
    pub fn of_chain(chain_id: ChainId) -> Result<Self, DeploymentError> {
        let core = Self::new(chain_id, &parse_deployments(BUILT_IN)?)?;
        core.with_manifests(Manifest::built_in()?)
    }

    /// The same with the contracts of these manifests. A core contract stays what it is.
    pub fn with_manifests(mut self, manifests: &[Manifest]) -> Result<Self, DeploymentError> {
        self.listed = Listed::new(self.chain_id, manifests);
        for address in self.listed.addresses() {
            if let Some(first) = self.roles.insert(address, Contract::Listed) {
                return Err(DeploymentError::TwoRoles { address, first, second: Contract::Listed });
            }
        }
        Ok(self)
    }

    /// The contracts of a chain, from a list of deployments of any chains.
    pub fn new(chain_id: ChainId, all: &[Deployment]) -> Result<Self, DeploymentError> {
        let here: Vec<_> = all.iter().filter(|one| one.chain_id == chain_id).collect();
        let Some(start_block) = here.iter().map(|one| one.start_block).min() else {
            let mut known: Vec<_> = all.iter().map(|one| one.chain_id).collect();
            known.sort_unstable();
            known.dedup();
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            return Err(DeploymentError::UnknownChain { chain_id, known: known.join(", ") });
        };
        let mut roles = AddressMap::default();
        for (second, address) in here.iter().flat_map(|one| one.contracts()) {
            match roles.insert(address, second) {
                Some(first) if first != second => {
                    return Err(DeploymentError::TwoRoles { address, first, second });
                }
                _ => {}
            }
        }
        let deployments = here.iter().map(|one| one.name.clone()).collect();
        Ok(Self { chain_id, start_block, deployments, roles, listed: Listed::default() })
    }

    /// The chain.
    pub const fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The first block that can hold a fact.
    pub const fn start_block(&self) -> u64 {
        self.start_block
    }

    /// Names of the deployments.
    pub fn deployments(&self) -> &[String] {
        &self.deployments
    }

    /// The contracts of the manifests.
    pub(crate) const fn listed(&self) -> &Listed {
        &self.listed
    }

    /// What an address is, if it is EigenLayer's or listed.
    pub fn role(&self, address: &Address) -> Option<Contract> {
        self.roles.get(address).copied()
    }

    /// Whether a contract of this role is among them.
    pub(crate) fn has(&self, role: Contract) -> bool {
        self.roles.values().any(|one| *one == role)
    }

    /// Every address, in order.
    pub fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<_> = self.roles.keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }
}
