//! TLS: whom we trust, and who we are.

use std::path::{Path, PathBuf};
use std::process::Command;

use sluiced_queue::{EnqueueError, Health, WebHookQueueHandler};
use sluiced_rabbitmq::{Options, RabbitMqQueue, check};
use sluiced_test_brokers::{Port, RabbitMq, until};

use crate::support::{enqueued, not_ready, scenario, started, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(dir.path());
    let port = Port::take();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let config = format!(
        "listeners.ssl.1 = {}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
         ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
         ssl_cert_login_from = common_name\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n",
        port.address(),
        file("ca.pem"),
        file("server.pem"),
        file("server.key"),
    );
    let broker = RabbitMq::with(&config).await;
    let url = format!("amqps://guest:guest@localhost:{}/%2f", port.number());
    let options = Options {
        url: vec![url],
        ca_file: Some(certificates.file("ca.pem")),
        client_cert_file: Some(certificates.file("client.pem")),
        client_key_file: Some(certificates.file("client.key")),
        ..Options::default()
    };
    scenario("with both certificates", async {
        let queue = started(options.clone()).await;
        enqueued(&queue, &webhook()).await;
        assert_eq!(check(&options).await, Ok(Vec::new()));
    })
    .await;
    scenario("an authority that isn't trusted", async {
        let stranger = Options { ca_file: None, ..options.clone() };
        let queue = RabbitMqQueue::start(stranger.clone()).unwrap();
        not_ready(&queue, "certificate").await;
        let refused = queue.enqueue(&webhook()).await;
        assert!(matches!(refused, Err(EnqueueError::Unavailable(_))), "{refused:?}");
        assert!(check(&stranger).await.unwrap_err().contains("certificate"));
    })
    .await;
    scenario("another host's certificate", async {
        let url = options.url[0].replace("localhost", "127.0.0.1");
        let queue = RabbitMqQueue::start(Options { url: vec![url], ..options.clone() }).unwrap();
        not_ready(&queue, "certificate").await;
    })
    .await;
    scenario("without a certificate of ours", async {
        let nobody = Options { client_cert_file: None, client_key_file: None, ..options.clone() };
        let queue = RabbitMqQueue::start(nobody).unwrap();
        until(
            "the broker hangs up",
            async || matches!(queue.health(), Health::NotReady(why) if why != "not connected yet"),
        )
        .await;
        assert!(queue.enqueue(&webhook()).await.is_err());
    })
    .await;
    scenario("the certificate instead of a password", external(&broker, &options)).await;
}

async fn external(broker: &RabbitMq, options: &Options) {
    // As its plugin does it at the broker's start.
    let register = "rabbit_registry:register(auth_mechanism, <<\"EXTERNAL\">>, rabbit_auth_mechanism_ssl).";
    for expression in ["application:ensure_all_started(rabbitmq_auth_mechanism_ssl).", register] {
        broker.ctl(&["eval", expression]).await;
    }
    broker.ctl(&["add_user", "sluiced-client", "made-up"]).await;
    broker.ctl(&["set_permissions", "sluiced-client", ".*", ".*", ".*"]).await;
    let url = options.url[0].replace("guest:guest@", "") + "?auth_mechanism=external";
    let queue = started(Options { url: vec![url], ..options.clone() }).await;
    enqueued(&queue, &webhook()).await;
}

struct Certificates(PathBuf);

impl Certificates {
    /// An authority, a server called `localhost`, and a client called `sluiced-client`.
    fn make(dir: &Path) -> Self {
        let openssl = |arguments: &str| {
            let output =
                Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
            assert!(
                output.status.success(),
                "openssl {arguments}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
        for (file, name) in [("server", "localhost"), ("client", "sluiced-client")] {
            openssl(&format!(
                "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {file}.key -out {file}.csr"
            ));
            std::fs::write(dir.join("names"), format!("subjectAltName=DNS:{name}\n")).unwrap();
            openssl(&format!(
                "x509 -req -in {file}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {file}.pem"
            ));
        }
        Self(dir.to_owned())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
