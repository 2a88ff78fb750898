//! A second reading of how Azure checks a Shared Key: from the bytes that came, not from the request that was meant.
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::double::Asked;

/// Standard headers, in the order in which their values are signed.
const HEADERS: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Whether the request is signed with this key, as the account that it says.
pub(crate) fn is_good(asked: &Asked, account: &str, key: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(key).unwrap());
    let tag = hmac::sign(&key, to_sign(asked, account).as_bytes());
    asked.header("authorization") == Some(&format!("SharedKey {account}:{}", BASE64.encode(tag)))
}

fn to_sign(asked: &Asked, account: &str) -> String {
    let mut lines = vec![asked.method.clone()];
    for name in HEADERS {
        let value = asked.header(name).unwrap_or_default();
        lines.push(if (name, value) == ("content-length", "0") { "" } else { value }.to_owned());
    }
    let of_azure = asked.headers().filter(|(name, _)| name.starts_with("x-ms-"));
    let mut of_azure: Vec<String> = of_azure.map(|(name, value)| format!("{name}:{value}")).collect();
    of_azure.sort();
    lines.extend(of_azure);
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    lines.push(format!("/{account}{path}"));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<String> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{}:{}", decoded(name).to_lowercase(), decoded(value))
        })
        .collect();
    pairs.sort();
    lines.extend(pairs);
    lines.join("\n")
}

/// Some servers take a `+` for itself and others for a space, so none may come.
pub(crate) fn decoded(text: &str) -> String {
    assert!(!text.contains('+'), "`{text}` means different things to different servers");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let (hex, after) = rest.split_at(2);
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}
