use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sluiced_queue::{Data, Durable, RequestFacts};

use super::*;

/// Notes that it ran, and does what it is told.
struct Probe {
    name: &'static str,
    order: i32,
    receiver: Option<&'static str>,
    then: Then,
    ran: Arc<Mutex<Vec<&'static str>>>,
}

enum Then {
    GoOn,
    Respond,
    Fail,
    Rename,
}

#[async_trait]
impl WebHookHandler for Probe {
    fn order(&self) -> i32 {
        self.order
    }
    fn receiver(&self) -> Option<&str> {
        self.receiver
    }
    async fn execute(&self, _: &str, context: &mut WebHookHandlerContext) -> Result<(), HandlerError> {
        self.ran.lock().unwrap().push(self.name);
        match self.then {
            Then::GoOn => {}
            Then::Respond => context.response = Some(gone()),
            Then::Fail => return Err(HandlerError::Failed("no".into())),
            Then::Rename => context.actions = vec!["renamed".into()],
        }
        Ok(())
    }
}

fn gone() -> Reply {
    Reply { status: http::StatusCode::GONE, content_type: None, headers: vec![], body: Bytes::new() }
}

fn context() -> WebHookHandlerContext {
    WebHookHandlerContext::new(WebHookQueueContext {
        receiver: "github".into(),
        id: String::new(),
        actions: vec!["push".into()],
        data: Data::Bytes(Bytes::new()),
        raw_body: false,
        message_id: uuid::Uuid::nil(),
        delivery_id: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
        content_type: None,
        traceparent: None,
        masked: vec![],
        request: RequestFacts::default(),
        dedupe_for: None,
    })
}

async fn run(probes: Vec<(&'static str, i32, Option<&'static str>, Then)>) -> (Vec<&'static str>, bool) {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let handlers = probes
        .into_iter()
        .map(|(name, order, receiver, then)| {
            Box::new(Probe { name, order, receiver, then, ran: ran.clone() }) as Box<dyn WebHookHandler>
        })
        .collect();
    let ok = Chain::new(handlers).run(&mut context()).await.is_ok();
    let ran = ran.lock().unwrap().clone();
    (ran, ok)
}

#[tokio::test]
async fn handlers_run_in_ascending_order_and_equal_ones_as_added() {
    let (ran, _) = run(vec![
        ("c", i32::MAX, None, Then::GoOn),
        ("a", 50, None, Then::GoOn),
        ("b", 50, None, Then::GoOn),
        ("first", i32::MIN, None, Then::GoOn),
    ])
    .await;
    assert_eq!(ran, ["first", "a", "b", "c"]);
}

#[tokio::test]
async fn a_handler_runs_only_for_its_receiver_whatever_the_case() {
    let (ran, _) = run(vec![
        ("other", 1, Some("stripe"), Then::GoOn),
        ("same", 2, Some("GitHub"), Then::GoOn),
        ("none", 3, Some(""), Then::GoOn),
    ])
    .await;
    assert_eq!(ran, ["same"], "an empty name is a name that no receiver has");
}

#[tokio::test]
async fn a_response_or_an_error_ends_the_chain() {
    let (ran, ok) = run(vec![("a", 1, None, Then::Respond), ("b", 2, None, Then::GoOn)]).await;
    assert_eq!((ran, ok), (vec!["a"], true));
    let (ran, ok) = run(vec![("a", 1, None, Then::Fail), ("b", 2, None, Then::GoOn)]).await;
    assert_eq!((ran, ok), (vec!["a"], false));
}

#[tokio::test]
async fn the_queue_handler_sees_what_earlier_handlers_changed() {
    struct Keep(Mutex<Vec<WebHookQueueContext>>);
    #[async_trait]
    impl sluiced_queue::WebHookQueueHandler for Keep {
        async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
            self.0.lock().unwrap().push(context.clone());
            Ok(Receipt::confirmed(Durable::Embedded))
        }
        fn message_bytes_max(&self) -> usize {
            usize::MAX
        }
        fn health(&self) -> sluiced_queue::Health {
            sluiced_queue::Health::Ready
        }
        async fn close(&self) {}
    }
    let keep = Arc::new(Keep(Mutex::new(Vec::new())));
    let rename = Probe {
        name: "r",
        order: 1,
        receiver: None,
        then: Then::Rename,
        ran: Arc::new(Mutex::new(Vec::new())),
    };
    let chain = Chain::new(vec![Box::new(QueueHandler::new(keep.clone())), Box::new(rename)]);
    let mut context = context();
    chain.run(&mut context).await.unwrap();
    assert_eq!(context.receipt().map(Receipt::durable), Some(Durable::Embedded));
    assert!(context.response.is_none(), "success leaves the response unset");
    assert_eq!(keep.0.lock().unwrap()[0].actions, ["renamed"]);
}

#[test]
fn a_handler_defaults_to_order_50_and_to_every_receiver() {
    struct Plain;
    #[async_trait]
    impl WebHookHandler for Plain {
        async fn execute(&self, _: &str, _: &mut WebHookHandlerContext) -> Result<(), HandlerError> {
            Ok(())
        }
    }
    assert_eq!((Plain.order(), Plain.receiver()), (50, None));
}

#[tokio::test]
async fn a_handler_is_told_the_canonical_name_and_the_context_is_shared() {
    struct Tell(Arc<Mutex<Vec<String>>>);
    #[async_trait]
    impl WebHookHandler for Tell {
        async fn execute(
            &self,
            receiver: &str,
            context: &mut WebHookHandlerContext,
        ) -> Result<(), HandlerError> {
            self.0.lock().unwrap().push(format!("{receiver} {}", context.id));
            context.id = "changed".into();
            Ok(())
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let chain = Chain::new(vec![Box::new(Tell(told.clone())), Box::new(Tell(told.clone()))]);
    chain.run(&mut context()).await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["github ", "github changed"]);
}

#[tokio::test]
async fn handlers_run_one_after_the_other_each_awaited() {
    struct Slow(Arc<Mutex<Vec<&'static str>>>);
    #[async_trait]
    impl WebHookHandler for Slow {
        async fn execute(&self, _: &str, _: &mut WebHookHandlerContext) -> Result<(), HandlerError> {
            self.0.lock().unwrap().push("begins");
            tokio::task::yield_now().await;
            self.0.lock().unwrap().push("ends");
            Ok(())
        }
    }
    let ran = Arc::new(Mutex::new(Vec::new()));
    Chain::new(vec![Box::new(Slow(ran.clone())), Box::new(Slow(ran.clone()))])
        .run(&mut context())
        .await
        .unwrap();
    assert_eq!(*ran.lock().unwrap(), ["begins", "ends", "begins", "ends"]);
}

#[test]
fn data_reads_as_a_type_that_fits_and_as_none_otherwise() {
    let mut context = context();
    context.data = Data::Json(Bytes::from_static(b"{\"Id\":\"1\",\"Notifications\":[{\"Action\":\"a\"}]}"));
    let custom: sluiced_queue::CustomNotifications = context.data_as().unwrap();
    assert_eq!(custom.actions().collect::<Vec<_>>(), ["a"]);
    assert_eq!(context.data_as::<Vec<u8>>(), None, "an object is no array");
    context.data = Data::Text("x".into());
    assert_eq!(context.data_as::<String>(), None, "only JSON is read");
}

#[test]
fn it_is_a_duplicate_only_if_every_queue_says_so() {
    let mut context = context();
    context.set_receipt(Receipt::of_duplicate(Durable::Embedded));
    assert!(context.receipt().unwrap().is_duplicate());
    context.set_receipt(Receipt::confirmed(Durable::Embedded));
    context.set_receipt(Receipt::of_duplicate(Durable::Embedded));
    assert!(!context.receipt().unwrap().is_duplicate());
}
