//! `sluiced dead`: lists, shows, retries or purges what workers gave up on.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use clap::ArgMatches;
use jiff::Timestamp;
use sluiced_queue::{DeadLetter, DeadLetterError, DeadLetterStore};

use super::Failure;
use super::dead_view::View;
use crate::backend::{self, Opened};
use crate::bounds::DEAD_PAGE;
use crate::cli::{DeadAction, DeadFlags, DeadPick};
use crate::config::{QueueConfig, resolve_queue};

/// Does what is asked. `matches` are those of `dead`.
///
/// # Errors
/// [`Failure::Running`] when the store can't be used, and when a dead letter isn't there; the others were
/// dealt with then.
pub async fn run(action: &DeadAction, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((_, matches)) = matches.subcommand() else { unreachable!("clap asks for an action") };
    let flags = match action {
        DeadAction::List(flags) | DeadAction::Show { flags, .. } => flags,
        DeadAction::Retry(pick) | DeadAction::Purge(pick) => &pick.flags,
    };
    let desk = Desk::open(flags, matches).await?;
    let done = match action {
        DeadAction::List(_) => desk.list().await,
        DeadAction::Show { id, .. } => desk.show(id).await,
        DeadAction::Retry(pick) => desk.each(pick, Deed::Retry).await,
        DeadAction::Purge(pick) => desk.each(pick, Deed::Purge).await,
    };
    match done {
        // Whoever read our output has seen enough.
        Err(DeadFailure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Running(error.to_string())),
        Ok(()) => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
enum DeadFailure {
    #[error(transparent)]
    Store(#[from] DeadLetterError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Some(Vec<DeadLetterError>),
    #[error("can't write to stdout: {0}")]
    Output(#[from] io::Error),
}

#[derive(Clone, Copy)]
enum Deed {
    Retry,
    Purge,
}

impl Deed {
    fn done(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Purge => "purged",
        }
    }
}

/// The dead letters of a queue, and how they are shown.
struct Desk {
    store: Arc<dyn DeadLetterStore>,
    queue: String,
    view: View,
}

impl Desk {
    async fn open(flags: &DeadFlags, matches: &ArgMatches) -> Result<Self, Failure> {
        let config = resolve_queue(&flags.queue, matches)?;
        let store = match backend::open_dead_letters(&config, flags.local).await? {
            Opened::Open(store) => store,
            Opened::NotYet(why) if config.is_remote() && !flags.local => return Err(Failure::Running(why)),
            Opened::NotYet(_) => return Err(not_there(&config)),
        };
        Ok(Self { store, queue: config.name, view: View::new(flags.json) })
    }

    async fn list(&self) -> Result<(), DeadFailure> {
        let mut pages = Pages::new(&*self.store);
        let mut shown = 0;
        while let Some(page) = pages.next().await? {
            if shown == 0 {
                self.view.heading()?;
            }
            page.iter().try_for_each(|letter| self.view.row(letter))?;
            shown += page.len();
        }
        if shown == 0 { self.nothing() } else { Ok(()) }
    }

    async fn show(&self, id: &str) -> Result<(), DeadFailure> {
        let letter = self.store.show(id).await?;
        Ok(self.view.whole(&letter)?)
    }

    async fn each(&self, pick: &DeadPick, deed: Deed) -> Result<(), DeadFailure> {
        let (mut done, mut failed) = (0, Vec::new());
        if pick.all {
            let began = Timestamp::now();
            let mut pages = Pages::new(&*self.store);
            while let Some(page) = pages.next().await? {
                // Those that died since may be ours: retried, and given up again.
                let old = page.into_iter().filter(|letter| letter.died_at <= began).map(|letter| letter.id);
                done += self.all_of(&old.collect::<Vec<_>>(), deed, &mut failed).await;
            }
        } else {
            done += self.all_of(&pick.ids, deed, &mut failed).await;
        }
        if done > 0 {
            self.view.total(done, deed.done())?;
        }
        match (done, failed.is_empty()) {
            (_, false) => Err(DeadFailure::Some(failed)),
            (0, true) => self.nothing(),
            _ => Ok(()),
        }
    }

    /// How many it was done to.
    async fn all_of(&self, ids: &[String], deed: Deed, failed: &mut Vec<DeadLetterError>) -> usize {
        let mut done = 0;
        for id in ids {
            let outcome = match deed {
                Deed::Retry => self.store.retry(id).await,
                Deed::Purge => self.store.purge(id).await,
            };
            match outcome {
                Ok(()) => {
                    done += 1;
                    // Nobody reading is no reason to stop half-way.
                    let _ = self.view.done(id, deed.done());
                }
                Err(error) => failed.push(error),
            }
        }
        done
    }

    fn nothing(&self) -> Result<(), DeadFailure> {
        Ok(self.view.nothing(&self.queue)?)
    }
}

/// All dead letters, a page at a time.
struct Pages<'s> {
    store: &'s dyn DeadLetterStore,
    after: Option<String>,
}

impl<'s> Pages<'s> {
    fn new(store: &'s dyn DeadLetterStore) -> Self {
        Self { store, after: None }
    }

    async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, DeadLetterError> {
        let page = self.store.list(self.after.as_deref(), DEAD_PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.id.clone());
        Ok(Some(page))
    }
}

fn not_there(config: &QueueConfig) -> Failure {
    let dir = crate::config::receivers::absolute(&config.data_dir);
    Failure::Running(format!("there is no queue in {}; name its directory with --data-dir", dir.display()))
}
