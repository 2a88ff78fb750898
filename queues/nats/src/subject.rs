//! Subjects: what may stand in one, and which ones a template can become.

use std::borrow::Cow;

use sluiced_queue::{RouteTemplate, WebHookQueueContext};

use crate::bounds;
use crate::options::OptionsError;

/// Where messages of one destination go.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    template: RouteTemplate,
    /// All that the template can become: `webhooks.>`.
    pub(crate) filter: String,
}

impl Subject {
    /// The subjects of a queue: `webhooks.{receiver}.{id}.{action}`.
    pub(crate) fn of_queue(queue_name: &str) -> Result<Self, OptionsError> {
        Self::parse(&format!("{}.{{receiver}}.{{id}}.{{action}}", prefix(queue_name)))
    }

    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, OptionsError> {
        let wrong = |why: &str| {
            OptionsError(format!(
                "the subject `{text}` can't be used: {why}; an example is `webhooks.{{receiver}}.{{id}}`"
            ))
        };
        let template = RouteTemplate::parse(text).map_err(OptionsError)?;
        if text.len() > bounds::SUBJECT_TEMPLATE_BYTES {
            return Err(wrong("it is too long"));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>')) {
            return Err(wrong("it has white space or a wildcard in it"));
        }
        let mut literal = Vec::new();
        let mut constant = true;
        for token in text.split('.') {
            if token.is_empty() {
                return Err(wrong("one of its parts is empty"));
            }
            constant = constant && !token.contains('{');
            if constant {
                literal.push(token);
            }
        }
        match literal.first() {
            None => return Err(wrong("its first part must be fixed")),
            Some(first) if first.starts_with('$') || first.starts_with('_') => {
                return Err(wrong("what begins with `$` or `_` is the server's own"));
            }
            Some(_) => {}
        }
        let literal = literal.join(".");
        let filter = if constant { literal } else { format!("{literal}.>") };
        Ok(Self { template, filter })
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        self.template.as_str()
    }

    /// The subject for one message.
    pub(crate) fn render(&self, context: &WebHookQueueContext) -> String {
        self.template.render(context, token)
    }
}

/// A queue's name as the first part of subjects; dots divide it there too.
pub(crate) fn prefix(queue_name: &str) -> String {
    let parts: Vec<_> = queue_name.split('.').map(token).collect();
    parts.join(".")
}

/// A queue's name as the name of a stream: `WEBHOOKS`.
pub(crate) fn stream_name(queue_name: &str) -> String {
    queue_name.to_ascii_uppercase().replace(|c: char| !is_plain(c), "_")
}

/// A value as one part of a subject.
pub(crate) fn token(value: &str) -> Cow<'_, str> {
    if value.is_empty() {
        return Cow::Borrowed("_");
    }
    if value.len() <= bounds::SUBJECT_TOKEN_BYTES && value.chars().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let safe = value.chars().map(|c| if is_plain(c) { c } else { '_' });
    Cow::Owned(safe.take(bounds::SUBJECT_TOKEN_BYTES).collect())
}

/// Whether a name may be a stream's or a consumer's.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= bounds::NAME_BYTES
        && !name.contains(|c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>' | '/' | '\\')
        })
}

/// Whether a text is a subject without wildcards.
pub(crate) fn is_literal(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && !part.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>'))
    })
}

/// Whether every subject that matches `inner` matches one of `outer` too.
pub(crate) fn covers(outer: &[String], inner: &str) -> bool {
    outer.iter().any(|outer| covers_one(outer, inner))
}

fn covers_one(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('.'), inner.split('.'));
    loop {
        match (outer.next(), inner.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_cant_leave_its_part_of_the_subject() {
        assert_eq!(token("acme"), "acme");
        assert_eq!(token(""), "_");
        assert_eq!(token("a.b *>\r\nPUB é"), "a_b_____PUB__");
        let long = "x".repeat(5000);
        assert_eq!(token(&long).len(), bounds::SUBJECT_TOKEN_BYTES);
        assert_eq!(token(&"é".repeat(5000)).len(), bounds::SUBJECT_TOKEN_BYTES);
    }

    #[test]
    fn the_stream_takes_what_the_template_can_become() {
        assert_eq!(Subject::of_queue("webhooks").unwrap().filter, "webhooks.>");
        assert_eq!(Subject::of_queue("a.b c").unwrap().filter, "a.b_c.>");
        assert_eq!(Subject::parse("orders.new").unwrap().filter, "orders.new");
        assert_eq!(Subject::parse("x.y-{id}.z").unwrap().filter, "x.>");
        assert_eq!(stream_name("a.b c-d"), "A_B_C-D");
    }

    #[test]
    fn a_subject_that_would_take_everything_or_cant_be_sent_is_refused() {
        for wrong in [
            "",
            "{receiver}.x",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a.*",
            "a.>",
            "a.\n",
            "$JS.API.{id}",
            "_INBOX.x",
            "{nope}",
        ] {
            assert!(Subject::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Subject::parse(&"a".repeat(600)).is_err());
    }

    #[test]
    fn wildcards_cover_what_they_match() {
        let covers = |outer: &str, inner: &str| covers_one(outer, inner);
        assert!(covers("webhooks.>", "webhooks.a.b") && covers("webhooks.>", "webhooks.>"));
        assert!(covers(">", "a") && covers("a.*", "a.b") && covers("a.*.c", "a.*.c"));
        assert!(!covers("webhooks.>", "webhooks") && !covers("a.*", "a.>") && !covers("a.b", "a.*"));
        assert!(!covers("a", "a.b") && !covers("a.b", "a"));
    }
}
