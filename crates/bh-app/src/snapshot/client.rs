//! Where a request comes from, as far as proxies in front are believed (Talos dossier §4.4).

use std::net::IpAddr;

use http::HeaderMap;

use super::Snapshot;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// What tells a client's address. A header is believed from trusted proxies only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientIpSource {
    /// `X-Forwarded-For`: the nearest hop that is no trusted proxy.
    #[default]
    ForwardedFor,
    /// The peer, whatever headers say.
    Peer,
    /// `CF-Connecting-IP`.
    CfConnectingIp,
    /// `X-Real-IP`.
    RealIp,
    /// `True-Client-IP`.
    TrueClientIp,
}

impl ClientIpSource {
    /// The header that holds one address.
    fn header(self) -> Option<&'static str> {
        match self {
            Self::ForwardedFor | Self::Peer => None,
            Self::CfConnectingIp => Some("cf-connecting-ip"),
            Self::RealIp => Some("x-real-ip"),
            Self::TrueClientIp => Some("true-client-ip"),
        }
    }
}

impl Snapshot {
    /// The client's address: the peer's, or what a trusted proxy says. A header that is given twice or cannot be read
    /// says nothing.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        match (self.client_ip_source, self.client_ip_source.header()) {
            (ClientIpSource::ForwardedFor, _) => {
                let lines =
                    headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default());
                self.client_ip(peer, Some(&lines.collect::<Vec<_>>().join(",")))
            }
            (_, Some(header)) if self.trusts(peer) => {
                let mut lines = headers.get_all(header).iter();
                let only = lines.next().filter(|_| lines.next().is_none());
                let address = only.and_then(|line| line.to_str().ok()?.trim().parse().ok());
                address.unwrap_or(peer)
            }
            (_, _) => peer,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}
