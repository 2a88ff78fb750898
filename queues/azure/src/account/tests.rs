use super::*;

/// A made-up key.
const KEY: &str = "bWFkZS11cC1rZXktZm9yLXRlc3RzLW9ubHk=";

fn read(text: &str) -> Account {
    Account::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match Account::parse(text) {
        Ok(account) => panic!("{text} was read as {}", account.endpoint),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_the_portal_shows_is_read() {
    let account = read(&format!(
        "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={KEY};EndpointSuffix=core.windows.net"
    ));
    assert_eq!(account.endpoint.as_str(), "https://acme.queue.core.windows.net/");
    assert_eq!(account.address(), "acme.queue.core.windows.net:443");
    let Proof::SharedKey(name, key) = account.proof else { panic!("a key") };
    assert_eq!((name.as_str(), key.as_slice()), ("acme", &b"made-up-key-for-tests-only"[..]));
}

#[test]
fn names_of_parts_have_no_case_and_other_services_endpoints_are_passed_over() {
    let account = read(&format!(
        " accountname=acme ; ACCOUNTKEY={KEY};BlobEndpoint=https://acme.blob.core.windows.net/;;\
         QueueEndpoint=https://queues.example.com/acme/"
    ));
    assert_eq!(account.endpoint.as_str(), "https://queues.example.com/acme");
}

#[test]
fn a_sas_is_read_from_a_connection_string_and_from_a_url() {
    let sas = "sv=2022-11-02&ss=q&sp=raup&se=2027-01-01T00%3A00%3A00Z&sig=a%2Bb%2Fc%3D";
    for text in [
        format!("QueueEndpoint=https://acme.queue.core.windows.net/;SharedAccessSignature={sas}"),
        format!("AccountName=acme;SharedAccessSignature=?{sas}"),
        format!("https://acme.queue.core.windows.net?{sas}"),
        format!("https://acme.queue.core.windows.net/?{sas}"),
    ] {
        let account = read(&text);
        assert_eq!(account.service_url().as_str(), format!("https://acme.queue.core.windows.net/?{sas}"));
        assert_eq!(account.sas_ends().as_deref(), Some("2027-01-01T00:00:00Z"));
    }
}

#[test]
fn a_bare_url_means_entra_id_and_needs_https() {
    assert!(matches!(read("https://acme.queue.core.windows.net/").proof, Proof::Entra));
    assert!(refused("http://127.0.0.1:10001/devstoreaccount1").contains("Entra ID needs https"));
}

#[test]
fn the_emulator_has_a_name_of_its_own() {
    let account = read("UseDevelopmentStorage=true");
    assert_eq!(account.endpoint.as_str(), "http://127.0.0.1:10001/devstoreaccount1");
    assert!(matches!(&account.proof, Proof::SharedKey(name, _) if name == "devstoreaccount1"));
    let elsewhere = read("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite");
    assert_eq!(elsewhere.endpoint.as_str(), "http://azurite:10001/devstoreaccount1");
    let port = read("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite:7777/");
    assert_eq!(port.endpoint.as_str(), "http://azurite:7777/devstoreaccount1");
    assert!(refused("UseDevelopmentStorage=yes").contains("must be `true`"));
    assert!(refused("DevelopmentStorageProxyUri=http://azurite").contains("must be `true`"));
    assert!(
        refused("UseDevelopmentStorage=true;AccountName=acme").contains("`AccountName` can't go with it")
    );
}

#[test]
fn errors_name_the_part_and_never_its_value() {
    let cases = [
        (format!("AccountName=acme;AcountKey={KEY}"), "did you mean `AccountKey`?"),
        (format!("AccountName=acme;{KEY}"), "part 2 of the connection string has no name that is known"),
        ("AccountName=acme;c2VjcmV0".into(), "part 2 of the connection string isn't `Name=value`"),
        ("AccountName=acme;AccountKey=c2Vj!cmV0".into(), "`AccountKey` isn't base64"),
        (format!("AccountName=acme;AccountKey={KEY};accountkey={KEY}"), "`AccountKey` stands twice"),
        (format!("AccountKey={KEY}"), "neither `AccountName` nor `QueueEndpoint`"),
        (format!("QueueEndpoint=https://x.example.com;AccountKey={KEY}"), "`AccountKey` needs `AccountName`"),
        ("AccountName=acme;AccountKey=".into(), "`AccountKey` is empty"),
        ("AccountName=acme".into(), "neither `AccountKey` nor `SharedAccessSignature`"),
        ("AccountName=acme;SharedAccessSignature=sv=1&sp=raup".into(), "it has no `sig`"),
        (format!("AccountName=acme;AccountKey={KEY};SharedAccessSignature=sig=c2VjcmV0"), "keep one of them"),
        (format!("AccountName=ac me;AccountKey={KEY}"), "`AccountName` can only have"),
        (format!("AccountName=acme;AccountKey={KEY};DefaultEndpointsProtocol=htps"), "must be https"),
        (format!("AccountName=acme;AccountKey={KEY};QueueEndpoint=acme"), "`QueueEndpoint` isn't a URL"),
        ("https://acme.queue.core.windows.net?sv=c2VjcmV0".into(), "its query isn't a SAS"),
        ("https://acme.queue.core.windows.net/webhooks".into(), "an option of its own"),
        ("https://acme.blob.core.windows.net".into(), "queue.core.windows.net"),
        ("amqp://c2VjcmV0@rabbit".into(), "must begin with https://"),
        ("https://u:c2VjcmV0@acme.queue.core.windows.net".into(), "a user or a password"),
        ("".into(), "portal"),
    ];
    for (text, says) in cases {
        let error = refused(&text);
        assert!(error.contains(says), "{text}: {error}");
        assert!(!error.contains("c2Vj") && !error.contains(KEY), "{error}");
    }
}

#[test]
fn what_is_on_this_machine_is_known() {
    for local in [
        "http://127.0.0.2:1/a",
        "http://[::1]:1/a",
        "http://localhost:1/a",
        "http://a.localhost:1/",
        "http://[::ffff:127.0.0.1]:1/a",
    ] {
        let account = read(&format!("QueueEndpoint={local};AccountName=a;AccountKey={KEY}"));
        assert!(account.is_loopback(), "{local}");
    }
    for remote in ["https://acme.queue.core.windows.net", "https://10.0.0.1", "https://localhost.example.com"]
    {
        let account = read(&format!("QueueEndpoint={remote};AccountName=a;AccountKey={KEY}"));
        assert!(!account.is_loopback(), "{remote}");
    }
}
