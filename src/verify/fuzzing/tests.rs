//! The properties with random bytes.

use proptest::prelude::*;

use super::*;

/// Bytes of any kind, and such as come close to what is read.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "t=",
        "v1=",
        ",",
        "sha256=",
        "{body}",
        "{(",
        ")|optional}",
        "json:/",
        "form:a",
        "a=",
        "%61=",
        "&",
        "/",
        "\"a\"",
        ":",
        "{",
        "}",
        "[",
        "]",
        "1e9",
        "null",
        "eyJhbGciOiJIUzI1NiJ9",
        ".",
        "Bearer ",
        "\n",
        "\r\n",
        "/in/x?a=b\n",
        "content-type: application/x-www-form-urlencoded\n\n",
        "x-hub-signature-256: sha256=",
        "content-type: multipart/form-data; boundary=b\n\n",
        "--b",
        "content-disposition: form-data; name=\"a\"",
        "0123456789abcdef0123456789abcdef",
        "Authorization: ",
        "\u{e4}",
        "==",
        "~1",
        "<Id>",
        "<n:Id a=",
        "</",
        "<![CDATA[",
        "eyJhbGciOiJFZERTQSJ9..",
        "-----BEGIN CERTIFICATE-----\n",
    ];
    let close = prop::collection::vec(prop::sample::select(words), 0..24)
        .prop_map(|words| words.concat().into_bytes());
    let random = prop::collection::vec(any::<u8>(), 0..300);
    (prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..4)], prop_oneof![random, close])
        .prop_map(|(head, tail)| [head, tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn properties_hold_for_any_bytes(data in bytes()) {
        let read = [grammar, template, form, json_pointer, jwt, encodings, message];
        for property in read.into_iter().chain([xml, jws, aes, certificate]) {
            property(&data);
        }
    }

    #[test]
    fn no_row_takes_what_it_did_not_sign(data in bytes()) {
        admit(&data);
    }
}

#[test]
fn no_row_takes_what_another_secret_signed() {
    let count = u16::try_from(catalog::names().count()).unwrap();
    for which in 0..count {
        let [high, low] = which.to_be_bytes();
        admit(&[&[high, low, 1], &b"{\"id\":\"1\"}"[..]].concat());
    }
}

#[test]
fn what_was_issued_or_signed_is_believed_until_a_bit_changes() {
    certificate(&[0, 1]);
    certificate(&[1, 1]);
    jws(b"\x01\x00{}");
    for at in 0..400_u16 {
        let [high, low] = at.to_be_bytes();
        for bit in 0..8 {
            certificate(&[0, 1, high, low, 1 << bit]);
            jws(&[&[1, 3, high, low, 1 << bit], &b"{}"[..]].concat());
        }
    }
}
