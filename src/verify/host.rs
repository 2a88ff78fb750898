//! Which hosts a row allows: names, in which `*` stands for one label and `$region` for a region of AWS.

use super::error::CompileError;

/// A compiled pattern: `api.example.com`, `*.example.com`, `sns.$region.amazonaws.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern(Vec<String>);

impl HostPattern {
    /// Parses a pattern. Its last two labels are spelled out, and it is no address.
    pub(super) fn parse(text: &str) -> Result<Self, CompileError> {
        let labels: Vec<String> = text.split('.').map(str::to_ascii_lowercase).collect();
        let spelled_out = labels.iter().rev().take(2).filter(|label| is_label(label)).count() == 2;
        let is_name = labels.last().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_alphabetic()));
        let well_formed =
            labels.iter().all(|label| matches!(label.as_str(), "*" | "$region") || is_label(label));
        match spelled_out && is_name && well_formed {
            true => Ok(Self(labels)),
            false => Err(CompileError::malformed("host", text, "expected a name such as *.example.com")),
        }
    }

    /// Whether the host is one of these. User names, ports and addresses never are.
    pub(super) fn matches(&self, host: &str) -> bool {
        let labels = host.split('.');
        labels.clone().count() == self.0.len()
            && labels.zip(&self.0).all(|(label, pattern)| {
                is_label(label)
                    && match pattern.as_str() {
                        "*" => true,
                        "$region" => is_region(label),
                        spelled_out => label.eq_ignore_ascii_case(spelled_out),
                    }
            })
    }
}

/// `eu-west-1`, `us-gov-east-1`. Other labels under amazonaws.com are services, S3's among them, where
/// anybody can put what they like.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase()) && !word.is_empty();
    (2..=3).contains(&words.len())
        && words.iter().all(is_word)
        && words[0].len() == 2
        && number.len() == 1
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        let any = HostPattern::parse("*.example.com").unwrap();
        assert!(
            any.matches("a.example.com") && !any.matches("a.b.example.com") && !any.matches("example.com")
        );
        let sns = HostPattern::parse("sns.$region.amazonaws.com").unwrap();
        assert!(sns.matches("sns.us-east-1.amazonaws.com") && sns.matches("SNS.us-gov-west-1.AmazonAWS.com"));
        let others = [
            "sns.amazonaws.com",
            "sns.a.b.amazonaws.com",
            "sns.s3.amazonaws.com",
            "sns.s3-us-west-2.amazonaws.com",
            "sns.us-west-.amazonaws.com",
            "sns.us-east-1.amazonaws.com.evil.example",
            "sns.us-east-1.amazonaws.com.",
            "evil.example/sns.us-east-1.amazonaws.com",
            "x@sns.us-east-1.amazonaws.com",
            "sns.us-east-1.amazonaws.com:8443",
            "sns..amazonaws.com",
        ];
        for other in others {
            assert!(!sns.matches(other), "{other}");
        }
        for wrong in ["*", "*.com", "127.0.0.1", "*.0.1", "localhost", "[::1]", "a..b", "*.*.example"] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
