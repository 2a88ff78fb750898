//! Azure's rules for the name of a queue.

/// What follows the queue's name in that of its poison queue; Azure Functions uses the same.
const POISON: &str = "-poison";

const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// Whether Azure takes the name.
///
/// # Errors
/// What is wrong with it, and what to write.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = NAME_BYTES.contains(&name.len())
        && name.bytes().all(byte)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if fits {
        return Ok(());
    }
    Err(format!(
        "`{}` can't be the name of an Azure queue: 3 to 63 of a-z, 0-9 and single hyphens, with a letter or digit \
         at both ends{}",
        name.escape_debug(),
        proposal(name).map_or_else(String::new, |p| format!("; `{p}` would do")),
    ))
}

/// The poison queue's name.
///
/// # Errors
/// When it would be longer than Azure takes.
pub(crate) fn poison(name: &str) -> Result<String, String> {
    let poison = format!("{name}{POISON}");
    match check(&poison) {
        Ok(()) => Ok(poison),
        Err(_) => Err(format!(
            "the queue for dead letters would be `{poison}`, longer than the 63 characters that Azure takes; \
             give the queue a name of at most {} characters",
            NAME_BYTES.end() - POISON.len()
        )),
    }
}

/// The nearest name that Azure takes.
fn proposal(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        let c = if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
        if c != '-' || !(out.is_empty() || out.ends_with('-')) {
            out.push(c);
        }
        if out.len() == *NAME_BYTES.end() {
            break;
        }
    }
    let trimmed = out.trim_end_matches('-');
    NAME_BYTES.contains(&trimmed.len()).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_azures() {
        for good in ["webhooks", "abc", "0a9", "a-b-c", &"a".repeat(63)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "ab", "Webhooks", "web_hooks", "-ab", "ab-", "a--b", "a b", "ä-ä", &"a".repeat(64)]
        {
            assert!(check(bad).unwrap_err().contains("3 to 63"), "{bad}");
        }
    }

    #[test]
    fn the_error_says_what_to_write() {
        let would = |name: &str| check(name).unwrap_err();
        assert!(would("Web_Hooks").contains("`web-hooks` would do"));
        assert!(would("webhooks.stripe").contains("`webhooks-stripe` would do"));
        assert!(would("--a__b--").contains("`a-b` would do"));
        assert!(!would("_").contains("would do"));
        assert!(would(&"A".repeat(70)).contains(&format!("`{}` would do", "a".repeat(63))));
    }

    #[test]
    fn the_poison_queue_has_the_name_that_azure_functions_gives_it() {
        assert_eq!(poison("webhooks").as_deref(), Ok("webhooks-poison"));
        assert!(poison(&"a".repeat(56)).is_ok());
        assert!(poison(&"a".repeat(57)).unwrap_err().contains("at most 56"));
    }
}
