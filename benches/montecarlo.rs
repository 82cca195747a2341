//! Twenty exact distributions against ten million draws each: how many standard errors apart.
//!
//! An honest simulation is more than one standard error away in a third of all cases, so what is
//! asked is that the distances are those of normal deviates: none above four, mean square near one.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "../tests/domain/portfolios.rs"]
mod portfolios;

fn main() {
    let draws: u64 = std::env::args().find_map(|text| text.parse().ok()).unwrap_or(10_000_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let found: Vec<(u64, [f64; 3])> = std::thread::scope(|scope| {
        let work = |first: u64| {
            let numbers = (first..20).step_by(threads as usize);
            numbers
                .map(|number| {
                    let portfolio = portfolios::portfolio(number);
                    (number, portfolios::distances(&portfolio, draws, 1_000 + number))
                })
                .collect::<Vec<_>>()
        };
        let handles: Vec<_> = (0..threads).map(|first| scope.spawn(move || work(first))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("no panic")).collect()
    });
    let mut found = found;
    found.sort_by_key(|(number, _)| *number);
    println!("{draws} draws; distance in standard errors: mean, P(L > 1 %), excess over VaR99");
    let (mut squares, mut worst, mut within) = (0.0, 0.0_f64, 0);
    for (number, distances) in &found {
        println!("{number:2}  {:+.2}  {:+.2}  {:+.2}", distances[0], distances[1], distances[2]);
        for distance in distances {
            squares += distance * distance;
            worst = worst.max(distance.abs());
            within += u32::from(distance.abs() <= 1.0);
        }
    }
    let mean = squares / 60.0;
    println!("{within} of 60 within one; worst {worst:.2}; mean square {mean:.2}");
    if worst > 4.0 || !(0.4..1.8).contains(&mean) {
        std::process::exit(4);
    }
}
