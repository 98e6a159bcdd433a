//! Tables of `docs/` whose last column names tests: each row names some, and those exist.

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Number and tests of each row, the tests as file and function.
fn rows(documentation: &str) -> Vec<(String, Vec<(String, String)>)> {
    let text = read(documentation);
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows = text.lines().filter(|line| line.starts_with("| ")).map(cells);
    let rows = rows.filter(|cells: &Vec<String>| cells[0].starts_with(|c: char| c.is_ascii_digit()));
    rows.map(|cells| {
        let named: Vec<_> = cells.last().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let tests = named.chunks(2).map(|pair| (pair[0].clone(), pair.get(1).cloned().unwrap_or_default()));
        (cells[0].clone(), tests.collect())
    })
    .collect()
}

/// There are rows with these numbers, and each names tests.
fn is_shown(documentation: &str, expected: &[String]) {
    let rows = rows(documentation);
    let numbers: Vec<_> = rows.iter().map(|(number, _)| number.as_str()).collect();
    assert_eq!(numbers, expected);
    for (number, tests) in rows {
        assert!(!tests.is_empty(), "row {number} of {documentation} has no test");
        for (file, test) in tests {
            let text = read(&file);
            let place =
                text.find(&format!("fn {test}(")).unwrap_or_else(|| panic!("{number}: no {test} in {file}"));
            let before: Vec<_> = text[..place].lines().rev().take(3).collect();
            let is_test =
                before.iter().any(|line| line.contains("#[test]") || line.contains("#[tokio::test"));
            // Properties are in a macro that has the attribute.
            assert!(is_test, "row {number} of {documentation}: {test} in {file} is no test: {before:?}");
        }
    }
}

fn up_to(last: u32) -> Vec<String> {
    (1..=last).map(|number| number.to_string()).collect()
}

#[test]
fn every_pitfall_of_endpointslices_has_its_test() {
    let mut numbers = up_to(34);
    numbers.insert(32, "32b".to_owned());
    is_shown("docs/endpointslices.md", &numbers);
}

#[test]
fn everything_that_consumers_need_of_znodes_has_its_test() {
    is_shown("docs/formats.md", &up_to(35));
}
