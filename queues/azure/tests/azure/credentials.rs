//! Who we are, proved by a key or a SAS, and not believed.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sluiced_azure::{AzureConsumer, AzureQueue};
use sluiced_queue::{ConsumeError, EnqueueError, Health, WebHookQueueHandler};
use sluiced_test_brokers::azurite::{ACCOUNT, ACCOUNT_KEY, LATE_KEY};
use sluiced_test_brokers::{Azurite, until};

use crate::support::{filled, message, not_ready, one, options, ready};

/// An account's SAS for queues, with these permissions and this end.
pub(crate) fn sas(permissions: &str, ends: &str) -> String {
    const VERSION: &str = "2019-02-02";
    let fields = [ACCOUNT, permissions, "q", "sco", "", ends, "", "", VERSION];
    let to_sign: String = fields.iter().map(|field| format!("{field}\n")).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(ACCOUNT_KEY).unwrap());
    let signature = BASE64.encode(hmac::sign(&key, to_sign.as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={VERSION}&ss=q&srt=sco&sp={permissions}&se={ends}&sig={signature}")
}

fn with_sas(azurite: &Azurite, sas: &str) -> String {
    format!("QueueEndpoint=http://{}/{ACCOUNT};SharedAccessSignature={sas}", azurite.address())
}

async fn a_wrong_key_is_refused_and_told_in_one_line(azurite: &Azurite) {
    let wrong = options(azurite.connection_string().replace(ACCOUNT_KEY, LATE_KEY));
    let queue = AzureQueue::start(wrong.clone()).unwrap();
    until("refused", async || {
        matches!(queue.health(), Health::NotReady(why) if why.contains("403 AuthorizationFailure")
            || why.contains("403 AuthenticationFailed"))
    })
    .await;
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    let EnqueueError::Misconfigured(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("403 Auth") && !text.contains('<') && !text.contains('\n'), "{text}");
    assert!(text.len() < 200 && !text.contains(LATE_KEY), "{text}");
    assert!(not_ready(&queue).await.contains("403"));
    let worker = AzureConsumer::connect(wrong.clone()).await.unwrap_err();
    assert!(matches!(&worker, ConsumeError::Unavailable(why) if why.contains("403")), "{worker:?}");
    assert!(sluiced_azure::check(&wrong).await.unwrap_err().contains("403"));
    queue.close().await;
}

async fn a_sas_with_characters_that_urls_escape_is_enough(azurite: &Azurite) {
    // Some signature has each of them.
    let mut ends = (0..).map(|n| format!("2099-01-01T00:{:02}:{:02}Z", n / 60, n % 60));
    let escaped = |sas: &String| sas.contains("%2B") && sas.contains("%2F") && sas.contains("%3D");
    let sas = ends.by_ref().map(|ends| sas("raup", &ends)).find(escaped).unwrap();
    let everything = options(azurite.connection_string());
    ready(&everything).await.close().await;
    for url in [with_sas(azurite, &sas), format!("http://{}/{ACCOUNT}?{sas}", azurite.address())] {
        let (queue, consumer) = filled(&sluiced_azure::Options { url, ..everything.clone() }, 1).await;
        assert_eq!(one(&consumer).await.attempt, 1);
        queue.close().await;
    }
}

async fn a_sas_that_may_only_add_is_enough_to_send(azurite: &Azurite) {
    let everything = options(azurite.connection_string());
    let (first, consumer) = filled(&everything, 0).await;
    let may_add = sluiced_azure::Options { url: with_sas(azurite, &sas("a", "2099-01-01")), ..everything };
    let queue = ready(&may_add).await;
    let sent = message("{\"only\":\"added\"}");
    let _ = queue.enqueue(&sent).await.unwrap();
    assert_eq!(one(&consumer).await.context().unwrap(), sent);
    let warnings = sluiced_azure::check(&may_add).await.unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("can't be looked at")), "{warnings:?}");
    queue.close().await;
    first.close().await;
}

async fn a_sas_that_may_not_add_is_misconfigured_and_does_not_flap(azurite: &Azurite) {
    let everything = options(azurite.connection_string());
    ready(&everything).await.close().await;
    let may_read = sluiced_azure::Options { url: with_sas(azurite, &sas("r", "2099-01-01")), ..everything };
    let queue = ready(&may_read).await;
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(&error, EnqueueError::Misconfigured(why) if why.contains("sp=raup")), "{error:?}");
    // The probe reads, and may.
    for _ in 0..20 {
        assert_ne!(queue.health(), Health::Ready);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    queue.close().await;
}

async fn a_sas_that_may_not_create_the_missing_queue_says_so(azurite: &Azurite) {
    let queue = AzureQueue::start(options(with_sas(azurite, &sas("raup", "2099-01-01")))).unwrap();
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    let EnqueueError::Unroutable(why) = &error else { panic!("{error:?}") };
    assert!(why.contains("these credentials may not create it"), "{why}");
    assert_eq!(&not_ready(&queue).await, why);
    queue.close().await;
}

async fn a_sas_that_has_ended_is_refused_and_warned_about(azurite: &Azurite) {
    let ended = options(with_sas(azurite, &sas("raup", "2020-01-01")));
    let queue = AzureQueue::start(ended.clone()).unwrap();
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(&error, EnqueueError::Misconfigured(_)), "{error:?}");
    assert!(sluiced_azure::check(&ended).await.unwrap_err().contains("403"));
    queue.close().await;
}

crate::support::over_one_azurite! {
    credentials: [
        a_wrong_key_is_refused_and_told_in_one_line,
        a_sas_with_characters_that_urls_escape_is_enough,
        a_sas_that_may_only_add_is_enough_to_send,
        a_sas_that_may_not_add_is_misconfigured_and_does_not_flap,
        a_sas_that_may_not_create_the_missing_queue_says_so,
        a_sas_that_has_ended_is_refused_and_warned_about,
    ],
}
