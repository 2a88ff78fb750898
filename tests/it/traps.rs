//! The list of traps names tests that exist.

use std::path::Path;

#[test]
fn every_trap_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/traps.md")).unwrap();
    let mut seen = Vec::new();
    for line in page.lines() {
        let Some(number) =
            line.strip_prefix("| ").and_then(|rest| rest.split(' ').next()?.parse::<u8>().ok())
        else {
            continue;
        };
        seen.push(number);
        let mut links = line.split('[').skip(1).peekable();
        assert!(links.peek().is_some(), "trap {number} has no test");
        for link in links {
            let (test, rest) = link.split_once("](../").unwrap();
            let (file, _) = rest.split_once(')').unwrap();
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(
                source.contains(&format!("fn {test}(")),
                "trap {number}: there is no test {test} in {file}"
            );
        }
    }
    let wanted: Vec<u8> = (1..=36).collect();
    assert_eq!(seen, wanted);
}
