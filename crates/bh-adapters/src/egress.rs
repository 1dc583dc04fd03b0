//! The egress guard: a provider that is not allowed on private networks never gets a connection to one, whatever
//! its name resolves to.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Ranges of IPv4 where nobody's provider is: IANA's special-purpose registry (RFC 6890), and multicast.
const SPECIAL_V4: [(Ipv4Addr, u32); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared by carriers' customers
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local; clouds tell machines their secrets there
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112
    (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(192, 175, 48, 0), 24), // AS112
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, and broadcast
];

/// Where global unicast addresses are. Whatever else there is of IPv6 is local, reserved or multicast: loopback, `fc00::/7`,
/// `fe80::/10`, `fec0::/10`, `ff00::/8`, `100::/64`, `64:ff9b:1::/48`, `5f00::/16`, IPv4 in its last 32 bits.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The ranges of these where nobody's provider is.
const SPECIAL_V6: [(Ipv6Addr, u32); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: an IPv4 address inside, given up (RFC 7526)
    (Ipv6Addr::new(0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// An IPv4 address behind a translator (RFC 6052): where a network has IPv6 alone, public names resolve to these.
const TRANSLATED_V4: (Ipv6Addr, u32) = (Ipv6Addr::new(0x0064, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether an address belongs to the public internet. One that stands for an IPv4 address is judged by that.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|range| is_in_v4(v4, *range)),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => is_in_v6(v6, GLOBAL_V6) && !SPECIAL_V6.iter().any(|range| is_in_v6(v6, *range)),
        },
    }
}

/// The IPv4 address that a connection to this one would end at.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = v6.octets();
    v6.to_ipv4_mapped().or_else(|| is_in_v6(v6, TRANSLATED_V4).then_some(Ipv4Addr::new(a, b, c, d)))
}

fn is_in_v4(address: Ipv4Addr, (network, length): (Ipv4Addr, u32)) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= length
}

fn is_in_v6(address: Ipv6Addr, (network, length): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ network.to_bits()).leading_zeros() >= length
}

/// Resolves names, and keeps only the addresses the guard allows. The connector dials exactly what is returned
/// here, so a name that changes between check and use gains nothing.
#[derive(Clone, Debug)]
pub(crate) struct GuardedResolver {
    inner: GaiResolver,
    public_only: bool,
}

impl GuardedResolver {
    pub(crate) fn new(public_only: bool) -> Self {
        Self { inner: GaiResolver::new(), public_only }
    }
}

/// A name that resolves to nothing the guard allows.
#[derive(Debug, thiserror::Error)]
#[error("resolves to no public address, and this provider may not use private ones")]
pub(crate) struct NoPublicAddress;

impl NoPublicAddress {
    /// Whether an error of a connection is this guard's, and not the operating system's, which has the same kind where a
    /// firewall of the machine forbids the connection.
    pub(crate) fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.inner.call(name);
        let public_only = self.public_only;
        Box::pin(async move {
            let allowed: Vec<SocketAddr> =
                resolving.await?.filter(|address| !public_only || is_public(address.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, NoPublicAddress));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside the special ranges, and what is meant.
    const PUBLIC: &str = "\
        8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 \
        192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 \
        198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 2606:4700::1111 2000:: 2001:200::1 \
        2001:db7:ffff::1 2001:db9::1 2001:4860:4860::8888 2003::1 2620:4f:8001::1 3ffe:ffff::1 \
        ::ffff:8.8.8.8 64:ff9b::8.8.8.8";
    /// The first and the last address of the ranges, and what stands for one of them.
    const SPECIAL: &str = "\
        0.0.0.0 0.255.255.255 10.0.0.1 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 \
        169.254.0.0 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255 192.0.2.1 192.31.196.1 \
        192.52.193.1 192.88.99.1 192.168.0.0 192.168.255.255 192.175.48.1 198.18.0.0 198.19.255.255 \
        198.51.100.1 203.0.113.255 224.0.0.1 239.255.255.255 240.0.0.0 255.255.255.255 :: ::1 ::127.0.0.1 \
        ::8.8.8.8 ::ffff:0.0.0.0 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:8.8.8.8 64:ff9b::10.0.0.1 \
        64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 64:ff9b:0:1::8.8.8.8 100:: \
        100::ffff:ffff:ffff:ffff 100:0:0:1::1 2001::1 2001:0:a00:1::1 2001:2::1 2001:10::1 2001:1ff:ffff::1 \
        2001:db8::1 2001:db8:ffff::1 2002:a00:1:: 2002:7f00:1:: 2002:808:808:: 2620:4f:8000::1 3fff::1 \
        3fff:fff::1 4000::1 5f00::1 fc00::1 fd00::1 fdff:ffff::1 fe80::1 febf::1 fec0::1 feff::1 ff00:: \
        ff02::1 ffff::1";

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in PUBLIC.split_whitespace() {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in SPECIAL.split_whitespace() {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn what_the_operating_system_forbids_is_not_the_guards_word() {
        assert!(NoPublicAddress::is_cause_of(&io::Error::new(
            io::ErrorKind::PermissionDenied,
            NoPublicAddress
        )));
        // EPERM and EACCES, as connect(2) gives them behind a firewall of the machine's own.
        for code in [1, 13] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(!NoPublicAddress::is_cause_of(&error));
        }
    }
}
