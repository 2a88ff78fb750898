//! A daemon of one's own: all of sluiced, and one more handler.
//!
//!     cargo run --example custom_handler -- serve --receiver github=env:GITHUB_SECRET
//!
//! The handler stands in front of the queue. It answers pushes to branches that nobody builds, so that
//! they are never queued, and leaves everything else to the handlers behind it.

use std::process::ExitCode;

use async_trait::async_trait;
use serde::Deserialize;
use sluiced::handlers::{HandlerError, Reply, WebHookHandler, WebHookHandlerContext};

struct OnlyMain;

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    branch: String,
}

#[async_trait]
impl WebHookHandler for OnlyMain {
    fn order(&self) -> i32 {
        10
    }

    fn receiver(&self) -> Option<&str> {
        Some("github")
    }

    async fn execute(&self, _: &str, context: &mut WebHookHandlerContext) -> Result<(), HandlerError> {
        if let Some(push) = context.data_as::<Push>()
            && push.branch != "refs/heads/main"
        {
            context.response = Some(Reply::text(200, "not built"));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    sluiced::run(vec![Box::new(OnlyMain)])
}
