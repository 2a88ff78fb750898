//! The other side: a request as the provider would send it, for `sluiced send` and for tests.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};
use jiff::Timestamp;
use thiserror::Error;

use super::condition::Condition;
use super::draft::{Draft, FORM};
use super::encoding::Encoding;
use super::jwt::Jwt;
use super::scheme::{Check, Scheme};
use super::signed::Signed;
use super::source::Source;
use super::template::Context;
use super::timestamp::Place;
use super::token::Token;
use super::variable::Variable;
use super::verifier::Verifier;
use super::view::View;

/// A request to send as it is.
#[derive(Clone, Debug)]
pub struct OutgoingRequest {
    /// The method.
    pub method: Method,
    /// The URL as given, with query parameters added where the provider has any.
    pub url: String,
    /// The headers, content type included.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is nothing to send.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SignError {
    /// The provider signs with a private key, and a receiver has the public one only.
    #[error("the provider signs with a private key, which only the provider has")]
    PrivateKey,
    /// No secret.
    #[error("a secret is needed to sign with")]
    SecretMissing,
    /// The signature or the time goes into the body, and the given one isn't JSON.
    #[error("the provider signs within a JSON body, and the body given is none")]
    BodyNotJson,
    /// The URL isn't one.
    #[error("the URL to send to is no absolute URL")]
    Url,
    /// A value that the message covers can't be made up.
    #[error("the signed message covers a value that can't be made up: give it in the body or a header")]
    ValueMissing,
    /// A value can't stand in a header.
    #[error("a value can't stand in a header")]
    Header,
}

impl Verifier {
    /// A request as the provider would send it, signed by the first of the receiver's schemes with its first
    /// secret. Without a body it makes up a small one that holds event and delivery id where the row looks
    /// for them.
    pub fn sign(
        &self,
        event: Option<&str>,
        body: Option<Bytes>,
        url: &str,
        now: Timestamp,
        delivery_id: &str,
    ) -> Result<OutgoingRequest, SignError> {
        let scheme = self.schemes.first().ok_or(SignError::SecretMissing)?;
        let is_form = scheme.sources().iter().any(Source::is_form);
        let method = self.methods.first().cloned().unwrap_or(Method::POST);
        let mut draft = Draft::new(method, url, self.content_type(is_form), body)?;
        draft.suggest(&self.events.actions, event)?;
        draft.suggest(&self.events.delivery_id, Some(delivery_id))?;
        for condition in &scheme.require {
            self.meet(condition, &mut draft)?;
        }
        if let Some(decrypt) = &scheme.decrypt
            && let Some(seal) = decrypt.seal()
            && !draft.has(&decrypt.source)
        {
            let text = seal.encrypt(&draft.delivery().body).ok_or(SignError::ValueMissing)?;
            draft.put_alone(&decrypt.source, &text)?;
        }
        if let Some(each) = &scheme.each {
            draft.enter(each);
        }
        match &scheme.check {
            Check::Signed(signed) => self.sign_message(signed, &mut draft, now, delivery_id)?,
            Check::Jwt(jwt) => self.sign_jwt(jwt, &mut draft, now)?,
            Check::Token(token) => put_token(token, &mut draft)?,
            Check::Named(_) => return Err(SignError::PrivateKey),
            Check::Nothing => {}
        }
        draft.leave();
        Ok(draft.finish())
    }

    fn meet(&self, condition: &Condition, draft: &mut Draft) -> Result<(), SignError> {
        if condition.absent || (condition.equals.is_none() && draft.has(&condition.source)) {
            return Ok(());
        }
        let delivery = draft.delivery();
        let view = View::new(&delivery, self.public_url.as_ref());
        let value = condition.equals.as_ref().map(|equals| equals.bytes(&Context::of(&view)));
        let value = value.transpose().map_err(|_| SignError::ValueMissing)?.unwrap_or_else(|| b"1".to_vec());
        draft.put(&condition.source, &String::from_utf8_lossy(&value), false)
    }

    /// What a made-up body is: forms are always URL-encoded.
    fn content_type(&self, is_form: bool) -> &str {
        let usual = self.content_types.first().map_or("application/json", String::as_str);
        if is_form { FORM } else { usual }
    }

    fn sign_message(
        &self,
        signed: &Signed,
        draft: &mut Draft,
        now: Timestamp,
        filler: &str,
    ) -> Result<(), SignError> {
        let source = signed.sources.first().ok_or(SignError::ValueMissing)?;
        let message = signed.messages.first().ok_or(SignError::ValueMissing)?;
        let time = signed.clock.as_ref().map(|clock| (&clock.place, clock.write(now), clock.is_number()));
        if let Some((Place::Source(place), time, is_number)) = &time {
            draft.put(place, time, *is_number)?;
        }
        for variable in message.needed() {
            fill(variable, draft, filler)?;
        }
        let delivery = draft.delivery();
        let view = View::new(&delivery, self.public_url.as_ref());
        let raw = time.as_ref().map(|(_, time, _)| time.as_bytes());
        let context = Context { timestamp: raw, ..Context::of(&view) };
        let signature = signed.keys.sign(message, &context).map_err(|_| SignError::ValueMissing)?;
        let signature = signed.encoding.encode(&signature.ok_or(SignError::PrivateKey)?);
        let within = time.as_ref().and_then(|(place, time, _)| match place {
            Place::Signature(key) => Some((key.as_str(), time.as_str())),
            Place::Source(_) => None,
        });
        let value = signed.grammar.write(&signature, within);
        draft.put(source, &value, false)
    }

    fn sign_jwt(&self, jwt: &Jwt, draft: &mut Draft, now: Timestamp) -> Result<(), SignError> {
        let source = jwt.sources.first().ok_or(SignError::ValueMissing)?;
        let delivery = draft.delivery();
        let view = View::new(&delivery, self.public_url.as_ref());
        let token = jwt.sign(&Context::of(&view), now).ok_or(SignError::PrivateKey)?;
        draft.put(source, &format!("{}{token}", jwt.prefix.text), false)
    }

    /// The scheme that [`Verifier::sign`] signs by.
    pub fn signs_by(&self) -> Option<&str> {
        self.schemes.first().map(|Scheme { name, .. }| &**name)
    }
}

fn put_token(token: &Token, draft: &mut Draft) -> Result<(), SignError> {
    let source = token.sources.first().ok_or(SignError::ValueMissing)?;
    let secret = token.secrets.first().ok_or(SignError::SecretMissing)?;
    if token.is_basic {
        let credential = format!("Basic {}", Encoding::Base64.encode(secret.bytes()));
        return draft.put(&Source::Header(AUTHORIZATION), &credential, false);
    }
    let secret = secret.text().ok_or(SignError::Header)?;
    draft.put(source, &format!("{}{secret}", token.prefix.text), false)
}

/// Makes up what a message covers and the draft doesn't have yet.
fn fill(variable: &Variable, draft: &mut Draft, filler: &str) -> Result<(), SignError> {
    match variable {
        Variable::Source(source) if !draft.has(source) => draft.put(source, filler, false),
        Variable::SignedHeaders(name) => {
            let names: Vec<&str> = [CONTENT_TYPE.as_str(), name.as_str()].into();
            draft.put(&Source::Header(name.clone()), &names.join(","), false)
        }
        Variable::Sorted(several) => several.iter().try_for_each(|variable| fill(variable, draft, filler)),
        _ => Ok(()),
    }
}
