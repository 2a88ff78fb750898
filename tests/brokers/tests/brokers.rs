//! The brokers themselves: that they come up, keep what they should, and end.

use std::time::{Duration, Instant};

use sluiced_test_brokers::{Azurite, Nats, RabbitMq, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Says hello and gives the first bytes of the answer; none within a second is an error.
async fn ask(address: std::net::SocketAddr, hello: &[u8]) -> Result<Vec<u8>, String> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(hello).await?;
        let mut answer = vec![0; 4096];
        let bytes = stream.read(&mut answer).await?;
        answer.truncate(bytes);
        Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), talk).await.map_err(|_| "no answer")?;
    answer.map_err(|error: std::io::Error| error.kind().to_string())
}

#[tokio::test]
async fn nats_is_started_frozen_killed_restarted() {
    let mut nats = Nats::absent(sluiced_test_brokers::nats::Options {
        max_payload: Some(54_321),
        sync_interval: Some("always".into()),
        ..Default::default()
    });
    assert_eq!(ask(nats.address(), b"").await.unwrap_err(), "connection refused");
    nats.restart().await;
    let info = String::from_utf8(ask(nats.address(), b"").await.unwrap()).unwrap();
    assert!(info.contains("\"max_payload\":54321"), "{info}");
    nats.freeze();
    assert_eq!(ask(nats.address(), b"").await.unwrap_err(), "no answer");
    nats.thaw();
    assert!(ask(nats.address(), b"").await.is_ok());
    nats.freeze();
    nats.kill().await;
    assert_eq!(ask(nats.address(), b"").await.unwrap_err(), "connection refused");
    nats.restart().await;
    nats.stop().await;
    assert_eq!(ask(nats.address(), b"").await.unwrap_err(), "connection refused");
}

#[tokio::test]
async fn azurite_is_started_frozen_stopped_restarted() {
    const LIST: &[u8] = b"GET /sluicedtest?comp=list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut azurite = Azurite::start().await;
    // Not signed, so not answered with more than this: the account is known.
    let answer = String::from_utf8(ask(azurite.address(), LIST).await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    azurite.freeze();
    assert_eq!(ask(azurite.address(), LIST).await.unwrap_err(), "no answer");
    azurite.thaw();
    azurite.stop().await;
    assert_eq!(ask(azurite.address(), LIST).await.unwrap_err(), "connection refused");
    azurite.restart().await;
    assert!(ask(azurite.address(), LIST).await.is_ok());
}

#[tokio::test]
async fn rabbitmq_is_started_frozen_blocked_killed_restarted() {
    const HELLO: &[u8] = b"AMQP\0\0\x09\x01";
    let began = Instant::now();
    let mut rabbit = RabbitMq::start().await;
    println!("up after {:?}", began.elapsed());
    rabbit.freeze();
    assert_eq!(ask(rabbit.address(), HELLO).await.unwrap_err(), "no answer");
    rabbit.thaw();
    rabbit.memory_alarm(true).await;
    let alarms = async || rabbit.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await;
    until("the alarm goes off", async || alarms().await.contains("memory")).await;
    rabbit.memory_alarm(false).await;
    until("the alarm ends", async || !alarms().await.contains("memory")).await;
    rabbit.kill().await;
    assert_eq!(ask(rabbit.address(), HELLO).await.unwrap_err(), "connection refused");
    let began = Instant::now();
    rabbit.restart().await;
    println!("up again after {:?}", began.elapsed());
    rabbit.stop().await;
    assert_eq!(ask(rabbit.address(), HELLO).await.unwrap_err(), "connection refused");
}
