//! Salesforce sends once more unless the answer says `<Ack>true</Ack>`, and may put a live session into the message.

use crate::client::{Answer, post, send_raw};
use crate::daemon::Daemon;
use crate::worker::drain;

const RECEIVER: &str = "--receiver=salesforce=text:00D200000000ABCEA2";

fn send(daemon: &Daemon, organization: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\"><OrganizationId>{organization}\
         </OrganizationId><ActionId>04k200000004CXXAA2</ActionId><SessionId>a-live-session</SessionId>\
         <Notification><Id>04l2000000000001AA</Id></Notification></notifications></s:Body></s:Envelope>"
    );
    let headers = [("Content-Type", "text/xml; charset=utf-8")];
    send_raw(daemon.address, &post("salesforce", &headers, body.as_bytes())).unwrap()
}

/// Acknowledged, or a fault; anything else Salesforce wouldn't understand.
fn is_acknowledged(answer: &Answer) -> bool {
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let (ack, fault) = (text.contains("<Ack>true</Ack>"), text.contains("<soapenv:Fault>"));
    assert!(ack != fault && answer.header("content-type") == Some("text/xml"), "{}\n{text}", answer.head);
    ack
}

#[test]
fn what_is_durable_is_acknowledged_and_its_session_is_not_queued() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[RECEIVER]);
    let answer = send(&daemon, "00D200000000ABCEA2");
    assert_eq!((answer.status, is_acknowledged(&answer)), (200, true));
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 1);
    let text = messages[0].to_string();
    assert!(text.contains("<SessionId>***</SessionId>") && !text.contains("a-live-session"), "{text}");
    assert!(!daemon.stop().contains("a-live-session"));
}

#[test]
fn a_refusal_and_a_failure_are_faults() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[RECEIVER]);
    let answer = send(&daemon, "00D900000000ABCEA2");
    assert_eq!((answer.status, is_acknowledged(&answer)), (401, false));
    assert!(drain(dir.path()).is_empty());
    daemon.stop();

    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[queue.embedded]\nmax = \"1B\"\n", &[RECEIVER]);
    let answer = send(&daemon, "00D200000000ABCEA2");
    assert_eq!((answer.status, is_acknowledged(&answer)), (503, false));
    daemon.stop();
}
