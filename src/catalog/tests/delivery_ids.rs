//! A delivery's id names one event: whoever works the queue off may take two of the same for one, and drop one.

use super::files;
use super::names::PENDING;

/// The rows whose pointer was judged: the value stays the same when a delivery is tried again, or is new every
/// time, but never stands for two events. What didn't pass has no pointer: ids of accounts, subscriptions and
/// resources, of which there are many events; hashes of second and type; the first id of a batch, which comes
/// again in another batch.
const JUDGED: &[&str] = &[
    "airwallex",
    "alchemy",
    "anthropic",
    "attio",
    "authorize-net",
    "autodesk-aps",
    "aws-sns",
    "azure-eventgrid",
    "azurecontainerregistry",
    "beehiiv",
    "bigcommerce",
    "bitbucket",
    "box",
    "brex",
    "buildkite",
    "buildkite-token",
    "chargebee",
    "chargify",
    "checkout-com",
    "checkr",
    "circleci",
    "clerk",
    "cloudevents",
    "coinbase-commerce",
    "contentful",
    "cursor",
    "custom",
    "customerio",
    "deepgram",
    "dingtalk",
    "discord",
    "discourse",
    "dodopayments",
    "dub",
    "duffel",
    "dwolla",
    "easypost",
    "ebay",
    "etsy",
    "fal",
    "fathom",
    "feishu",
    "fireblocks",
    "fireblocks-v2",
    "folk",
    "forgejo",
    "front",
    "front-rule",
    "fusionauth",
    "gemini",
    "generic-hmac",
    "generic-http-signatures",
    "generic-token",
    "gitea",
    "github",
    "gitlab",
    "gitlab-signed",
    "gocardless",
    "gogs",
    "google-pubsub",
    "greenhouse",
    "gusto",
    "heroku",
    "highlevel",
    "hookdeck",
    "incident-io",
    "increase",
    "intercom",
    "jaas",
    "jira",
    "keygen",
    "kinde",
    "launchdarkly",
    "linear",
    "lithic",
    "livekit",
    "lob",
    "loops",
    "mailgun",
    "mercadopago",
    "modern-treasury",
    "mollie-nextgen",
    "monday",
    "mux",
    "myget",
    "neon-auth",
    "notion",
    "novu",
    "nylas",
    "okta",
    "openai",
    "orb",
    "ordergroove",
    "paddle",
    "paddle-classic",
    "pagerduty",
    "paypal",
    "persona",
    "polar",
    "postal",
    "razorpay",
    "render",
    "replicate",
    "resend",
    "rewardful",
    "ringcentral",
    "sanity",
    "segment",
    "sentry",
    "shiphero",
    "shopify",
    "sinch",
    "slack",
    "snyk",
    "sonarqube",
    "sparkpost",
    "square",
    "squarespace",
    "standard-webhooks",
    "standard-webhooks-asymmetric",
    "stripe",
    "stytch",
    "supabase",
    "telegram",
    "telnyx",
    "tiktok-shop",
    "trello",
    "turnkey",
    "twilio",
    "twitch",
    "typeform",
    "uber",
    "vanta",
    "vercel",
    "vsts",
    "wecom",
    "wise",
    "woocommerce",
    "workos",
    "worldpay",
    "xendit",
    "zendesk",
    "zoom",
];

#[test]
fn every_pointer_was_judged() {
    let unjudged = files().into_iter().filter(|file| {
        !file.row.delivery_id.is_empty() && !JUDGED.contains(&&*file.stem) && !PENDING.contains(&&*file.stem)
    });
    let unjudged: Vec<String> = unjudged.map(|file| file.stem).collect();
    assert!(unjudged.is_empty(), "does it name ONE event? {unjudged:?}");
}

#[test]
fn what_was_judged_is_there() {
    assert!(JUDGED.is_sorted());
    let files = files();
    for name in JUDGED {
        let file = files.iter().find(|file| file.stem == *name).expect(name);
        assert!(!file.row.delivery_id.is_empty(), "{name}");
    }
}

/// Their pointers looked right and weren't.
#[test]
fn resources_and_batches_are_no_deliveries() {
    let without = [
        "adyen",
        "alertmanager",
        "dropbox-sign",
        "figma",
        "grafana",
        "hubspot",
        "line",
        "mailersend",
        "mollie",
        "onfido",
        "plaid",
        "recurly",
        "retell",
        "revolut",
        "sendgrid",
        "sfsoap",
        "terraform-cloud",
        "travis",
        "unit",
        "webex",
        "whatsapp",
    ];
    let files = files();
    for name in without {
        let file = files.iter().find(|file| file.stem == name).expect(name);
        assert!(file.row.delivery_id.is_empty(), "{name}");
    }
}
