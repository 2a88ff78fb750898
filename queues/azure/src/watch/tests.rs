use super::*;

fn watch() -> Watch {
    Watch::new("127.0.0.1:1", "webhooks", "queue")
}

fn fault(kind: Kind) -> Fault {
    Fault::new(kind, format!("{kind:?}"))
}

fn why(watch: &Watch) -> Option<String> {
    match watch.health() {
        Health::Ready => None,
        Health::NotReady(why) => Some(why),
        Health::Failed(why) => panic!("a broker never fails for good: {why}"),
    }
}

#[tokio::test]
async fn it_is_not_ready_before_the_first_answer() {
    let watch = watch();
    assert_eq!(why(&watch).as_deref(), Some("not connected yet"));
    assert!(watch.answered());
    assert_eq!(why(&watch), None);
}

#[tokio::test]
async fn what_says_something_of_the_queue_makes_it_not_ready_and_a_stored_message_ready() {
    let of_queue = [
        Kind::Unreachable,
        Kind::Broken,
        Kind::ServerError,
        Kind::Refused,
        Kind::NotPermitted,
        Kind::NoQueue,
        Kind::BeingDeleted,
    ];
    for kind in of_queue {
        let watch = watch();
        watch.stored();
        watch.failed(&fault(kind));
        assert_eq!(why(&watch), Some(format!("{kind:?}")));
        watch.stored();
        assert_eq!(why(&watch), None);
    }
}

#[tokio::test]
async fn a_message_that_is_refused_and_throttling_leave_it_ready() {
    for kind in [Kind::TooLarge, Kind::Rejected, Kind::Throttled, Kind::Late] {
        let watch = watch();
        watch.stored();
        watch.failed(&fault(kind));
        assert_eq!(why(&watch), None, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_send_that_was_not_permitted_an_answered_probe_proves_nothing_for_a_while() {
    let watch = watch();
    watch.stored();
    watch.failed(&fault(Kind::NotPermitted));
    assert!(!watch.answered());
    assert!(why(&watch).is_some());
    tokio::time::advance(bounds::REFUSED_PAUSE).await;
    assert!(watch.answered());
    assert_eq!(why(&watch), None, "the next send may try");
    watch.failed(&fault(Kind::NotPermitted));
    assert!(!watch.answered(), "and puts it off again");
}

#[tokio::test(start_paused = true)]
async fn the_log_says_each_change_once() {
    let watch = watch();
    let logged = || watch.state().logged;
    assert!(watch.answered());
    assert_eq!(logged(), Logged::Connected);
    watch.failed(&fault(Kind::NotPermitted));
    tokio::time::advance(bounds::REFUSED_PAUSE).await;
    assert!(watch.answered());
    assert_eq!(logged(), Logged::Refused, "ready on trial is no news");
    watch.stored();
    assert_eq!(logged(), Logged::Connected);
    for kind in [Kind::Unreachable, Kind::Broken, Kind::ServerError] {
        watch.failed(&fault(kind));
        assert_eq!(logged(), Logged::Lost);
    }
}

/// Azure answers all that reads, and fails in all that writes: that is one line, not two a message.
#[tokio::test]
async fn a_probe_that_is_answered_is_no_news_while_sends_fail() {
    for kind in [Kind::ServerError, Kind::Broken] {
        let watch = watch();
        watch.stored();
        for _ in 0..3 {
            watch.failed(&fault(kind));
            assert!(why(&watch).is_some());
            assert!(watch.answered());
            assert_eq!((why(&watch), watch.state().logged), (None, Logged::Lost), "ready on trial");
        }
        watch.stored();
        assert_eq!(watch.state().logged, Logged::Connected);
        watch.failed(&fault(kind));
        watch.unanswered(&fault(Kind::Unreachable));
        assert!(watch.answered());
        assert_eq!(watch.state().logged, Logged::Connected, "what the probe lost it also finds");
    }
}

#[test]
fn probes_come_about_once_a_second() {
    let pauses: Vec<Duration> = pauses().take(20).collect();
    assert!(pauses[0] < Duration::from_millis(600), "{pauses:?}");
    assert!(pauses[5..].iter().all(|p| (1_000..2_100).contains(&p.as_millis())), "{pauses:?}");
}
