//! Address ranges.

use std::net::{IpAddr, Ipv6Addr};

/// An address range: `10.0.0.0/8`, `::1`, or a bare address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: u128,
    prefix: u32,
}

/// Bits of an address before the v4 part of a v4-mapped one.
const MAPPED_BITS: u32 = 96;

impl Network {
    /// Reads CIDR notation or a bare address; v4 is treated as v4-mapped v6.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let ip = address.trim().parse::<IpAddr>().ok()?;
        let (width, offset) = if ip.is_ipv4() { (32, MAPPED_BITS) } else { (128, 0) };
        let length = length.unwrap_or(width);
        (length <= width).then(|| Self { base: as_bits(ip), prefix: length + offset })
    }

    /// Whether the range holds this address. A v4-mapped address is a v4 address, and no v6 range holds one: whoever
    /// allows `::/0` has said nothing about v4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let bits = as_bits(ip);
        let comparable = self.prefix >= MAPPED_BITS || !is_v4(bits);
        comparable && (self.base ^ bits).leading_zeros() >= self.prefix
    }
}

fn as_bits(ip: IpAddr) -> u128 {
    let v6 = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    u128::from_be_bytes(Ipv6Addr::octets(&v6))
}

fn is_v4(bits: u128) -> bool {
    bits >> (u128::BITS - MAPPED_BITS) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_addresses_of_its_own_family_only_and_mapped_ones_are_v4() {
        let lan = Network::parse("10.1.0.0/16").unwrap();
        for inside in ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3"] {
            assert!(lan.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["10.2.0.0", "::ffff:10.2.0.1", "::1"] {
            assert!(!lan.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(Network::parse("::1").unwrap().contains("::1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(!Network::parse("0.0.0.0/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        let every_v6 = Network::parse("::/0").unwrap();
        assert!(every_v6.contains("2001:db8::1".parse().unwrap()));
        assert!(every_v6.contains("::1".parse().unwrap()));
        for v4 in ["203.0.113.9", "::ffff:203.0.113.9"] {
            assert!(!every_v6.contains(v4.parse().unwrap()), "{v4}");
        }
        for bad in ["10.0.0.0/33", "::/129", "host", "", "1.2.3.4/"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
