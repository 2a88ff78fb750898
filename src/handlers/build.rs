//! Puts the chain together from the configuration, and refuses one that would leave a webhook to nobody.

use crate::backend::Backend;
use crate::config::{Config, ConfigError, HandlerConfig, HandlerKind};

use super::dedupe::Dedupe;
use super::narrow::Narrowed;
use super::respond::Respond;
use super::{Chain, QueueHandler, WebHookHandler};

/// The configured handlers, the given ones, and unless told otherwise a queue handler for everything,
/// which stands behind others of its order.
///
/// # Errors
/// For a queue that the backend can't open.
pub fn build(
    config: &Config,
    backend: &Backend,
    given: Vec<Box<dyn WebHookHandler>>,
) -> Result<Chain, ConfigError> {
    let mut handlers = given;
    for handler in &config.handlers {
        handlers.push(configured(handler, backend)?);
    }
    if config.default_queue {
        handlers.push(Box::new(QueueHandler::new(backend.handler.clone())));
    }
    Ok(Chain::new(handlers))
}

fn configured(config: &HandlerConfig, backend: &Backend) -> Result<Box<dyn WebHookHandler>, ConfigError> {
    let (order, narrowing) = (config.order, config.narrowing.clone());
    Ok(match &config.kind {
        HandlerKind::Respond(reply) => Box::new(Narrowed::new(order, narrowing, Respond::new(reply.clone()))),
        HandlerKind::Drop => Box::new(Narrowed::new(order, narrowing, Respond::dropping())),
        HandlerKind::Dedupe(window) => Box::new(Narrowed::new(order, narrowing, Dedupe::new(*window))),
        HandlerKind::Queue(target) => {
            let queue = backend.others.get(&config.name).cloned();
            let queue = queue.ok_or_else(|| ConfigError(format!("{target} isn't open")))?;
            Box::new(Narrowed::new(order, narrowing, QueueHandler::new(queue)))
        }
    })
}

/// Refuses a configuration in which a verified webhook may find no handler that queues, drops or answers
/// it: its sender would get 503 for ever.
///
/// # Errors
/// Names the first such receiver, and the way out.
pub fn check_complete(config: &Config) -> Result<(), ConfigError> {
    if config.default_queue {
        return Ok(());
    }
    let takes = |handler: &&HandlerConfig| !matches!(handler.kind, HandlerKind::Dedupe(_));
    for receiver in &config.receivers {
        let mut takers = config.handlers.iter().filter(takes);
        if !takers.any(|handler| handler.narrowing.wants_all_of(&receiver.name, &receiver.id)) {
            return Err(ConfigError(format!(
                "default_queue is false, and no handler takes every webhook of receiver {}; \
                 add one without `actions`, or take default_queue = false out",
                receiver.label()
            )));
        }
    }
    Ok(())
}
