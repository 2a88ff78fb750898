//! Whether a row compiles, before any receiver uses it.

use super::error::CompileError;
use super::public_url::PublicUrl;
use super::secret::Secret;
use super::settings::ReceiverSettings;
use super::verifier::Verifier;
use crate::catalog::Row;

/// Finds what is wrong with a row whatever a receiver sets. A row that requires settings can't be judged
/// without them; what is wrong with that one is found where a receiver uses it.
///
/// # Errors
/// Names scheme or handshake, and what there can't be understood.
pub fn check_row(row: &Row) -> Result<(), CompileError> {
    if row.settings.values().any(|setting| setting.required) {
        return Ok(());
    }
    let public_url = Some(PublicUrl::base("https://hooks.example.com")?);
    for scheme in &row.schemes {
        let settings = ReceiverSettings {
            // Hex and base64 too; a secret that the scheme can't use says nothing about the row.
            secrets: vec![Secret::from("0123456789abcdef0123456789abcdef")],
            public_url: public_url.clone(),
            schemes: Some(vec![scheme.name.clone()]),
            ..ReceiverSettings::default()
        };
        let compile = |settings: &ReceiverSettings| match Verifier::compile(row, settings) {
            Ok(_) | Err(CompileError::SecretUnusable { .. } | CompileError::SecretMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        // Where keys are published is looked at only without a secret.
        let without = ReceiverSettings { secrets: Vec::new(), ..settings.clone() };
        compile(&settings).and_then(|()| compile(&without))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn every_row_of_the_catalogue_passes() {
        for row in catalog::rows() {
            assert_eq!(check_row(row), Ok(()), "{}", row.name);
        }
    }

    #[test]
    fn finds_what_no_receiver_could_mend() {
        let row = |scheme: &str| {
            let head =
                "name = \"own\"\ntitle = \"Own\"\nreplay = \"unprotected\"\n[[schemes]]\nname = \"v1\"\n";
            toml::from_str::<Row>(&format!("{head}{scheme}")).unwrap()
        };
        let mac = "verify = \"mac\"\nalgorithm = \"hmac-sha256\"\nmessage = \"{body}\"\n";
        let signature = "signature = { from = \"header:X-Sig\", encoding = \"hex\" }";
        assert_eq!(check_row(&row(&format!("{mac}{signature}"))), Ok(()));
        let error = |scheme: &str| check_row(&row(scheme)).unwrap_err().to_string();
        let unknown = error(&format!("{mac}{signature}").replace("sha256", "md5"));
        assert!(unknown.starts_with("own, scheme v1: \"hmac-md5\" is no "), "{unknown}");
        let published = "verify = \"public-key\"\nalgorithm = \"ed25519\"\nmessage = \"{body}\"\n";
        let keys = |url: &str| {
            error(&format!("{published}{signature}\nkeys = {{ url = \"{url}\", hosts = \"*.example.com\" }}"))
        };
        assert!(keys("http://a.example.com/keys").contains("it must be https"));
        assert!(keys("https://example.org/keys").contains("of one of keys.hosts"));
        let unclosed = error(&format!("{mac}{signature}").replace("{body}", "{body"));
        assert!(unclosed.contains("a brace is not closed"), "{unclosed}");
    }
}
