//! A delivery as schemes and pointers look at it: raw, and as JSON once somebody needs that.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::admission::Refusal;
use super::fetched::Fetched;
use super::json::{Document, Pointer, SELECTED_MAX};
use super::public_url::{self, PublicUrl};
use super::signed;
use super::source::Gap;
use super::verdict::Stop;
use crate::delivery::Delivery;
use crate::reason::Reason;

/// One delivery under verification.
pub(super) struct View<'a> {
    pub(super) delivery: &'a Delivery,
    public_url: Option<&'a PublicUrl>,
    pub(super) fetched: Option<&'a Fetched>,
    json: OnceCell<Option<Document<'a>>>,
}

impl<'a> View<'a> {
    pub(super) fn new(delivery: &'a Delivery, public_url: Option<&'a PublicUrl>) -> Self {
        Self { delivery, public_url, fetched: None, json: OnceCell::new() }
    }

    /// The same with the documents that were fetched for it.
    pub(super) fn with(self, fetched: &'a Fetched) -> Self {
        Self { fetched: Some(fetched), ..self }
    }

    /// Verifies each of the values as if it were the body: all must pass, and there must be one. More than can
    /// be selected are refused: the rest would go unverified.
    pub(super) fn each(
        &self,
        pointer: &Pointer,
        verify: impl Fn(&View<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let document = self.json().ok_or_else(|| signed::refuse(Gap::Body))?;
        let spans = document.select(pointer);
        if spans.is_empty() {
            return Err(signed::refuse(Gap::Absent).into());
        }
        if spans.len() >= SELECTED_MAX {
            return Err(Refusal::new(Reason::BodyMalformed, "there are more items than are verified").into());
        }
        for span in spans {
            let part = Delivery { body: self.delivery.body.slice(span), ..self.delivery.clone() };
            verify(&View { fetched: self.fetched, ..View::new(&part, self.public_url) })?;
        }
        Ok(())
    }

    /// The body as JSON, parsed at most once; `None` when it isn't.
    pub(super) fn json(&self) -> Option<Document<'a>> {
        *self.json.get_or_init(|| Document::parse(&self.delivery.body))
    }

    /// The whole URL; `None` when the public one isn't known.
    pub(super) fn url(&self) -> Option<Cow<'a, str>> {
        Some(self.public_url?.of(&self.delivery.uri))
    }

    /// Path and query as received, or those of the URL that the sender was given whole.
    pub(super) fn path_and_query(&self) -> Cow<'a, str> {
        match self.url() {
            Some(url) => Cow::Owned(public_url::after_authority(&url).to_owned()),
            None => Cow::Borrowed(public_url::path_and_query(&self.delivery.uri)),
        }
    }

    /// Whether the content type is a form's, or missing.
    pub(super) fn may_be_form(&self) -> bool {
        self.delivery.content_type().is_none_or(|full| full.to_ascii_lowercase().contains("form"))
    }

    /// The boundary of a multipart form; `None` when the body is no such one.
    pub(super) fn boundary(&self) -> Option<&'a str> {
        let (kind, parameters) = self.delivery.content_type()?.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let value = |parameter: &'a str| {
            let (name, value) = parameter.trim().split_once('=')?;
            name.eq_ignore_ascii_case("boundary").then_some(value.trim_matches('"'))
        };
        parameters.split(';').find_map(value).filter(|boundary| !boundary.is_empty())
    }
}
