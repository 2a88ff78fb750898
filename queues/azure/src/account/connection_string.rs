//! `Name=value;Name=value`: what the portal, the CLI and Azure's libraries call a connection string.

use azure_core::http::Url;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::{Account, Proof, endpoint, sas};

/// The names that matter here. Azure's libraries don't mind their case.
const NAMES: [&str; 8] = [
    "AccountName",
    "AccountKey",
    "QueueEndpoint",
    "EndpointSuffix",
    "DefaultEndpointsProtocol",
    "SharedAccessSignature",
    "UseDevelopmentStorage",
    "DevelopmentStorageProxyUri",
];

/// Those that are about other services, and come along when one copies the whole string.
const OTHERS: [&str; 8] = [
    "BlobEndpoint",
    "FileEndpoint",
    "TableEndpoint",
    "DfsEndpoint",
    "BlobSecondaryEndpoint",
    "FileSecondaryEndpoint",
    "TableSecondaryEndpoint",
    "QueueSecondaryEndpoint",
];

/// The emulator's account and key are public and the same everywhere: Microsoft's documentation of Azurite.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_PORT: u16 = 10_001;

pub(super) fn parse(text: &str) -> Result<Account, String> {
    let parts = Parts::read(text)?;
    if parts.get("UseDevelopmentStorage").is_some() || parts.get("DevelopmentStorageProxyUri").is_some() {
        return emulator(&parts);
    }
    let endpoint = parts.endpoint()?;
    let proof = parts.proof(&endpoint)?;
    Ok(Account { endpoint, proof })
}

/// The parts of the string, none of them twice.
struct Parts<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut parts: Vec<(&'static str, &str)> = Vec::new();
        let written = text.split(';').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty());
        for (at, part) in written {
            // The first `=` ends the name; those of a base64 value come later.
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("part {} of the connection string isn't `Name=value`", at + 1));
            };
            let name = known(name.trim(), at + 1)?;
            if parts.iter().any(|(other, _)| *other == name) {
                return Err(format!("`{name}` stands twice in the connection string"));
            }
            if value.trim().is_empty() {
                return Err(format!("`{name}` is empty"));
            }
            parts.push((name, value.trim()));
        }
        Ok(Self(parts))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn endpoint(&self) -> Result<Url, String> {
        if let Some(url) = self.get("QueueEndpoint") {
            if url.contains('?') {
                return Err("`QueueEndpoint` has a query; a SAS belongs into `SharedAccessSignature`".into());
            }
            return endpoint(url, "`QueueEndpoint`");
        }
        let Some(account) = self.get("AccountName") else {
            return Err("neither `AccountName` nor `QueueEndpoint` is in the connection string".into());
        };
        if !account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err("`AccountName` can only have a-z and 0-9".into());
        }
        let protocol = self.get("DefaultEndpointsProtocol").unwrap_or("https");
        if !matches!(protocol, "https" | "http") {
            return Err("`DefaultEndpointsProtocol` must be https, or http for an emulator".into());
        }
        let suffix = self.get("EndpointSuffix").unwrap_or("core.windows.net");
        endpoint(
            &format!("{protocol}://{account}.queue.{suffix}"),
            "the endpoint made of `AccountName` and `EndpointSuffix`",
        )
    }

    fn proof(&self, endpoint: &Url) -> Result<Proof, String> {
        match (self.get("AccountKey"), self.get("SharedAccessSignature")) {
            (Some(_), Some(_)) => {
                Err("`AccountKey` and `SharedAccessSignature` are both there; keep one of them".into())
            }
            (None, Some(text)) => Ok(Proof::Sas(sas(text, "`SharedAccessSignature`")?)),
            (Some(text), None) => {
                let Some(account) = self.get("AccountName") else {
                    return Err("`AccountKey` needs `AccountName`".into());
                };
                Ok(Proof::SharedKey(account.to_owned(), key(text)?))
            }
            (None, None) if endpoint.scheme() == "https" => Err("neither `AccountKey` nor \
                 `SharedAccessSignature` is in the connection string; for Entra ID write the url \
                 https://ACCOUNT.queue.core.windows.net instead of one"
                .into()),
            (None, None) => {
                Err("neither `AccountKey` nor `SharedAccessSignature` is in the connection string".into())
            }
        }
    }
}

/// The emulator on this machine, or where the proxy's URI says.
fn emulator(parts: &Parts<'_>) -> Result<Account, String> {
    match parts.get("UseDevelopmentStorage") {
        Some(value) if value.eq_ignore_ascii_case("true") => {}
        _ => return Err("`UseDevelopmentStorage` must be `true`, or be left out".into()),
    }
    let with = ["UseDevelopmentStorage", "DevelopmentStorageProxyUri"];
    if let Some((name, _)) = parts.0.iter().find(|(name, _)| !with.contains(name)) {
        return Err(format!(
            "`UseDevelopmentStorage` stands for the emulator, and `{name}` can't go with it"
        ));
    }
    let base = parts.get("DevelopmentStorageProxyUri").unwrap_or("http://127.0.0.1");
    let mut endpoint = endpoint(base, "`DevelopmentStorageProxyUri`")?;
    if endpoint.port().is_none() {
        endpoint.set_port(Some(EMULATOR_PORT)).map_err(|()| "`DevelopmentStorageProxyUri` takes no port")?;
    }
    endpoint.set_path(EMULATOR_ACCOUNT);
    endpoint.set_query(None);
    Ok(Account { endpoint, proof: Proof::SharedKey(EMULATOR_ACCOUNT.into(), key(EMULATOR_KEY)?) })
}

fn key(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    match BASE64.decode(text) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(_) => {
            Err("`AccountKey` isn't base64; copy it again from the portal's page \"Access keys\"".into())
        }
    }
}

/// The name as Azure spells it. One that is unknown is shown only when it resembles a known one: a key that was
/// pasted without its name has a `=` too.
fn known(name: &str, at: usize) -> Result<&'static str, String> {
    let all = NAMES.iter().chain(&OTHERS);
    if let Some(found) = all.clone().find(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(found);
    }
    match all.map(|known| (distance(known, name), known)).min() {
        Some((few, nearest)) if few <= nearest.len() / 3 => Err(format!(
            "there is no `{}` in a connection string; did you mean `{nearest}`?",
            name.escape_debug()
        )),
        _ => {
            Err(format!("part {at} of the connection string has no name that is known: {}", NAMES.join(", ")))
        }
    }
}

/// How many characters one must add, drop or change, whatever their case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().map(|c| c.to_ascii_lowercase()).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
