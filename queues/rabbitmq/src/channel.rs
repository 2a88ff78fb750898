//! A channel of one's own, and how it is closed for certain.

use std::pin::pin;
use std::sync::{Arc, Weak};

use lapin::Channel;
use lapin::protocol::constants::REPLY_SUCCESS;
use tokio::time::{sleep, timeout};

use crate::bounds;
use crate::fault::Fault;
use crate::session::{Session, Standing};

/// Closed when dropped, whatever is under way on it; the broker puts back what is unacknowledged on it. The
/// library closes a channel by itself, but not one on which a consumer was just being set up: that would go on
/// taking messages for nobody.
pub(crate) struct OwnChannel {
    channel: Channel,
    session: Arc<Session>,
}

impl OwnChannel {
    pub(crate) async fn open(session: &Arc<Session>) -> Result<Self, Fault> {
        Ok(Self { channel: session.channel().await?, session: session.clone() })
    }

    pub(crate) fn get(&self) -> &Channel {
        &self.channel
    }

    /// Closes it, and waits for the answer: what was on it is back by then.
    pub(crate) async fn close(self) {
        close(self.channel.clone(), &Arc::downgrade(&self.session)).await;
    }
}

impl Drop for OwnChannel {
    fn drop(&mut self) {
        if self.channel.status().connected() {
            let (channel, session) = (self.channel.clone(), Arc::downgrade(&self.session));
            self.session.spawn(async move { close(channel, &session).await });
        }
    }
}

/// Lets something end that waits for the connection to take what is written. One that takes nothing is of no
/// use any more; unless it is blocked.
pub(crate) async fn finish(work: impl Future, session: &Session) {
    let mut work = pin!(work);
    let mut patience = bounds::CLOSE_DEADLINE;
    while timeout(patience, &mut work).await.is_err() {
        if !matches!(session.standing(), Standing::Blocked(_)) {
            return session.kill();
        }
        patience = bounds::STATE_POLL;
    }
}

/// Closes a channel. A broker that doesn't answer this has stopped answering, and the connection is of no use
/// any more; unless it is blocked: then nothing is written to it at all.
pub(crate) async fn close(channel: Channel, session: &Weak<Session>) {
    let _ = timeout(bounds::CLOSE_DEADLINE, channel.close(REPLY_SUCCESS, "done".into())).await;
    while channel.status().connected() || channel.status().closing() {
        match session.upgrade() {
            Some(session) if matches!(session.standing(), Standing::Blocked(_)) => {}
            Some(session) => return session.kill(),
            None => return,
        }
        sleep(bounds::STATE_POLL).await;
    }
}
