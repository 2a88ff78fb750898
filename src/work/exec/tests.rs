use bytes::Bytes;
use sluiced_queue::{Data, LeasedMessage, RequestFacts, WebHookQueueContext};

use super::*;

fn job(actions: Vec<String>, query: &str, headers: Vec<(String, Vec<String>)>) -> Job {
    let context = WebHookQueueContext {
        receiver: "github".into(),
        id: "a\0b".into(),
        actions,
        data: Data::Bytes(Bytes::new()),
        raw_body: false,
        message_id: uuid::Uuid::nil(),
        delivery_id: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
        content_type: None,
        traceparent: None,
        masked: Vec::new(),
        request: RequestFacts {
            query: query.into(),
            headers: headers.into_iter().collect(),
            ..RequestFacts::default()
        },
        dedupe_for: None,
    };
    let message =
        LeasedMessage { message: context.encode(), headers: Vec::new(), attempt: 3, tag: 1, lease: 1 };
    Job { message, context }
}

fn value(job: &Job, name: &str) -> String {
    let variables = variables(job);
    let (_, value) = variables.iter().find(|(n, _)| n == name).expect("always set");
    value.clone()
}

#[test]
fn a_nul_can_not_end_a_variable() {
    let job = job(vec!["push".into(), "pi\0ng".into()], "", Vec::new());
    assert_eq!(value(&job, "SLUICED_ID"), "ab");
    assert_eq!(value(&job, "SLUICED_ACTIONS"), "push,ping");
    assert_eq!(value(&job, "SLUICED_ATTEMPT"), "3");
    assert_eq!(value(&job, "SLUICED_DELIVERY_ID"), "");
    assert_eq!(value(&job, "SLUICED_OMITTED"), "");
}

#[test]
fn headers_are_json_in_their_order() {
    let headers = vec![
        ("x-b".to_owned(), vec!["1".to_owned(), "\"2\"".to_owned()]),
        ("x-a".to_owned(), vec![String::new()]),
    ];
    assert_eq!(
        value(&job(Vec::new(), "", headers), "SLUICED_HEADERS"),
        r#"{"x-b":["1","\"2\""],"x-a":[""]}"#
    );
}

#[test]
fn what_is_too_long_is_left_out_and_named() {
    let job = job(vec!["a".repeat(WORK_VARIABLE_BYTES_MAX)], &"q".repeat(1000), Vec::new());
    assert_eq!(value(&job, "SLUICED_ACTIONS"), "");
    assert_eq!(value(&job, "SLUICED_QUERY").len(), 1000);
    assert_eq!(value(&job, "SLUICED_OMITTED"), "SLUICED_ACTIONS");
}

#[test]
fn one_word_is_a_program_or_a_line_and_several_are_taken_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let spaced = dir.path().join("my worker");
    std::fs::write(&spaced, "").unwrap();
    let exec = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let exec = Exec::new(&words, Groups::default());
        let words = std::iter::once(&exec.program).chain(&exec.arguments);
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(exec(&["./handle.sh"]), ["./handle.sh"]);
    assert_eq!(exec(&["python3 worker.py"]), ["sh", "-c", "python3 worker.py"]);
    assert_eq!(exec(&["python3", "my worker.py"]), ["python3", "my worker.py"]);
    let spaced = spaced.to_str().unwrap();
    assert_eq!(exec(&[spaced]), [spaced]);
}
