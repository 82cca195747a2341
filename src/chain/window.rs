//! The blocks that may still change, and the search for the point where two forks part. Pure.
//!
//! The window is a chain of headers, each the child of the one before, above an anchor that will
//! not change any more. Where it disagrees with a node, the fork point is the newest block both
//! know.

use std::collections::{BTreeMap, VecDeque};

use alloy::primitives::B256;
use assay_domain::BlockRef;

use crate::event_store::Header;

/// Headers kept. Two epochs (64 blocks) pass until finality; the chain once took a day (about
/// 7,200), and a revert of more is no reorg but a decision for a person.
pub const WINDOW_BLOCKS_MAX: usize = 8_192;

/// The chain of headers that may still change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    anchor: Option<BlockRef>,
    headers: VecDeque<Header>,
}

/// Where a window and a node's chain part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fork {
    /// They agree on the window's tip.
    None,
    /// They part above `to`; the node does not know the `orphaned` blocks, oldest first.
    Above {
        /// The newest block both know.
        to: BlockRef,
        /// Hashes of the window's blocks above it, oldest first.
        orphaned: Vec<B256>,
    },
    /// They agree on nothing, not even on the block below the window.
    Deeper {
        /// The lowest block compared, as the window has it.
        number: u64,
        /// Its hash there.
        expected: B256,
        /// Its hash at the node.
        found: B256,
    },
    /// The node did not say enough.
    Unknown,
}

/// A header that is not the child of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "block {number} has parent {found}, but block {previous} before it is {expected}; the headers \
     are not of one chain"
)]
pub struct BrokenLink {
    /// The block.
    pub number: u64,
    /// The block before it.
    pub previous: u64,
    /// Hash of the block before it.
    pub expected: B256,
    /// Hash that the block says its parent has.
    pub found: B256,
}

impl Window {
    /// A window above `anchor`; headers at or below the anchor are left out.
    pub fn new(anchor: Option<BlockRef>, headers: &[Header]) -> Result<Self, BrokenLink> {
        let mut window = Self { anchor, headers: VecDeque::new() };
        let above = anchor.map_or(0, |block| block.number + 1);
        for header in headers.iter().filter(|header| header.block.number >= above) {
            window.extend(*header)?;
        }
        Ok(window)
    }

    /// The newest block, be it the anchor.
    pub fn tip(&self) -> Option<BlockRef> {
        self.headers.back().map(|header| header.block).or(self.anchor)
    }

    /// The block with this number, be it the anchor.
    pub fn at(&self, number: u64) -> Option<BlockRef> {
        let anchor = self.anchor.filter(|block| block.number == number);
        let first = self.headers.front().map(|header| header.block.number);
        let index = first.and_then(|first| number.checked_sub(first));
        let header = index.and_then(|index| self.headers.get(usize::try_from(index).ok()?));
        header.map(|header| header.block).or(anchor)
    }

    /// Appends the child of the tip. The first header of an empty window may be any.
    pub fn extend(&mut self, header: Header) -> Result<(), BrokenLink> {
        if let Some(tip) = self.tip() {
            check_link(tip, &header)?;
        }
        self.headers.push_back(header);
        if self.headers.len() > WINDOW_BLOCKS_MAX {
            self.anchor = self.headers.pop_front().map(|header| header.block);
        }
        Ok(())
    }

    /// Takes back every block above `number`; returns their hashes, oldest first.
    pub fn revert_to(&mut self, number: u64) -> Vec<B256> {
        let keep = self.headers.partition_point(|header| header.block.number <= number);
        self.headers.split_off(keep).into_iter().map(|header| header.block.hash).collect()
    }

    /// Forgets everything up to a block that will not change any more.
    pub fn finalize(&mut self, block: BlockRef) {
        let above = self.headers.partition_point(|header| header.block.number <= block.number);
        self.headers.drain(..above);
        if self.anchor.is_none_or(|anchor| anchor.number < block.number) {
            self.anchor = Some(block);
        }
    }

    /// The blocks to ask a node for, to find where it parts from the window: from the block below
    /// the window to `latest`.
    pub fn numbers_to_compare(&self, latest: u64) -> Vec<u64> {
        let Some(tip) = self.tip() else { return Vec::new() };
        let oldest = self.headers.front().map_or(tip.number, |header| header.block.number);
        let below = if self.headers.is_empty() { oldest } else { oldest.saturating_sub(1) };
        (below..=tip.number.min(latest)).collect()
    }

    /// Where this window and a node's chain part. `theirs` answers
    /// [`Window::numbers_to_compare`].
    pub fn fork(&self, theirs: &BTreeMap<u64, Header>) -> Fork {
        let hash_of = |number: u64| theirs.get(&number).map(|header| header.block);
        for header in self.headers.iter().rev() {
            if hash_of(header.block.number).is_some_and(|block| block.hash == header.block.hash) {
                return self.fork_above(header.block);
            }
        }
        let (number, expected) = match (self.headers.front(), self.anchor) {
            (Some(oldest), _) => match oldest.block.number.checked_sub(1) {
                Some(number) => (number, oldest.parent_hash),
                None => return Fork::Unknown,
            },
            (None, Some(anchor)) => (anchor.number, anchor.hash),
            (None, None) => return Fork::None,
        };
        match hash_of(number) {
            Some(block) if block.hash == expected => self.fork_above(block),
            Some(block) => Fork::Deeper { number, expected, found: block.hash },
            None => Fork::Unknown,
        }
    }

    fn fork_above(&self, to: BlockRef) -> Fork {
        let above = self.headers.iter().filter(|header| header.block.number > to.number);
        let orphaned: Vec<_> = above.map(|header| header.block.hash).collect();
        if orphaned.is_empty() { Fork::None } else { Fork::Above { to, orphaned } }
    }
}

/// Checks that a header is the child of a block.
pub fn check_link(parent: BlockRef, child: &Header) -> Result<(), BrokenLink> {
    if child.block.number == parent.number + 1 && child.parent_hash == parent.hash {
        return Ok(());
    }
    Err(BrokenLink {
        number: child.block.number,
        previous: parent.number,
        expected: parent.hash,
        found: child.parent_hash,
    })
}
