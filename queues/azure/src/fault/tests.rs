use super::*;
use azure_core::http::StatusCode;
use azure_core::http::headers::Headers;

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Fault {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.insert(*name, *value);
    }
    let status = StatusCode::from(status);
    let response = RawResponse::from_bytes(status, all, body);
    let kind = ErrorKind::HttpResponse { status, error_code: None, raw_response: Some(Box::new(response)) };
    Error::with_message(kind, format!("{status}: {body}")).into()
}

fn coded(status: u16, code: &'static str) -> Fault {
    answer(status, &[("x-ms-error-code", code)], "")
}

#[test]
fn answers_have_their_kinds() {
    let cases = [
        (503, "ServerBusy", Kind::Throttled),
        (429, "TooManyRequests", Kind::Throttled),
        (500, "InternalError", Kind::ServerError),
        (500, "OperationTimedOut", Kind::ServerError),
        (502, "", Kind::ServerError),
        (302, "", Kind::ServerError),
        (200, "", Kind::ServerError),
        (404, "", Kind::ServerError),
        (400, "", Kind::ServerError),
        (403, "AuthenticationFailed", Kind::Refused),
        (403, "AuthorizationFailure", Kind::Refused),
        (403, "KeyBasedAuthenticationNotPermitted", Kind::Refused),
        (403, "AccountIsDisabled", Kind::Refused),
        (401, "NoAuthenticationInformation", Kind::Refused),
        (400, "InvalidAuthenticationInfo", Kind::Refused),
        (403, "AuthorizationPermissionMismatch", Kind::NotPermitted),
        (404, "QueueNotFound", Kind::NoQueue),
        (409, "QueueBeingDeleted", Kind::BeingDeleted),
        (413, "RequestBodyTooLarge", Kind::TooLarge),
        (400, "MessageTooLarge", Kind::TooLarge),
        (404, "MessageNotFound", Kind::LeaseLost),
        (400, "PopReceiptMismatch", Kind::LeaseLost),
        (400, "OutOfRangeQueryParameterValue", Kind::Rejected),
        (404, "ResourceNotFound", Kind::Rejected),
    ];
    for (status, code, kind) in cases {
        let fault = coded(status, code);
        assert_eq!(fault.kind, kind, "{status} {code}");
        assert!(fault.text.contains(&status.to_string()) && fault.text.contains(code), "{}", fault.text);
    }
}

#[test]
fn the_code_is_found_in_the_body_too_and_the_body_is_not_passed_on() {
    let body =
        "\u{feff}<?xml version=\"1.0\"?><Error><Code>QueueNotFound</Code><Message>secret</Message></Error>";
    let fault = answer(404, &[], body);
    assert_eq!((fault.kind, fault.text.as_str()), (Kind::NoQueue, "Azure answered 404 QueueNotFound"));
    let forged = answer(500, &[("x-ms-error-code", "a\u{1b}[31m<b>")], "");
    assert_eq!(forged.text, "Azure answered 500");
}

#[test]
fn azure_says_how_long_to_wait() {
    let seconds = answer(503, &[("x-ms-error-code", "ServerBusy"), ("retry-after", "3")], "");
    assert_eq!(seconds.retry_after, Some(Duration::from_secs(3)));
    let millis = answer(503, &[("x-ms-retry-after-ms", "250"), ("retry-after", "3")], "");
    assert_eq!(millis.retry_after, Some(Duration::from_millis(250)));
    let ages = answer(503, &[("retry-after", "18446744073709551615")], "");
    assert_eq!(ages.retry_after, Some(bounds::RETRY_AFTER_MAX), "an hour from now can be added to now");
    assert_eq!(answer(503, &[("retry-after", "Tue, 24 Nov 2026 08:00:00 GMT")], "").retry_after, None);
}

#[test]
fn a_refused_token_is_told_from_an_absent_entra_id() {
    let http = |status: u16, text: &'static str| {
        let status = StatusCode::from(status);
        let inner = Error::with_message(
            ErrorKind::HttpResponse { status, error_code: None, raw_response: None },
            text,
        );
        Fault::from(Error::with_error(ErrorKind::Credential, inner, format!("authentication failed. {text}")))
    };
    let refused = http(401, "AADSTS7000215: Invalid client secret provided: hush");
    assert_eq!(refused.kind, Kind::Refused);
    assert_eq!(refused.text, "Entra ID refused the credentials (401 AADSTS7000215)");
    assert_eq!(http(503, "").kind, Kind::Unreachable);
    assert_eq!(http(429, "").kind, Kind::Unreachable);
    let inner = std::io::Error::other("network is unreachable");
    let absent = Fault::from(Error::with_error(ErrorKind::Credential, inner, "authentication failed"));
    assert_eq!(absent.kind, Kind::Unreachable);
    assert_eq!(absent.text, "no token from Entra ID: network is unreachable");
}

#[test]
fn causes_are_the_innermost_and_short() {
    let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let outer = Error::with_error(ErrorKind::Connection, io, "failed to execute `reqwest` request");
    assert_eq!(Fault::from(outer).text, "no connection: connection refused");
    let long = Error::with_message(ErrorKind::Other, format!("a\n{}", "b".repeat(1_000)));
    let fault = Fault::from(long);
    assert_eq!((fault.text.len(), fault.text.contains('\n')), (bounds::ERROR_TEXT_MAX, false));
}
