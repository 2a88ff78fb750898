//! The headers of a request, as a message carries them.

use std::fmt;

/// Every header and every value in the order of arrival, the values of one name together. Names are in lower
/// case.
///
/// All in one text: a request has a dozen of them, and two allocations for each were a good part of what its
/// message cost.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RequestHeaders {
    text: String,
    parts: Vec<Part>,
}

/// A name or a value, from where the part before it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part {
    end: usize,
    is_name: bool,
}

impl RequestHeaders {
    /// None yet, with room for so many names and values of so many bytes in all.
    pub fn with_capacity(parts: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), parts: Vec::with_capacity(parts) }
    }

    /// Adds a name that isn't there yet. Its values follow by [`Self::push_value`].
    pub fn push_name(&mut self, name: &str) {
        self.push(name, true);
    }

    /// Adds a value of the last name.
    pub fn push_value(&mut self, value: &str) {
        self.push(value, false);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Names, each with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Values<'_>)> {
        let names = self.parts.iter().enumerate().filter(|(_, part)| part.is_name);
        names.map(|(at, _)| (self.part(at), Values { headers: self, at: at + 1 }))
    }

    /// The values of a name in lower case; none if it isn't there.
    pub fn get_all(&self, name: &str) -> Values<'_> {
        let end = Values { headers: self, at: self.parts.len() };
        self.iter().find(|(known, _)| *known == name).map_or(end, |(_, values)| values)
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// How many names and values there are.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    fn push(&mut self, text: &str, is_name: bool) {
        self.text.push_str(text);
        self.parts.push(Part { end: self.text.len(), is_name });
    }

    fn part(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.parts[before].end);
        &self.text[start..self.parts[at].end]
    }
}

/// The values of one header, in the order of arrival.
#[derive(Clone)]
pub struct Values<'a> {
    headers: &'a RequestHeaders,
    at: usize,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let part = self.headers.parts.get(self.at)?;
        if part.is_name {
            return None;
        }
        self.at += 1;
        Some(self.headers.part(self.at - 1))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, Vec<V>)> for RequestHeaders {
    fn from_iter<I: IntoIterator<Item = (N, Vec<V>)>>(headers: I) -> Self {
        let mut all = Self::default();
        all.extend(headers);
        all
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extend<(N, Vec<V>)> for RequestHeaders {
    fn extend<I: IntoIterator<Item = (N, Vec<V>)>>(&mut self, headers: I) {
        for (name, values) in headers {
            self.push_name(name.as_ref());
            values.iter().for_each(|value| self.push_value(value.as_ref()));
        }
    }
}

impl fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, values)| (name, values.collect::<Vec<_>>()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let given = [("x-a", vec!["1", "", "ä"]), ("x-b", vec![]), ("x-c", vec!["2"])];
        let headers: RequestHeaders = given.clone().into_iter().collect();
        let read: Vec<_> = headers.iter().map(|(name, values)| (name, values.collect::<Vec<_>>())).collect();
        assert_eq!(read, given);
        assert_eq!(headers.get_all("x-a").collect::<Vec<_>>(), ["1", "", "ä"]);
        assert_eq!(headers.get_all("x-b").next(), None);
        assert_eq!(headers.get_all("x-none").next(), None);
        assert_eq!((headers.bytes(), headers.parts()), (13, 7));
        assert!(RequestHeaders::default().is_empty() && !headers.is_empty());
    }
}
