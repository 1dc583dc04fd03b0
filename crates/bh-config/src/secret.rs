//! Secrets: never in `Debug`, in a log, in an error or in what `config show` prints.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands for a secret wherever one would be shown.
pub const MASK: &str = "********";
/// Databases a `store.url` may name.
const STORE_SCHEMES: [&str; 6] = ["postgres", "postgresql", "sqlite", "sqlite3", "cockroach", "mysql"];

/// A credential or key. Zeroed on drop; shown as [`MASK`].
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text into custody.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A URL whose password, if it has one, is a secret: `postgres://user:password@host/db`.
#[derive(Clone)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// The whole URL, for the one place that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The URL with its password masked.
    #[must_use]
    pub fn masked(&self) -> String {
        mask_url(self.expose())
    }
}

/// Replaces the password, and every query value that may hold one, by [`MASK`].
pub(crate) fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return mask_query(url) };
    // The last `@` ends the credentials even where the password holds `@`, `/` or `?` unescaped.
    let Some((credentials, host)) = rest.rsplit_once('@') else { return mask_query(url) };
    let user = credentials.split(':').next().unwrap_or_default();
    let password = if credentials.contains(':') { format!(":{MASK}") } else { String::new() };
    format!("{scheme}://{user}{password}@{}", mask_query(host))
}

fn mask_query(text: &str) -> String {
    let Some((base, query)) = text.split_once('?') else { return text.to_owned() };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={MASK}"),
        Some(_) | None => pair.to_owned(),
    };
    format!("{base}?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
}

/// Accepts the database URLs that the seeds and `store.url` name. The error never repeats the URL.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| STORE_SCHEMES.contains(&scheme)) {
        return Ok(());
    }
    Err("expected a database URL: postgres://user:password@host/database or sqlite://path".to_owned())
}

macro_rules! hidden {
    ($name:ident, $format:literal, $shown:expr) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MASK)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let shown: fn(&$name) -> Cow<'static, str> = $shown;
                serializer.serialize_str(&shown(self))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|text| Self(text.into()))
            }
        }
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "writeOnly": true, "minLength": 1 })
            }
        }
    };
}

hidden!(Secret, "secret", |_| Cow::Borrowed(MASK));
hidden!(SecretUrl, "secret-url", |url| Cow::Owned(url.masked()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_shows() {
        let cases = [
            ("postgres://u:p@ss@host/db", "postgres://u:********@host/db"),
            (
                "postgres://host/db?password=x&sslmode=require",
                "postgres://host/db?password=********&sslmode=require",
            ),
            ("sqlite:///var/lib/x.db", "sqlite:///var/lib/x.db"),
            ("postgres://u@host/db", "postgres://u@host/db"),
            ("postgres://u:a?b/c@host/db", "postgres://u:********@host/db"),
        ];
        for (url, shown) in cases {
            assert_eq!(mask_url(url), shown);
        }
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), MASK);
        assert_eq!(serde_json::to_string(&Secret::new("hunter2".to_owned())).unwrap(), format!("\"{MASK}\""));
    }
}
