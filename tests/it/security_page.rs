//! The tests that `docs/security.md` names are there.

use std::path::Path;

#[test]
fn every_test_that_the_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let named: Vec<(&str, &str)> = page.split('`').filter_map(|quoted| quoted.split_once("::")).collect();
    let named: Vec<_> = named.into_iter().filter(|(module, _)| *module != "module").collect();
    assert!(named.len() > 60, "{named:?}");
    for (module, test) in named {
        let file = match module.strip_prefix("src/") {
            Some(_) => root.join(format!("{module}.rs")),
            None => root.join(format!("tests/it/{module}.rs")),
        };
        let source = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(source.contains(&format!("fn {test}(")), "{module} has no {test}");
    }
}
