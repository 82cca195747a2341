//! One allocation: how much of an operator's magnitude an operator set may slash, now and soon.

/// An allocation of one operator to one set in one strategy, magnitudes in 1e-18.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocation {
    current: u64,
    pending: Option<Pending>,
}

/// A change that is announced and not yet in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The magnitude from `effect_block` on.
    pub magnitude: u64,
    /// First block at which it holds.
    pub effect_block: u64,
}

impl Allocation {
    /// The magnitude in force at a block. A decrease bites only at its effect block (until then
    /// the whole old magnitude can be slashed); an increase cannot be slashed before its own.
    pub fn current_at(&self, block: u64) -> u64 {
        match self.pending {
            Some(pending) if pending.effect_block <= block => pending.magnitude,
            _ => self.current,
        }
    }

    /// The change still to come at a block.
    pub fn pending_at(&self, block: u64) -> Option<Pending> {
        self.pending.filter(|pending| pending.effect_block > block)
    }

    /// Folds an `AllocationUpdated`. One that is in force already sets the current magnitude and
    /// leaves a change still to come alone: a slash during a deallocation emits two events, the
    /// pending value with its effect block first, then the current one with this block.
    pub(super) fn update(&mut self, at: u64, magnitude: u64, effect_block: u64) {
        let pending = self.pending_at(at);
        if effect_block <= at {
            *self = Self { current: magnitude, pending };
        } else {
            let pending = Some(Pending { magnitude, effect_block });
            *self = Self { current: self.current_at(at), pending };
        }
    }
}
