//! The broker, what stands between it and the daemon, and what can be done to either.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sluiced_test_brokers::{Azurite, Direction, Flow, Nats, Proxy, RabbitMq, nats};
use tokio::time::sleep;

use crate::bounds::LOOK_EVERY;
use crate::fault::Fault;
use crate::front::{Front, Mode};
use crate::jetstream;
use crate::options::{Ack, Queue};
use crate::plan::Step;
use crate::random::Random;
use crate::reader::{self, Reader};

/// A running broker, which outlives the rounds, behind a proxy of the round's own.
#[derive(Debug)]
pub struct Broker {
    server: Server,
    proxy: Proxy,
    /// Before the proxy, for Azurite.
    front: Option<Front>,
}

/// A server, and which queue of it is used.
#[derive(Debug)]
struct Server {
    kind: Kind,
    /// The operator's exchange and its queue, instead of one that the daemon makes.
    exchange: bool,
}

#[derive(Debug)]
enum Kind {
    RabbitMq(RabbitMq),
    Nats(Nats),
    Azure(Azurite),
}

/// What a publisher's frame may have: a cut comes after so many bytes, in the middle of something mostly.
const CUT_WITHIN_BYTES: u64 = 6_000;

/// What is on its way to the broker when the way is closed has arrived by then.
const SETTLED: Duration = Duration::from_millis(300);

/// The operator's exchange, and the queue bound to it: see `bind_rabbitmq.py`.
const EXCHANGE: &str = "torture";

/// The events that there are, as the patterns of their routing keys.
const EVENTS: [&str; 2] = ["push", "star.*"];

/// Goes with this program, whatever becomes of the tree that it was built in.
const BIND: &str = include_str!("../bind_rabbitmq.py");

/// RabbitMQ's limits: one that no disk has, and its default.
const DISK_LIMITS: [&str; 2] = ["1000000GB", "50MB"];

impl Broker {
    /// A running one; `None` where the queue has none.
    pub async fn start(queue: Queue) -> Option<Self> {
        let kind = match queue {
            Queue::Embedded => return None,
            Queue::RabbitMq => Kind::RabbitMq(RabbitMq::start().await),
            // What it confirms is synced, as it is recommended.
            Queue::Nats => Kind::Nats(
                Nats::with(nats::Options { sync_interval: Some("always".into()), ..Default::default() })
                    .await,
            ),
            Queue::Azure => Kind::Azure(Azurite::start().await),
        };
        let server = Server { kind, exchange: false };
        let proxy = Proxy::to(server.address()).await;
        let front = match queue {
            Queue::Azure => Some(Front::to(([127, 0, 0, 1], proxy.port()).into()).await),
            _ => None,
        };
        Some(Self { server, proxy, front })
    }

    /// Started again, in order where it can't be killed.
    pub async fn again(&mut self) {
        self.server.bounce(Duration::ZERO).await;
    }

    /// What the daemon is started with. For an exchange there is a configuration file in the round's directory.
    ///
    /// # Errors
    /// When the broker has no exchange for it, or the file can't be written.
    pub async fn flags(&mut self, ack: Ack, exchange: bool, round: &Path) -> Result<Vec<String>, String> {
        let port = self.front.as_ref().map_or_else(|| self.proxy.port(), Front::port);
        let (name, url) = match &self.server.kind {
            Kind::RabbitMq(rabbit) => ("rabbitmq", rabbit.url_at(port)),
            Kind::Nats(nats) => ("nats", nats.url_at(port)),
            Kind::Azure(azurite) => ("azure", azurite.connection_string_at(port)),
        };
        let ack = if ack == Ack::Spool { "spool" } else { "queue" };
        let mut flags = vec![format!("--queue={name}"), format!("--queue-url={url}"), format!("--ack={ack}")];
        self.server.exchange = exchange;
        if exchange {
            self.server.bind(&EVENTS).await?;
            let file = round.join("sluiced.toml");
            let text = format!("[queue.rabbitmq]\nexchange = \"{EXCHANGE}\"\nrouting_key = \"{{action}}\"\n");
            std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
            flags.push(format!("--config={}", file.display()));
        }
        Ok(flags)
    }

    /// What reads the queue, on a way of its own.
    pub fn reader(&self) -> Reader {
        match &self.server.kind {
            Kind::RabbitMq(rabbit) => {
                Reader::Python("read_rabbitmq.py", vec![rabbit.url(), self.server.queue().into()])
            }
            Kind::Nats(nats) => Reader::Python("read_nats.py", vec![nats.url(), jetstream::STREAM.into()]),
            Kind::Azure(azurite) => {
                Reader::Node("read-azure.mjs", vec![azurite.connection_string(), "webhooks".into()])
            }
        }
    }

    /// Does it, and makes it good again. What had to be read out of the queue before it was deleted is added to
    /// `taken`.
    ///
    /// # Errors
    /// When the broker doesn't do what it is told to.
    pub async fn suffer(&mut self, step: &Step, taken: &mut Vec<Vec<u8>>) -> Result<(), String> {
        match step.fault {
            Fault::BrokerKill | Fault::BothKill | Fault::BrokerStop => self.server.bounce(step.lasts).await,
            Fault::BrokerFreeze => {
                self.server.freeze();
                sleep(step.lasts).await;
                self.server.thaw();
            }
            Fault::MemoryAlarm | Fault::DiskAlarm => self.server.alarm(step).await,
            Fault::Deleted => return self.delete(step, taken).await,
            Fault::Full => return self.server.fill(step.lasts).await,
            Fault::Unroutable => {
                // Half of the time much is on its way, and comes at once; and often other messages go on.
                let still: &[&str] = if step.dice.is_multiple_of(3) { &[] } else { &EVENTS[..1] };
                if step.dice.is_multiple_of(2) {
                    self.proxy.set(Direction::Up, Flow::Stall);
                    sleep(SETTLED).await;
                }
                self.server.bind(still).await?;
                self.proxy.pass();
                sleep(step.lasts).await;
                return self.server.bind(&EVENTS).await;
            }
            Fault::Answer500 | Fault::Answer503 | Fault::Answer403 | Fault::AnswerLost => {
                self.answer(step).await;
            }
            _ => self.line(step).await,
        }
        Ok(())
    }

    /// What networks do.
    async fn line(&self, step: &Step) {
        let mut random = Random::new(step.dice);
        let both = |flow| {
            self.proxy.set(Direction::Up, flow);
            self.proxy.set(Direction::Down, flow);
        };
        match step.fault {
            Fault::Cut => self.proxy.cut_after(Direction::Up, random.between(1, CUT_WITHIN_BYTES)),
            Fault::CutAnswers => {
                self.proxy.cut_after(Direction::Down, random.between(1, CUT_WITHIN_BYTES / 10));
            }
            Fault::Delay => both(Flow::Delay(Duration::from_millis(random.between(20, 600)))),
            Fault::Throttle => both(Flow::Throttle(random.between(2_000, 200_000) as u32)),
            Fault::PartitionUp => self.proxy.set(Direction::Up, Flow::Stall),
            _ => self.proxy.set(Direction::Down, Flow::Stall),
        }
        sleep(step.lasts).await;
        // Half of the partitions end with the connection, as where a gateway has forgotten it.
        if matches!(step.fault, Fault::PartitionUp | Fault::PartitionDown) && random.percent(50) {
            self.proxy.cut();
        }
        self.proxy.pass();
    }

    async fn answer(&self, step: &Step) {
        let Some(front) = &self.front else { return };
        front.set(match step.fault {
            Fault::Answer500 => Mode::Answer(500),
            Fault::Answer503 => Mode::Answer(503),
            Fault::Answer403 => Mode::Answer(403),
            _ => Mode::LoseAnswer,
        });
        sleep(step.lasts).await;
        front.set(Mode::Pass);
    }

    /// Whoever deletes a queue deletes what is in it, which is no loss of the daemon's. So nothing may be in it: the
    /// way to it is closed, all of it is read, and only then is it deleted.
    async fn delete(&self, step: &Step, taken: &mut Vec<Vec<u8>>) -> Result<(), String> {
        self.proxy.set(Direction::Up, Flow::Stall);
        sleep(SETTLED).await;
        let deleted = loop {
            match self.server.messages().await? {
                None => break false,
                Some(0) => break true,
                Some(_) => {
                    let before = taken.len();
                    self.reader().read(taken).await?;
                    // JetStream, killed, may have forgotten that it had let messages go, and not that they were
                    // acknowledged: they were read, and nobody gets them any more.
                    if taken.len() == before {
                        break true;
                    }
                }
            }
        };
        if deleted {
            self.server.delete().await?;
        }
        self.proxy.pass();
        sleep(step.lasts).await;
        Ok(())
    }
}

impl Server {
    fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::RabbitMq(rabbit) => rabbit.address(),
            Kind::Nats(nats) => nats.address(),
            Kind::Azure(azurite) => azurite.address(),
        }
    }

    /// The queue that is read.
    fn queue(&self) -> &'static str {
        if self.exchange { EXCHANGE } else { "webhooks" }
    }

    /// Which events the exchange routes to its queue.
    async fn bind(&self, events: &[&str]) -> Result<(), String> {
        let Kind::RabbitMq(rabbit) = &self.kind else { return Ok(()) };
        let mut command = reader::python();
        command.args(["-c", BIND]).arg(rabbit.url()).args(events);
        reader::lines(command, &mut Vec::new()).await
    }

    /// Killed, and started again after a while. Azurite is stopped in order: killed it would lose what the service
    /// would not.
    async fn bounce(&mut self, down: Duration) {
        match &mut self.kind {
            Kind::RabbitMq(rabbit) => {
                rabbit.kill().await;
                sleep(down).await;
                rabbit.restart().await;
            }
            Kind::Nats(nats) => {
                nats.kill().await;
                sleep(down).await;
                nats.restart().await;
            }
            Kind::Azure(azurite) => {
                azurite.stop().await;
                sleep(down).await;
                azurite.restart().await;
            }
        }
    }

    fn freeze(&self) {
        match &self.kind {
            Kind::RabbitMq(rabbit) => rabbit.freeze(),
            Kind::Nats(nats) => nats.freeze(),
            Kind::Azure(azurite) => azurite.freeze(),
        }
    }

    fn thaw(&self) {
        match &self.kind {
            Kind::RabbitMq(rabbit) => rabbit.thaw(),
            Kind::Nats(nats) => nats.thaw(),
            Kind::Azure(azurite) => azurite.thaw(),
        }
    }

    async fn alarm(&self, step: &Step) {
        let Kind::RabbitMq(rabbit) = &self.kind else { return };
        if step.fault == Fault::MemoryAlarm {
            rabbit.memory_alarm(true).await;
            sleep(step.lasts).await;
            rabbit.memory_alarm(false).await;
            return;
        }
        rabbit.ctl(&["set_disk_free_limit", DISK_LIMITS[0]]).await;
        sleep(step.lasts).await;
        rabbit.ctl(&["set_disk_free_limit", DISK_LIMITS[1]]).await;
    }

    /// Full of what it holds, for a while.
    async fn fill(&self, time: Duration) -> Result<(), String> {
        match &self.kind {
            Kind::RabbitMq(rabbit) => {
                let policy = [
                    "set_policy",
                    "--apply-to",
                    "queues",
                    "torture",
                    "^(webhooks|torture)$",
                    "{\"max-length\":1}",
                ];
                rabbit.ctl(&policy).await;
                sleep(time).await;
                rabbit.ctl(&["clear_policy", "torture"]).await;
            }
            Kind::Nats(nats) => {
                jetstream::set_full(nats.address(), true).await?;
                sleep(time).await;
                jetstream::set_full(nats.address(), false).await?;
            }
            Kind::Azure(_) => {}
        }
        Ok(())
    }

    /// How many are in the queue, twice the same; `None` without a queue.
    async fn messages(&self) -> Result<Option<u64>, String> {
        loop {
            let first = self.count().await?;
            sleep(LOOK_EVERY).await;
            if first == self.count().await? {
                return Ok(first);
            }
        }
    }

    async fn count(&self) -> Result<Option<u64>, String> {
        match &self.kind {
            Kind::RabbitMq(rabbit) => {
                let lines = rabbit.ctl(&["list_queues", "--no-table-headers", "name", "messages"]).await;
                let count = lines.lines().find_map(|line| line.strip_prefix("webhooks\t"));
                count.map(|text| text.trim().parse().map_err(|_| format!("not a number: {text}"))).transpose()
            }
            Kind::Nats(nats) => jetstream::messages(nats.address()).await,
            Kind::Azure(_) => Ok(None),
        }
    }

    async fn delete(&self) -> Result<(), String> {
        match &self.kind {
            Kind::RabbitMq(rabbit) => {
                rabbit.ctl(&["delete_queue", "--if-empty", "webhooks"]).await;
                Ok(())
            }
            Kind::Nats(nats) => jetstream::delete(nats.address()).await,
            Kind::Azure(_) => Ok(()),
        }
    }
}
