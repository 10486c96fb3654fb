//! `[rate]`: how many report mails may come in a minute, and who brings the mail of others. Pure.

use std::net::IpAddr;

/// `[rate]`. Zero is no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// `per_network`: report mails a minute from one network (/24 or /48).
    pub per_network: u32,
    /// `overall`: from all together.
    pub overall: u32,
    /// `relays`: clients to which neither applies, nor the share of the parked space that a network
    /// has.
    pub relays: Vec<Network>,
}

impl Rate {
    /// Whether a client is one of the relays.
    pub fn is_relay(&self, client: IpAddr) -> bool {
        self.relays.iter().any(|relay| relay.contains(client))
    }
}

/// An address, or all that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or an address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self { address, bits })
    }

    fn contains(&self, client: IpAddr) -> bool {
        // Bits of the two that differ, the first bit being the highest of 128.
        let differs = match (self.address, client) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_with_its_bits() {
        let holds = |network: &str, client: &str| {
            let network = Network::parse(network).expect("a network");
            network.contains(client.parse().expect("an address"))
        };
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.0"));
        assert!(holds("0.0.0.0/0", "203.0.113.1") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::"));
        for text in [
            "",
            "192.0.2.0/33",
            "192.0.2/24",
            "::/129",
            "mx.example",
            "::/-1",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }
}
