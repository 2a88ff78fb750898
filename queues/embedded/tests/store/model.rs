//! Random orders against a model that fits on a page: whatever two workers do, the store gives out the
//! messages that it should, with the counts that it should.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sluiced_embedded::{EmbeddedConsumer, EmbeddedQueue};
use sluiced_queue::{Backlog, ConsumeError, LeasedMessage, WebHookQueueConsumer};

use crate::common::{LEASE, NOW, append, consumer, dir, receive, small_partitions, sql_do, text};

/// What somebody does. Numbers choose a worker, or one of the leases ever had.
#[derive(Clone, Debug)]
enum Order {
    Append(usize),
    Receive(usize, usize),
    Acknowledge(usize),
    /// With a delay or at once, failed or not.
    Release(usize, bool, bool),
    Extend(usize),
    Bury(usize),
    /// All leases, and all delays, end.
    TimePasses,
    Restart,
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    let one = prop_oneof![
        4 => (1..8_usize).prop_map(Order::Append),
        6 => (0..2_usize, 1..9_usize).prop_map(|(who, max)| Order::Receive(who, max)),
        12 => any::<usize>().prop_map(Order::Acknowledge),
        5 => (any::<usize>(), any::<bool>(), any::<bool>())
            .prop_map(|(which, delayed, failed)| Order::Release(which, delayed, failed)),
        2 => any::<usize>().prop_map(Order::Extend),
        1 => any::<usize>().prop_map(Order::Bury),
        1 => Just(Order::TimePasses),
        1 => Just(Order::Restart),
    ];
    prop::collection::vec(one, 1..60)
}

/// A message that isn't done, by its number in order of appending.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Visible {
        attempts: u32,
    },
    Delayed {
        attempts: u32,
    },
    /// To whom doesn't matter; which time it was had does.
    Leased {
        attempt: u32,
        had: usize,
    },
    /// The lease has ended, and nobody has looked since: its holder may still settle it.
    Expired {
        attempt: u32,
        had: usize,
    },
}

#[derive(Default)]
struct Model {
    appended: usize,
    messages: BTreeMap<usize, State>,
    /// Everything that was ever received.
    had: Vec<(usize, usize, LeasedMessage)>,
    buried: usize,
}

impl Model {
    fn append(&mut self, count: usize) {
        for _ in 0..count {
            self.messages.insert(self.appended, State::Visible { attempts: 0 });
            self.appended += 1;
        }
    }

    /// The messages that a receive must give: number and attempt.
    fn receive(&mut self, max: usize) -> Vec<(usize, u32)> {
        for state in self.messages.values_mut() {
            if let State::Expired { attempt, .. } = *state {
                *state = State::Visible { attempts: attempt };
            }
        }
        let visible = self.messages.iter().filter_map(|(number, state)| match state {
            State::Visible { attempts } => Some((*number, attempts + 1)),
            _ => None,
        });
        visible.take(max).collect()
    }

    fn took(&mut self, who: usize, given: &[(usize, u32)], messages: Vec<LeasedMessage>) {
        for (&(number, attempt), message) in given.iter().zip(messages) {
            self.messages.insert(number, State::Leased { attempt, had: self.had.len() });
            self.had.push((who, number, message));
        }
    }

    /// The state of what was had then, if its lease still stands.
    fn held(&self, had: usize) -> Option<u32> {
        match self.messages.get(&self.had[had].1)? {
            State::Leased { attempt, had: now } | State::Expired { attempt, had: now } => {
                (*now == had).then_some(*attempt)
            }
            State::Visible { .. } | State::Delayed { .. } => None,
        }
    }

    fn time_passes(&mut self) {
        for state in self.messages.values_mut() {
            *state = match *state {
                State::Leased { attempt, had } => State::Expired { attempt, had },
                State::Delayed { attempts } => State::Visible { attempts },
                other => other,
            };
        }
    }

    fn backlog(&self) -> Backlog {
        let count =
            |wanted: fn(&State) -> bool| self.messages.values().filter(|state| wanted(state)).count() as u64;
        Backlog {
            visible: count(|state| matches!(state, State::Visible { .. } | State::Expired { .. })),
            leased: count(|state| matches!(state, State::Leased { .. })),
            delayed: count(|state| matches!(state, State::Delayed { .. })),
        }
    }
}

/// The store and its model, side by side.
struct Both {
    dir: tempfile::TempDir,
    queue: EmbeddedQueue,
    workers: [EmbeddedConsumer; 2],
    model: Model,
}

impl Both {
    fn new() -> Self {
        let dir = dir();
        let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
        let workers = [consumer(dir.path()), consumer(dir.path())];
        Self { dir, queue, workers, model: Model::default() }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Append(count) => {
                for number in self.model.appended..self.model.appended + count {
                    append(&self.queue, number.to_string()).await;
                }
                self.model.append(count);
            }
            Order::Receive(who, max) => self.receive(who, max).await,
            Order::TimePasses => {
                sql_do(
                    self.dir.path(),
                    "UPDATE leases SET expires_ms = 1; UPDATE waiting SET visible_ms = min(visible_ms, 1)",
                );
                self.model.time_passes();
            }
            Order::Restart => {
                self.queue.close().await;
                self.queue = EmbeddedQueue::open(self.dir.path(), small_partitions()).unwrap();
            }
            settling => self.settle(settling).await,
        }
    }

    async fn receive(&mut self, who: usize, max: usize) {
        let given = self.model.receive(max);
        let messages = receive(&self.workers[who], max).await;
        let got: Vec<(usize, u32)> =
            messages.iter().map(|message| (text(message).parse().unwrap(), message.attempt)).collect();
        assert_eq!(got, given);
        self.model.took(who, &given, messages);
    }

    async fn settle(&mut self, order: Order) {
        let (Order::Acknowledge(which)
        | Order::Release(which, ..)
        | Order::Extend(which)
        | Order::Bury(which)) = order
        else {
            return;
        };
        if self.model.had.is_empty() {
            return;
        }
        // Mostly one of the last, for the others are done.
        let had = self.model.had.len() - 1 - which % self.model.had.len().min(12);
        let (who, number, message) = self.model.had[had].clone();
        let worker = &self.workers[who];
        let answer = match order {
            Order::Acknowledge(_) => worker.acknowledge(&message).await,
            Order::Release(_, delayed, failed) => {
                worker.release(&message, if delayed { LEASE } else { NOW }, failed).await
            }
            Order::Extend(_) => worker.extend(&message, LEASE).await,
            _ => worker.dead_letter(&message, "model").await,
        };
        let Some(attempt) = self.model.held(had) else {
            assert_eq!(answer, Err(ConsumeError::LeaseLost));
            return;
        };
        assert_eq!(answer, Ok(()));
        let state = match order {
            Order::Release(_, delayed, failed) => {
                let attempts = if failed { attempt } else { attempt - 1 };
                Some(if delayed { State::Delayed { attempts } } else { State::Visible { attempts } })
            }
            Order::Extend(_) => Some(State::Leased { attempt, had }),
            Order::Acknowledge(_) => None,
            _ => {
                self.model.buried += 1;
                None
            }
        };
        match state {
            Some(state) => drop(self.model.messages.insert(number, state)),
            None => drop(self.model.messages.remove(&number)),
        }
    }

    async fn agree(&self) {
        assert_eq!(self.workers[0].backlog().await.unwrap(), self.model.backlog());
        let depth = self.queue.depth().await.unwrap();
        let bytes: usize = self.model.messages.keys().map(|number| number.to_string().len()).sum();
        assert_eq!((depth.messages, depth.bytes), (self.model.messages.len() as u64, bytes as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(orders in orders()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut both = Both::new();
            for order in orders {
                both.carry_out(order).await;
                both.agree().await;
            }
            let dead = sluiced_embedded::DeadLetters::open(both.dir.path(), "webhooks").unwrap();
            assert_eq!(dead.list(0).unwrap().len(), both.model.buried);
            both.queue.close().await;
            // And it adds up, says the check at the start.
            crate::common::open(both.dir.path()).close().await;
        });
    }
}
