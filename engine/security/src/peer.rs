//! The names in the certificate of a connection's other side.
use std::net::IpAddr;

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::SecurityConfig;

/// The names in a client's certificate; empty if the client was not asked for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// DNS names and IP addresses of the subject.
    pub alternative_names: Vec<String>,
}

impl Peer {
    /// Reads the names of a certificate that was verified; one that does not parse has no names.
    pub fn from_certificate(certificate: &[u8]) -> Peer {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Peer::default() };
        let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(text).collect());
        Peer { common_name: common_name.map(str::to_owned), alternative_names: names.unwrap_or_default() }
    }

    /// Returns whether `config` allows the client: by its common name and by an alternative name, where these
    /// are restricted.
    pub fn is_allowed(&self, config: &SecurityConfig) -> bool {
        let (names, others) = (&config.cert_allowed_cn, &config.cert_allowed_san);
        (names.is_empty() || self.common_name.as_ref().is_some_and(|name| names.contains(name)))
            && (others.is_empty() || self.alternative_names.iter().any(|name| others.contains(name)))
    }
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|ip| IpAddr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|ip| IpAddr::from(ip).to_string()),
        },
        _ => None,
    }
}
