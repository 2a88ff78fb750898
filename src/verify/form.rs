//! Form fields: URL-encoded and multipart, by name or as a sorted whole.

use std::borrow::Cow;

use memchr::memmem;

use super::view::View;

/// Fields that are looked at; a form with more is one that no provider sends.
const FIELDS_MAX: usize = 1_000;

/// A field's name and value, decoded.
pub(super) type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The fields of the body, whatever its content type says: who can change that must not change what is
/// signed.
pub(super) fn fields<'a>(view: &View<'a>) -> Vec<Field<'a>> {
    let body: &'a [u8] = &view.delivery.body;
    match view.boundary() {
        Some(boundary) => multipart(body, boundary),
        None => form_urlencoded::parse(body).take(FIELDS_MAX).collect(),
    }
}

/// The values of one field.
pub(super) fn values<'a>(view: &View<'a>, name: &str) -> Vec<Cow<'a, str>> {
    fields(view).into_iter().filter(|(field, _)| field.as_ref().eq(name)).map(|(_, value)| value).collect()
}

/// The values of one query parameter.
pub(super) fn query_values<'a>(view: &View<'a>, name: &str) -> Vec<Cow<'a, str>> {
    let pairs = form_urlencoded::parse(view.delivery.query().as_bytes()).take(FIELDS_MAX);
    pairs.filter(|(field, _)| field.as_ref().eq(name)).map(|(_, value)| value).collect()
}

/// Names and values one after the other, sorted by both, repeated ones once: Twilio's rule and its kin's.
pub(super) fn sorted(view: &View<'_>) -> String {
    let mut fields = fields(view);
    fields.sort();
    fields.dedup();
    fields.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect()
}

/// The query's parameters as received, sorted by name.
pub(super) fn sorted_query(query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).take(FIELDS_MAX).collect();
    pairs.sort_by_key(|pair| pair.split('=').next());
    pairs.join("&")
}

/// The text fields of a multipart form (RFC 7578); parts without a name are passed over.
fn multipart<'a>(body: &'a [u8], boundary: &str) -> Vec<Field<'a>> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter).take(FIELDS_MAX + 1).collect();
    let parts = starts.windows(2).map(|pair| &body[pair[0] + delimiter.len()..pair[1]]);
    parts.filter_map(part).collect()
}

fn part(part: &[u8]) -> Option<Field<'_>> {
    let part = part.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
    let end = memmem::find(part, b"\r\n\r\n")?;
    let headers = std::str::from_utf8(&part[..end]).ok()?;
    let disposition = headers.lines().find(|line| starts_with(line, "content-disposition:"))?;
    let (_, name) = disposition.split_once("; name=\"")?;
    let (name, _) = name.split_once('"')?;
    Some((Cow::Borrowed(name), String::from_utf8_lossy(&part[end + 4..])))
}

fn starts_with(line: &str, prefix: &str) -> bool {
    line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
