//! Where in a broker a message goes: a subject or a routing key with variables in it.

use std::borrow::Cow;

use crate::context::WebHookQueueContext;

/// A text with the variables `{receiver}`, `{id}` and `{action}`. Braces have no other meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Receiver,
    Id,
    Action,
}

impl RouteTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Names what can't be read, and the variables that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(at);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let end = tail.find('}').filter(|_| tail.starts_with('{'));
            let end = end.ok_or_else(|| format!("`{text}` has a brace without its partner"))?;
            parts.push(match &tail[1..end] {
                "receiver" => Part::Receiver,
                "id" => Part::Id,
                "action" => Part::Action,
                other => {
                    return Err(format!(
                        "`{text}`: there is no variable `{other}`; there are {{receiver}}, {{id}} and {{action}}"
                    ));
                }
            });
            rest = &tail[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether every message gets the same.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// The text for a message; its first action counts. Each value passes through `safe`, which also says
    /// what stands for an empty one.
    pub fn render(
        &self,
        context: &WebHookQueueContext,
        safe: impl for<'a> Fn(&'a str) -> Cow<'a, str>,
    ) -> String {
        let mut out = String::with_capacity(self.text.len() + context.receiver.len() + context.id.len());
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Receiver => out.push_str(&safe(&context.receiver)),
                Part::Id => out.push_str(&safe(&context.id)),
                Part::Action => out.push_str(&safe(context.actions.first().map_or("", String::as_str))),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_everything_else_is_kept() {
        let parsed = RouteTemplate::parse("webhooks.{receiver}.{id}.{action}.x").unwrap();
        assert!(!parsed.is_constant());
        assert_eq!(parsed.as_str(), "webhooks.{receiver}.{id}.{action}.x");
        assert!(RouteTemplate::parse("webhooks").unwrap().is_constant());
        assert!(RouteTemplate::parse("").unwrap().is_constant());
    }

    #[test]
    fn what_is_no_variable_is_an_error_that_names_the_variables() {
        for wrong in ["{", "}", "a{b", "a}b", "{receiver", "{}", "{other}", "{{receiver}}", "{receiver}}"] {
            let error = RouteTemplate::parse(wrong).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(RouteTemplate::parse("{x}").unwrap_err().contains("{action}"));
    }
}
