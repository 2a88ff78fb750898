//! Form fields: URL-encoded and multipart, by name or as a sorted whole.

use std::borrow::Cow;

use memchr::memmem;

use super::source::Gap;
use super::view::View;

/// Fields of a form, or parameters of a query. One with more is refused as a whole where it is signed: were
/// only the first looked at, what follows could be anything.
const FIELDS_MAX: usize = 1_000;

/// A field's name and value, decoded.
pub(super) type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The values of one field of the body, URL-encoded or multipart.
pub(super) fn values<'a>(view: &View<'a>, name: &str) -> Result<Vec<Cow<'a, str>>, Gap> {
    let fields = match view.boundary() {
        Some(boundary) => bounded(multipart(&view.delivery.body, boundary))?,
        None => url_encoded(&view.delivery.body)?,
    };
    Ok(fields.into_iter().filter(|(field, _)| field.as_ref().eq(name)).map(|(_, value)| value).collect())
}

/// All fields of a URL-encoded body.
pub(super) fn fields<'a>(view: &View<'a>) -> Result<Vec<Field<'a>>, Gap> {
    url_encoded(&view.delivery.body)
}

/// All parameters of the query.
pub(super) fn query_fields<'a>(view: &View<'a>) -> Result<Vec<Field<'a>>, Gap> {
    url_encoded(view.delivery.query().as_bytes())
}

/// The values of one query parameter.
pub(super) fn query_values<'a>(view: &View<'a>, name: &str) -> Result<Vec<Cow<'a, str>>, Gap> {
    let fields = url_encoded(view.delivery.query().as_bytes())?;
    Ok(fields.into_iter().filter(|(field, _)| field.as_ref().eq(name)).map(|(_, value)| value).collect())
}

/// Names and values one after the other, sorted by both, repeated ones once: Twilio's rule and its kin's.
/// The body counts as URL-encoded whatever its content type says: who can change that must not change what
/// is signed.
pub(super) fn sorted(view: &View<'_>) -> Result<String, Gap> {
    let mut fields = url_encoded(&view.delivery.body)?;
    fields.sort();
    fields.dedup();
    Ok(fields.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect())
}

/// The query's parameters as received, sorted by name.
pub(super) fn sorted_query(query: &str) -> Result<String, Gap> {
    let mut pairs = bounded(query.split('&').filter(|pair| !pair.is_empty()))?;
    pairs.sort_by_key(|pair| pair.split('=').next());
    Ok(pairs.join("&"))
}

fn url_encoded(text: &[u8]) -> Result<Vec<Field<'_>>, Gap> {
    bounded(form_urlencoded::parse(text))
}

fn bounded<T>(items: impl Iterator<Item = T>) -> Result<Vec<T>, Gap> {
    let items: Vec<T> = items.take(FIELDS_MAX + 1).collect();
    if items.len() > FIELDS_MAX { Err(Gap::Body) } else { Ok(items) }
}

/// The text fields of a multipart form (RFC 7578); parts without a name are passed over.
fn multipart<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = Field<'a>> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter).take(FIELDS_MAX + 2).collect();
    let contents = (1..starts.len()).map(move |next| starts[next - 1] + delimiter.len()..starts[next]);
    contents.filter_map(|content| part(&body[content]))
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
