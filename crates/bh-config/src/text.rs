//! Texts with a meaning: each is checked once, when the file is loaded, and trusted afterwards.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bh_domain::hostname::HostPattern;
use bh_domain::money::NanoUsd;
use bh_domain::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration;

/// Declares a checked text: a newtype, its schema `format`, and the function that reads it.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal, $types:tt, $parse:path, $show:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// Reads the text form.
            ///
            /// # Errors
            /// A sentence that says what form is expected.
            pub fn parse(text: &str) -> Result<Self, String> {
                $parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let show: fn(&$inner, &mut fmt::Formatter<'_>) -> fmt::Result = $show;
                show(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": $types, "format": $format })
            }
        }
    };
}

checked_text!(
    /// A length of time in Go's notation: `250ms`, `10s`, `1m30s`, `24h`.
    GoDuration(Duration), "go-duration", "string", duration::parse, duration::show
);
checked_text!(
    /// An amount of money in the configured currency, written as a decimal number, never negative.
    Money(NanoUsd), "decimal", ["number", "string"], parse_money, |money, f| fmt::Display::fmt(money, f)
);
checked_text!(
    /// An IP address and port to listen on, e.g. `127.0.0.1:8080`.
    ListenAddress(SocketAddr), "socket-address", "string", parse_listen, |a, f| fmt::Display::fmt(a, f)
);
checked_text!(
    /// A tenant's slug (`spec/product.md`): `^[a-z0-9](?:[a-z0-9-]{0,54}[a-z0-9])?$`.
    TenantId(bh_domain::tenant::TenantId), "tenant-id", "string", parse_tenant, |id, f| fmt::Display::fmt(id, f)
);
checked_text!(
    /// A tenant's network id: a UUID other than the nil one, kept in lower case.
    NetworkId(uuid::Uuid), "network-id", "string", parse_network_id, |id, f| fmt::Display::fmt(id, f)
);
checked_text!(
    /// An absolute `http://` or `https://` URL without credentials in it.
    HttpUrl(String), "http-url", "string", parse_http_url, |url, f| f.write_str(url)
);
checked_text!(
    /// An HTTP header name.
    HeaderName(String), "header-name", "string", parse_header_name, |name, f| f.write_str(name)
);
checked_text!(
    /// An IANA time zone name, e.g. `UTC` or `Europe/Berlin`.
    TimeZoneName(String), "time-zone", "string", parse_time_zone, |name, f| f.write_str(name)
);
checked_text!(
    /// A host name as seed 003 normalises it: lower case, no port, no brackets, at most 253 characters; or a pattern.
    Hostname(HostPattern), "tenant-hostname", "string", parse_hostname, |name, f| fmt::Display::fmt(name, f)
);
checked_text!(
    /// An instant as RFC 3339 writes it, or a date as its first instant in UTC.
    Instant(Timestamp), "instant", "string", parse_instant, |instant, f| f.write_str(&instant.rfc3339())
);
checked_text!(
    /// How confidential data is: `public` (0), `internal` (1) or `confidential` (2).
    DataTier(u8), "data-tier", ["integer", "string"], parse_tier, |tier, f| f.write_str(tier_name(*tier))
);
checked_text!(
    /// The leading part of an issued key: 1 to 16 letters, digits and underscores.
    KeyPrefix(String), "key-prefix", "string", parse_key_prefix, |prefix, f| f.write_str(prefix)
);

checked_text!(
    /// Any short text, which may look like a number.
    Label(String), "label", ["string", "number"], parse_label, |label, f| f.write_str(label)
);

/// A range of addresses, `10.0.0.0/8` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The first address, host bits cleared.
    pub network: IpAddr,
    /// How many leading bits are fixed.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `address/prefix` or an address.
    ///
    /// # Errors
    /// A sentence that says what form is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "expected an address range such as 10.0.0.0/8 or 203.0.113.7".to_owned();
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) => digits.parse().ok().filter(|p| *p <= bits).ok_or_else(wrong)?,
        };
        Ok(Self { network: masked(address, prefix), prefix })
    }

    /// Whether `address` lies in the range. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.prefix) == self.network
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Cidr {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "cidr" })
    }
}

/// Every schema `format` that this crate uses.
#[cfg(test)]
pub(crate) const FORMATS: [&str; 16] = [
    "go-duration",
    "decimal",
    "socket-address",
    "tenant-id",
    "network-id",
    "http-url",
    "header-name",
    "time-zone",
    "tenant-hostname",
    "instant",
    "data-tier",
    "key-prefix",
    "cidr",
    "secret-url",
    "secret",
    "label",
];

/// Checks `text` against a schema `format`; formats that only inform an editor pass.
pub(crate) fn check_format(format: &str, text: &str) -> Result<(), String> {
    match format {
        "go-duration" => GoDuration::parse(text).map(drop),
        "decimal" => Money::parse(text).map(drop),
        "socket-address" => ListenAddress::parse(text).map(drop),
        "tenant-id" => TenantId::parse(text).map(drop),
        "network-id" => NetworkId::parse(text).map(drop),
        "http-url" => HttpUrl::parse(text).map(drop),
        "header-name" => HeaderName::parse(text).map(drop),
        "time-zone" => TimeZoneName::parse(text).map(drop),
        "tenant-hostname" => Hostname::parse(text).map(drop),
        "instant" => Instant::parse(text).map(drop),
        "data-tier" => DataTier::parse(text).map(drop),
        "key-prefix" => KeyPrefix::parse(text).map(drop),
        "cidr" => Cidr::parse(text).map(drop),
        "secret-url" => crate::secret::check_url(text),
        _ => Ok(()),
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

fn parse_money(text: &str) -> Result<NanoUsd, String> {
    let amount =
        NanoUsd::parse_decimal(text).map_err(|why| format!("expected an amount such as 50.00: {why}"))?;
    if amount < NanoUsd::ZERO { Err("an amount here can't be negative".to_owned()) } else { Ok(amount) }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let spelled = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let any = text.strip_prefix(':').map(|port| format!("0.0.0.0:{port}"));
    let text = spelled.as_deref().or(any.as_deref()).unwrap_or(text);
    text.parse().map_err(|_| "expected an address and port such as 127.0.0.1:8080".to_owned())
}

fn parse_tenant(text: &str) -> Result<bh_domain::tenant::TenantId, String> {
    bh_domain::tenant::TenantId::parse(text)
        .map_err(|_| "a tenant id is 1 to 56 lower-case letters, digits and inner hyphens".to_owned())
}

fn parse_network_id(text: &str) -> Result<uuid::Uuid, String> {
    let hyphenated = text.len() == 36;
    let id = uuid::Uuid::try_parse(text).ok().filter(|id| hyphenated && !id.is_nil());
    id.ok_or_else(|| {
        "expected a UUID such as 550e8400-e29b-41d4-a716-446655440001, not the nil one".to_owned()
    })
}

fn parse_http_url(text: &str) -> Result<String, String> {
    let wrong = || "expected an absolute URL such as https://api.example.com/v1".to_owned();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(wrong)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("credentials don't belong in a URL: use the key's own setting".to_owned());
    }
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let (host, port) = host.map_or((authority, None), |(host, port)| (host, Some(port)));
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let plain =
        text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'<' && b != b'>' && b != b'#');
    if host.is_empty() || !port_fits || !plain { Err(wrong()) } else { Ok(text.to_owned()) }
}

fn parse_header_name(text: &str) -> Result<String, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || !text.bytes().all(token) {
        return Err("expected an HTTP header name such as X-Tenant-ID".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_time_zone(text: &str) -> Result<String, String> {
    match jiff::tz::TimeZone::get(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("unknown time zone; expected an IANA name such as UTC or Europe/Berlin".to_owned()),
    }
}

fn parse_hostname(text: &str) -> Result<HostPattern, String> {
    HostPattern::parse(text).map_err(|error| error.to_string())
}

fn parse_instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "expected an instant such as 2026-12-31T23:59:59Z".to_owned())
}

fn parse_tier(text: &str) -> Result<u8, String> {
    match text {
        "0" | "public" => Ok(0),
        "1" | "internal" => Ok(1),
        "2" | "confidential" => Ok(2),
        _ => Err("expected 0, 1, 2, public, internal or confidential".to_owned()),
    }
}

fn parse_label(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn tier_name(tier: u8) -> &'static str {
    match tier {
        0 => "public",
        1 => "internal",
        _ => "confidential",
    }
}

fn parse_key_prefix(text: &str) -> Result<String, String> {
    let fits = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 16 letters, digits and underscores".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        let range = Cidr::parse("10.1.2.3/8").unwrap();
        assert_eq!(range.to_string(), "10.0.0.0/8");
        assert!(range.contains("10.255.0.1".parse().unwrap()));
        assert!(range.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!range.contains("11.0.0.1".parse().unwrap()));
        assert!(Cidr::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(Cidr::parse("2001:db8::/32").unwrap().contains("2001:db8::7".parse().unwrap()));
        for bad in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "host", ""] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_url_names_a_host_and_no_credentials() {
        for good in ["https://api.openai.com/v1", "http://localhost:11434", "https://[::1]:8443/x?y=1"] {
            assert_eq!(HttpUrl::parse(good).map(|u| u.0), Ok(good.to_owned()));
        }
        for bad in
            ["api.openai.com", "ftp://x", "https://", "https://u:p@x", "https://x:99999", "https://a b"]
        {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_name_is_normalised_as_seed_003_says() {
        let cases = [
            ("Tenant1.Example.com", "tenant1.example.com"),
            ("tenant1.example.com:8443", "tenant1.example.com"),
            ("[2001:db8::1]:443", "2001:db8::1"),
        ];
        for (written, normal) in cases {
            assert_eq!(Hostname::parse(written).map(|h| h.to_string()), Ok(normal.to_owned()));
        }
        assert!(Hostname::parse(&"a".repeat(254)).is_err());
        assert!(Hostname::parse("a\0b").is_err());
    }

    #[test]
    fn a_tier_is_a_number_or_its_name() {
        for (text, tier) in
            [("0", 0), ("public", 0), ("1", 1), ("internal", 1), ("2", 2), ("confidential", 2)]
        {
            assert_eq!(DataTier::parse(text), Ok(DataTier(tier)));
        }
        assert!(DataTier::parse("3").is_err());
    }
}
