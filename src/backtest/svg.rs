//! The population over time as a picture: a bar a month, a colour a grade, a mark a slash.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use assay_domain::grade::Grade;

use super::MonthEnd;

const WIDTH: usize = 960;
const HEIGHT: usize = 420;
const LEFT: usize = 60;
const RIGHT: usize = 110;
const TOP: usize = 46;
const BOTTOM: usize = 60;

/// Draws the operator sets by grade at each month's end. Numbers and letters only: no text of a
/// stranger gets into it.
#[must_use]
pub fn population(months: &[MonthEnd]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Operator sets by grade at each month's end; red numbers are slashes</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">Operator sets by grade at each month's end; \
         red numbers are slashes in the month</text>\n"
    );
    let most = months.iter().map(|month| month.sets.values().sum::<u32>()).max().unwrap_or(0);
    let most = usize::try_from(most.max(1)).unwrap_or(1);
    let (wide, high) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let slot = wide / months.len().max(1);
    let mut seen: BTreeMap<u8, String> = BTreeMap::new();
    for (index, month) in months.iter().enumerate() {
        let x = LEFT + index * slot;
        let mut y = TOP + high;
        for (rank, name, count) in by_rank(&month.sets) {
            let height = usize::try_from(count).unwrap_or(0) * high / most;
            y = y.saturating_sub(height);
            let colour = colour(rank);
            let bar = slot.saturating_sub(4).max(1);
            let _memory = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{bar}\" height=\"{height}\" fill=\"{colour}\">\
                 <title>{} {name}: {count}</title></rect>",
                month.month
            );
            seen.insert(rank, name);
        }
        let below = TOP + high + 16;
        let _memory = writeln!(svg, "<text x=\"{x}\" y=\"{below}\">{}</text>", &month.month[2..]);
        if month.slashes > 0 {
            let above = y.saturating_sub(4);
            let _memory = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{above}\" fill=\"#b00020\" font-weight=\"bold\">{}</text>",
                month.slashes
            );
        }
    }
    for (line, (rank, name)) in seen.iter().enumerate() {
        let (x, y) = (WIDTH - RIGHT + 16, TOP + line * 18);
        let (colour, text) = (colour(*rank), y + 11);
        let _memory = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{text}\">{name}</text>",
            x + 18
        );
    }
    let _memory = writeln!(svg, "<text x=\"{}\" y=\"{}\">{most}</text>", LEFT - 30, TOP + 10);
    svg.push_str("</svg>\n");
    svg
}

/// Grades from the safest up, and what is not rated last.
fn by_rank(sets: &BTreeMap<String, u32>) -> Vec<(u8, String, u32)> {
    let rank = |name: &str| {
        (1..=20).find(|number| {
            Grade::from_number(*number).is_some_and(|grade| grade.to_string() == name)
        })
    };
    let mut ranked: Vec<(u8, String, u32)> =
        sets.iter().map(|(name, count)| (rank(name).unwrap_or(21), name.clone(), *count)).collect();
    ranked.sort();
    ranked
}

/// Green for the safest to red for the last; grey is not rated, black in default.
fn colour(rank: u8) -> String {
    match rank {
        21 => "#bbbbbb".to_owned(),
        20 => "#222222".to_owned(),
        rank => format!("hsl({}, 65%, 50%)", 130 - u16::from(rank) * 130 / 19),
    }
}
