//! Which hosts a row allows: names, in which `*` stands for one label.

use super::error::CompileError;

/// A compiled pattern: `api.example.com`, `*.example.com`, `sns.*.amazonaws.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern(Vec<String>);

impl HostPattern {
    /// Parses a pattern. Its last two labels are spelled out, and it is no address.
    pub(super) fn parse(text: &str) -> Result<Self, CompileError> {
        let labels: Vec<String> = text.split('.').map(str::to_ascii_lowercase).collect();
        let spelled_out = labels.iter().rev().take(2).filter(|label| is_label(label)).count() == 2;
        let is_name = labels.last().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_alphabetic()));
        let well_formed = labels.iter().all(|label| *label == "*" || is_label(label));
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
                is_label(label) && (*pattern == "*" || label.eq_ignore_ascii_case(pattern))
            })
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        let sns = HostPattern::parse("sns.*.amazonaws.com").unwrap();
        assert!(sns.matches("sns.us-east-1.amazonaws.com") && sns.matches("SNS.eu-west-1.AmazonAWS.com"));
        let others = [
            "sns.amazonaws.com",
            "sns.a.b.amazonaws.com",
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
