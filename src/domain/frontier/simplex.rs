//! The simplex method on a dense tableau of exact fractions, with Bland's rule, in two phases.
//!
//! Bland's rule never cycles, exact fractions never stray, so the answer is the answer. Both cost
//! time: this is for vectors and small portfolios.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a tableau is indexed by row and column, both below lengths set in `Tableau::new`"
)]

use super::{FrontierError, TABLEAU_MAX};
use crate::ratio::{Ratio, RatioError};

/// min c·x subject to A x = b, x ≥ 0.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// One cost a column.
    pub(super) costs: Vec<Ratio>,
    rows: Vec<Vec<Ratio>>,
    right: Vec<Ratio>,
}

/// The best values, and the price of each row.
#[derive(Clone, Debug)]
pub(super) struct Optimum {
    pub(super) objective: Ratio,
    pub(super) values: Vec<Ratio>,
    pub(super) prices: Vec<Ratio>,
}

struct Tableau {
    columns: usize,
    /// Structural columns, then one artificial a row, then the right side.
    rows: Vec<Vec<Ratio>>,
    basis: Vec<usize>,
    /// Rows that were negated to make the right side non-negative.
    flipped: Vec<bool>,
}

impl Program {
    pub(super) fn new(columns: usize) -> Self {
        Self { costs: vec![Ratio::ZERO; columns], rows: Vec::new(), right: Vec::new() }
    }

    /// Adds a row by its entries that are not zero, each column named once.
    pub(super) fn row(&mut self, entries: impl IntoIterator<Item = (usize, Ratio)>, right: Ratio) {
        let mut row = vec![Ratio::ZERO; self.costs.len()];
        for (column, value) in entries {
            row[column] = value;
        }
        self.rows.push(row);
        self.right.push(right);
    }

    pub(super) fn cost(&mut self, column: usize, cost: Ratio) {
        self.costs[column] = cost;
    }
}

/// The optimum; `None` if no values satisfy the rows, or the objective has no lower end.
pub(super) fn minimise(program: &Program) -> Result<Option<Optimum>, FrontierError> {
    let (m, n) = (program.rows.len(), program.costs.len());
    let found = m.saturating_mul(n + m + 1);
    if found > TABLEAU_MAX {
        return Err(FrontierError::TooLarge { found });
    }
    let mut tableau = Tableau::new(program);
    let mut artificial = vec![Ratio::ZERO; n];
    artificial.extend(vec![Ratio::ONE; m]);
    let Some(reduced) = tableau.run(&artificial, n + m)? else { return Ok(None) };
    if !reduced[n + m].is_zero() {
        return Ok(None);
    }
    tableau.drop_artificials()?;
    let mut costs = program.costs.clone();
    costs.extend(vec![Ratio::ZERO; m]);
    let Some(reduced) = tableau.run(&costs, n)? else { return Ok(None) };
    let mut values = vec![Ratio::ZERO; n + m];
    for (row, &column) in tableau.rows.iter().zip(&tableau.basis) {
        values[column] = row[n + m];
    }
    values.truncate(n);
    // An artificial column is a unit column of cost zero, so its reduced cost is minus the price.
    let prices = (0..m).map(|i| {
        let price = reduced[n + i].negated();
        if tableau.flipped[i] { price.negated() } else { price }
    });
    Ok(Some(Optimum { objective: reduced[n + m].negated(), values, prices: prices.collect() }))
}

impl Tableau {
    fn new(program: &Program) -> Self {
        let (m, columns) = (program.rows.len(), program.costs.len());
        let mut rows = Vec::with_capacity(m);
        let mut flipped = Vec::with_capacity(m);
        for (i, (row, right)) in program.rows.iter().zip(&program.right).enumerate() {
            let flip = right.is_negative();
            let sign = |x: &Ratio| if flip { x.negated() } else { *x };
            let mut line: Vec<Ratio> = row.iter().map(sign).collect();
            line.extend((0..m).map(|j| if i == j { Ratio::ONE } else { Ratio::ZERO }));
            line.push(sign(right));
            rows.push(line);
            flipped.push(flip);
        }
        Self { columns, rows, basis: (columns..columns + m).collect(), flipped }
    }

    /// Pivots until no column below `allowed` improves; the reduced costs, whose last entry is
    /// minus the objective. `None` if the objective has no lower end.
    fn run(&mut self, costs: &[Ratio], allowed: usize) -> Result<Option<Vec<Ratio>>, RatioError> {
        let right = self.columns + self.rows.len();
        let mut reduced = costs.to_vec();
        reduced.push(Ratio::ZERO);
        for (row, &column) in self.rows.iter().zip(&self.basis) {
            subtract(&mut reduced, costs[column], row)?;
        }
        loop {
            let Some(entering) = reduced[..allowed].iter().position(|z| z.is_negative()) else {
                return Ok(Some(reduced));
            };
            let mut leaving: Option<(Ratio, usize, usize)> = None;
            for (i, row) in self.rows.iter().enumerate() {
                if row[entering] > Ratio::ZERO {
                    let candidate = (row[right].over(row[entering])?, self.basis[i], i);
                    if leaving.is_none_or(|best| candidate < best) {
                        leaving = Some(candidate);
                    }
                }
            }
            let Some((_, _, row)) = leaving else { return Ok(None) };
            self.pivot(row, entering)?;
            let factor = reduced[entering];
            subtract(&mut reduced, factor, &self.rows[row])?;
        }
    }

    /// Takes artificial columns, all zero by now, out of the basis where a row allows it.
    fn drop_artificials(&mut self) -> Result<(), RatioError> {
        for row in 0..self.rows.len() {
            if self.basis[row] >= self.columns {
                let column = (0..self.columns).find(|j| !self.rows[row][*j].is_zero());
                if let Some(column) = column {
                    self.pivot(row, column)?;
                }
            }
        }
        Ok(())
    }

    fn pivot(&mut self, row: usize, column: usize) -> Result<(), RatioError> {
        let pivot = self.rows[row][column];
        for entry in &mut self.rows[row] {
            *entry = entry.over(pivot)?;
        }
        let line = self.rows[row].clone();
        for (i, other) in self.rows.iter_mut().enumerate() {
            if i != row {
                let factor = other[column];
                subtract(other, factor, &line)?;
            }
        }
        self.basis[row] = column;
        Ok(())
    }
}

/// target −= factor · line.
fn subtract(target: &mut [Ratio], factor: Ratio, line: &[Ratio]) -> Result<(), RatioError> {
    if factor.is_zero() {
        return Ok(());
    }
    for (entry, value) in target.iter_mut().zip(line) {
        if !value.is_zero() {
            *entry = entry.minus(factor.times(*value)?)?;
        }
    }
    Ok(())
}
